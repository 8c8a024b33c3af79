"""`sparse="rowwise"`: one average of squares per row of a table, and what it can't be combined with."""

import copy
import io
import pickle

import numpy as np
import prepared_rows
import pytest
import torch
from prepared_rows import param_of
from torch import nn

from rmsprop import Rule, rowwise
from rmsprop.torch import RMSprop

AVERAGE = "row_square_avg"


def gradient(nth, shape=(30, 6), count=7, *rest, **options):
    """An uncoalesced gradient of some rows, some of which occur several times."""
    return prepared_rows.gradient(nth, shape, count, *rest, **options)


def made(*given, **options):
    return prepared_rows.made(*given, sparse="rowwise", **options)


def taken(optimizer, grad):
    param_of(optimizer).grad = grad
    optimizer.step()
    return optimizer


@pytest.mark.parametrize(
    "options",
    [{}, {"alpha": 0.3, "eps": 0.0}, {"dialect": "tensorflow1", "lr": 0.01}, {"staleness_decay": 2.0}],
    ids=str,
)
def test_a_step_is_the_one_that_the_specification_states(implementation, options):
    optimizer = made(**options, **implementation)
    table = param_of(optimizer).detach().numpy().copy()
    group = optimizer.param_groups[0]
    rule = Rule(
        decay=group["alpha"],
        eps=group["eps"],
        eps_inside_sqrt=group["eps_inside_sqrt"],
        initial_square_avg=group["initial_square_avg"],
    )
    square_avg = np.full(30, rule.initial_square_avg, np.float32)
    last = np.zeros(30, np.int32) if group["staleness_decay"] else None
    for step in range(1, 25):
        grad = gradient(step)
        numbers = grad._indices()[0].numpy(), grad._values().numpy()
        rowwise.update(rule, 0.01, step, table, numbers, square_avg, group["staleness_decay"], last)
        taken(optimizer, grad)
    assert np.array_equal(param_of(optimizer).detach().numpy(), table)
    state = optimizer.state_dict()["state"][0]
    assert np.array_equal(state[AVERAGE].numpy(), square_avg)
    assert ("row_steps" in state) == (last is not None)
    assert last is None or np.array_equal(state["row_steps"].numpy(), last)
    assert "on rows, one average each" in optimizer.paths()["0"]


STORAGES = {
    f"{dtype} {' '.join(map(str, options.values()))}": (dtype, options)
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16)
    for options in ({}, {"rounding": "stochastic", "seed": 3}, {"rounding": "kahan", "staleness_decay": 1.0})
    if not (options and dtype == torch.float64)  # which has nothing to round
}


@pytest.mark.parametrize(("dtype", "options"), STORAGES.values(), ids=STORAGES)
@pytest.mark.parametrize("width", [6, 300])
def test_tensor_operations_give_the_bits_of_the_kernel(dtype, options, width):
    kernel, operations = (made((70, width), dtype, fused=fused, **options) for fused in (None, False))
    for nth in range(8):
        grad = gradient(nth, (70, width), 9, dtype)
        taken(kernel, grad)
        taken(operations, grad)
        assert torch.equal(param_of(kernel), param_of(operations))
    assert kernel.paths()["0"].startswith("kernel on rows")
    assert operations.paths()["0"].startswith("tensor operations on rows")
    for name, array in kernel.state_dict()["state"][0].items():
        assert torch.equal(array, operations.state_dict()["state"][0][name]), name


@pytest.mark.parametrize("options", [{}, {"staleness_decay": 1.0}], ids=str)
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_rows_are_rows_of_twice_as_many_real_numbers(dtype, options, implementation):
    start = torch.randn(30, 6, dtype=dtype, generator=torch.Generator().manual_seed(0))
    numbers, pairs = (
        RMSprop([each.clone().requires_grad_()], sparse="rowwise", **options, **implementation)
        for each in (start, torch.view_as_real(start))
    )
    for nth in range(6):
        random = torch.Generator().manual_seed(nth)
        places, values = (
            torch.randint(0, 30, (1, 7), generator=random),
            torch.randn(7, 6, dtype=dtype, generator=random),
        )
        taken(numbers, torch.sparse_coo_tensor(places, values, (30, 6), check_invariants=True))
        taken(pairs, torch.sparse_coo_tensor(places, torch.view_as_real(values), (30, 6, 2), check_invariants=True))
        assert torch.equal(torch.view_as_real(param_of(numbers).detach()), param_of(pairs))
    averages = [optimizer.state[param_of(optimizer)][AVERAGE] for optimizer in (numbers, pairs)]
    assert torch.equal(*averages)
    assert averages[0].dtype == averages[1].dtype
    for optimizer in (numbers, pairs):  # and back each number gets its row's
        optimizer.param_groups[0].update(sparse="exact", staleness_decay=0.0)
        taken(optimizer, torch.zeros_like(param_of(optimizer)))
    averages = [optimizer.state[param_of(optimizer)]["square_avg"] for optimizer in (numbers, pairs)]
    assert torch.equal(torch.view_as_real(averages[0]), averages[1])


def test_bfloat16_rows_move_on_average_where_they_are_rounded_at_random():
    optimizer = made((2000, 64), torch.bfloat16, lr=1e-3, rounding="stochastic")
    start = param_of(optimizer).detach().float().clone()
    ones = torch.sparse_coo_tensor(
        torch.arange(2000)[None], torch.ones(2000, 64, dtype=torch.bfloat16), (2000, 64), check_invariants=True
    )
    taken(optimizer, ones)
    moved = (start - param_of(optimizer).detach().float()).mean()
    # The step is lr/√(1 − ρ) = 0.01; a number of at most 4 is rounded within 2⁻⁶, 128,000 of them by 1/358 of that.
    assert abs(moved - 0.01) <= 5 * 2**-6 / 358


def test_the_state_is_four_bytes_per_row():
    optimizer = taken(made((1000, 64)), gradient(0, (1000, 64)))
    held = [value for value in optimizer.state[param_of(optimizer)].values() if isinstance(value, torch.Tensor)]
    assert sum(value.nbytes for value in held) == 4 * 1000 + 4  # and the count of steps


def test_a_gradient_of_the_whole_parameter_is_one_of_all_rows(implementation):
    rows, whole = (made(**implementation) for _ in range(2))
    for nth in range(6):
        dense = gradient(nth, count=40).to_dense()
        sparse = gradient(nth)
        every = torch.sparse_coo_tensor(torch.arange(30)[None], dense, (30, 6), check_invariants=True)
        for optimizer, grad in ((rows, every), (whole, dense)):
            taken(optimizer, sparse)
            taken(optimizer, grad)
    assert torch.equal(param_of(rows), param_of(whole))
    assert torch.equal(rows.state[param_of(rows)][AVERAGE], whole.state[param_of(whole)][AVERAGE])
    assert "on rows, one average each" in whole.paths()["0"]


def test_parameters_that_never_had_rows_are_updated_as_ever():
    ours, theirs = made(), RMSprop([made().param_groups[0]["params"][0]])
    for optimizer in (ours, theirs):
        taken(optimizer, gradient(0).to_dense())
    assert torch.equal(param_of(ours), param_of(theirs))
    assert ours.paths()["0"].startswith("kernel (")


@pytest.mark.parametrize("options", [{}, {"centered": True}, {"state_dtype": torch.bfloat16}], ids=str)
def test_averages_of_numbers_become_the_mean_of_their_row(options):
    optimizer = RMSprop([made().param_groups[0]["params"][0]], **options)
    taken(optimizer, gradient(0).to_dense())
    before = optimizer.state[param_of(optimizer)]["square_avg"].float()
    optimizer.param_groups[0].update(sparse="rowwise", centered=False, state_dtype=None)
    empty = gradient(0, count=0)
    taken(optimizer, empty)
    state = optimizer.state[param_of(optimizer)]
    torch.testing.assert_close(state[AVERAGE], before.double().mean(1).float(), rtol=2**-22, atol=0)
    assert "square_avg" not in state


def test_averages_of_rows_are_given_to_their_numbers():
    optimizer = taken(made(), gradient(0))
    average = optimizer.state[param_of(optimizer)][AVERAGE].clone()
    optimizer.param_groups[0]["sparse"] = "exact"
    taken(optimizer, gradient(0, count=0))
    state = optimizer.state[param_of(optimizer)]
    assert torch.equal(state["square_avg"], (average * torch.tensor(0.99)).unsqueeze(1).expand(30, 6))
    assert AVERAGE not in state


@pytest.mark.parametrize("options", [{}, {"staleness_decay": 2.0}, {"dialect": "tensorflow1", "lr": 0.01}], ids=str)
def test_a_resumed_run_has_the_bits_of_the_one_that_goes_on(options):
    going_on, resumed = made(**options), made(**options)
    for nth in range(5):
        taken(going_on, gradient(nth))
    buffer = io.BytesIO()
    torch.save(going_on.state_dict(), buffer)
    buffer.seek(0)
    resumed.load_state_dict(torch.load(buffer))
    param_of(resumed).data.copy_(param_of(going_on).data)
    for nth in range(5, 10):
        taken(going_on, gradient(nth))
        taken(resumed, gradient(nth))
    assert torch.equal(param_of(going_on), param_of(resumed))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["copy", "pickle"])
def test_a_copy_goes_on_with_the_same_bits(copied):
    optimizer = made(staleness_decay=1.0)
    for nth in range(5):
        taken(optimizer, gradient(nth))
    other = copied(optimizer)
    for nth in range(5, 10):
        taken(optimizer, gradient(nth))
        taken(other, gradient(nth))
    assert torch.equal(param_of(optimizer), param_of(other))


def test_a_state_dict_of_torchs_optimizer_is_taken_over():
    theirs = torch.optim.RMSprop([made().param_groups[0]["params"][0]])
    taken(theirs, gradient(0).to_dense())
    ours = made()
    ours.load_state_dict(theirs.state_dict())
    ours.param_groups[0]["sparse"] = "rowwise"  # torch's has no such key, and what it lacks means what torch does
    taken(ours, gradient(0, count=0))
    mean = theirs.state[param_of(theirs)]["square_avg"].double().mean(1).float()
    torch.testing.assert_close(ours.state[param_of(ours)][AVERAGE], mean, rtol=2**-22, atol=0)


def test_state_of_another_table_is_refused():
    other = taken(made((20, 6)), gradient(0, (20, 6)))
    optimizer = made()
    with pytest.raises(ValueError, match=r"row_square_avg of shape \(20,\) for a parameter of shape \(30, 6\)"):
        optimizer.load_state_dict(other.state_dict())


@pytest.mark.parametrize("shape", [(40, 6), (20, 6)], ids=str)
def test_averages_of_other_rows_are_refused_before_anything_changes(shape, implementation):
    optimizer = taken(made(staleness_decay=1.0, **implementation), gradient(0))
    param_of(optimizer).grad = None
    param_of(optimizer).data = torch.ones(shape)
    with pytest.raises(RuntimeError, match=r"'row_square_avg' of parameter 0 .* there is one for each row: load"):
        taken(optimizer, gradient(1, shape))
    assert torch.equal(param_of(optimizer), torch.ones(shape))


def test_steps_of_rows_may_be_loaded_as_other_integers():
    ours, others = (taken(made(staleness_decay=1.0), gradient(0)) for _ in range(2))
    saved = others.state_dict()
    saved["state"][0]["row_steps"] = saved["state"][0]["row_steps"].long()
    others.load_state_dict(saved)
    for nth in range(1, 5):
        taken(ours, gradient(nth))
        taken(others, gradient(nth))
    assert torch.equal(param_of(ours), param_of(others))


def test_rows_that_are_clipped_are_those_of_scaled_gradients():
    clipped, scaled = made(max_grad_norm=0.5, maximize=True), made()
    grad = gradient(0)
    norm = grad.coalesce().values().double().norm().item()
    taken(clipped, grad)
    taken(scaled, grad * -(0.5 / norm))
    # The factor is rounded to float32 once more there, and each product: three roundings of √mean and of the gradient.
    torch.testing.assert_close(param_of(clipped), param_of(scaled), rtol=0, atol=4 * 2**-24 * 4)


def test_an_embedding_learns():
    table = nn.Embedding(50, 8, sparse=True)
    optimizer = RMSprop(table.parameters(), lr=0.05, sparse="rowwise")
    for nth in range(200):
        ids = torch.randint(0, 50, (16,), generator=torch.Generator().manual_seed(nth))
        optimizer.zero_grad()
        (table(ids) - 1).square().mean().backward()
        optimizer.step()
    assert (table.weight - 1).abs().mean() < 0.1


REFUSED = {
    "momentum": ({"momentum": 0.9}, {}, "as momentum=0.9 needs numbers of its own for each element"),
    "centered": ({"centered": True}, {}, "as centered=True needs numbers"),
    "decay": ({"weight_decay": 0.1}, {}, r"as weight_decay=0.1 .* \(staleness_decay makes up for rests\)"),
    "units": ({"max_grad_ratio": 0.1}, {}, "as max_grad_ratio is for all of a tensor"),
    "8 bits": ({"state_dtype": "8bit"}, {}, "as state_dtype='8bit' packs averages of single numbers"),
    "16 bits": ({"state_dtype": torch.bfloat16}, {}, "as state_dtype=torch.bfloat16 packs averages"),
    "columns": ({}, {"sparse_dim": 2}, "as its gradient has 2 sparse dimensions"),
    "capturable": ({"capturable": True}, {}, "as capturable is for all of a tensor"),
}


@pytest.mark.parametrize(("options", "of_gradient", "match"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_row_averages_is_refused_before_anything_changes(options, of_gradient, match):
    optimizer = made(**options)
    before = param_of(optimizer).detach().clone()
    with pytest.raises(RuntimeError, match=f"sparse='rowwise' can't update some rows of parameter 0 alone, {match}"):
        taken(optimizer, gradient(0, **of_gradient))
    assert torch.equal(param_of(optimizer), before)
    assert not optimizer.state


def test_a_dense_gradient_after_rows_is_refused_where_rows_would_be():
    optimizer = taken(made(), gradient(0))
    optimizer.param_groups[0]["momentum"] = 0.9
    before = param_of(optimizer).detach().clone()
    with pytest.raises(RuntimeError, match=r"as momentum=0\.9 needs numbers"):
        taken(optimizer, gradient(1).to_dense())
    assert torch.equal(param_of(optimizer), before)


BAD = {
    "without rows": ({"staleness_decay": 0.1, "sparse": "lazy"}, "staleness_decay=0.1 belongs to sparse='rowwise'"),
    "below 0": ({"staleness_decay": -1.0}, r"Invalid staleness_decay: -1.0 \(allowed: a finite number >= 0\)"),
    "no number": ({"staleness_decay": "1"}, "Invalid staleness_decay"),
}


@pytest.mark.parametrize(("options", "match"), BAD.values(), ids=BAD)
def test_a_bad_staleness_decay_is_refused(options, match):
    with pytest.raises((ValueError, TypeError), match=match):
        RMSprop([torch.ones(3, 2, requires_grad=True)], **{"sparse": "rowwise", **options})


def test_rows_with_averages_are_not_traced():
    param, other = torch.ones(30, 6, requires_grad=True), torch.ones(3, requires_grad=True)
    optimizer = RMSprop([param, other], sparse="rowwise", fused=False)
    param.grad, other.grad = gradient(0), torch.ones(3)
    with pytest.raises(RuntimeError, match="sparse='rowwise' updates rows of parameter 0, but a compiler"):
        torch.compile(lambda: optimizer.step(), backend="eager")()
