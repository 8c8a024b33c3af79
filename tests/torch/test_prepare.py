"""Rows that are prepared before they are read: the dense optimizer's, though no step goes through the whole table."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from rmsprop import drift, native
from rmsprop.torch import RMSprop, ScheduleFreeRMSprop, row_clock, step_in_backward

DECOUPLED = {"weight_decay": 0.1, "weight_decay_mode": "decoupled"}
RULES = {
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterov": True, "centered": True},
    "tensorflow": {"dialect": "tensorflow1", "momentum": 0.9, "eps": 1e-3, "lr": 0.01},
    "averaged": {"momentum": 0.9, "averaged_momentum": True, "bias_correction": True},
    "decay": DECOUPLED,
    "both": {"momentum": 0.5, **DECOUPLED},
}


def gradient(nth, shape=(30, 6), count=5, dtype=torch.float32, sparse_dim=1):
    """An uncoalesced gradient of some rows."""
    random = torch.Generator().manual_seed(nth)
    indices = torch.stack([torch.randint(0, n, (count,), generator=random) for n in shape[:sparse_dim]])
    values = torch.randn(count, *shape[sparse_dim:], generator=random).to(dtype)
    return torch.sparse_coo_tensor(indices, values, shape, check_invariants=True)


def made(shape=(30, 6), dtype=torch.float32, **options):
    start = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    return RMSprop([start.requires_grad_()], **options)


def param_of(optimizer):
    return optimizer.param_groups[0]["params"][0]


def taken(optimizer, grad):
    """Prepare the rows of a gradient, and take its step."""
    optimizer.prepare(grad._indices()[0])
    param_of(optimizer).grad = grad
    optimizer.step()
    return optimizer


def taken_densely(optimizer, grad):
    param_of(optimizer).grad = grad.to_dense()
    optimizer.step()
    return optimizer


@pytest.mark.parametrize("options", RULES.values(), ids=RULES)
def test_a_thousand_steps_of_float64_are_those_of_the_dense_gradient(options):
    rows, dense = (made(dtype=torch.float64, **options) for _ in range(2))
    largest = 0.0
    for nth in range(1000):
        grad = gradient(nth, count=nth % 5, dtype=torch.float64)
        for optimizer in (rows, dense):
            optimizer.param_groups[0]["lr"] = 0.01 * (1 + np.cos(nth / 50))
        rows.prepare(grad._indices()[0])
        read = grad._indices()[0]
        largest = max(largest, param_of(dense).abs().max().item())
        # Each of the steps rounds θ and what it moves by, some six times, by half a unit of at most the largest.
        assert (param_of(rows)[read] - param_of(dense)[read]).abs().sum() <= 30 * 6 * (nth + 1) * 2**-53 * largest
        taken(rows, grad)
        taken_densely(dense, grad)
    assert rows.paths()["0"].startswith("kernel on rows (")
    rows.prepare()
    assert (param_of(rows) - param_of(dense)).abs().max() <= 6 * 1000 * 2**-53 * largest


@pytest.mark.parametrize("options", RULES.values(), ids=RULES)
def test_a_thousand_steps_of_float32_are_as_exact_as_those_of_the_dense_gradient(options):
    rows, dense = (made((200, 6), **options) for _ in range(2))
    exact = made((200, 6), torch.float64, **options)
    param_of(exact).data.copy_(param_of(dense).data)
    for nth in range(1000):
        grad = gradient(nth, (200, 6))
        taken(rows, grad)
        taken_densely(dense, grad)
        taken_densely(exact, grad.double())
    rows.prepare()
    # Each rounding of the dense steps at rest is one of θ or b that rows, which take them at once, don't have.
    errors = [(param_of(each).double() - param_of(exact)).square().mean().sqrt() for each in (rows, dense)]
    assert errors[0] <= errors[1]
    # A step rounds θ once to half a unit at most, and what it moves by, far smaller here, some five times.
    assert (param_of(rows) - param_of(dense)).abs().max() <= 2 * 1000 * 2**-24 * param_of(exact).abs().max()


STORAGES = {
    f"{dtype} {' '.join(map(str, options.values()))}": (dtype, options)
    for dtype in (torch.float32, torch.bfloat16, torch.float16)
    for options in (
        {},
        {"rounding": "stochastic", "seed": 3},
        {"rounding": "kahan"},
        {"state_dtype": torch.bfloat16, "centered": True},
        {"state_dtype": "8bit", "centered": True},
    )
}


@pytest.mark.parametrize(("dtype", "options"), STORAGES.values(), ids=STORAGES)
@pytest.mark.parametrize("width", [6, 64, 300])
def test_tensor_operations_give_the_bits_of_the_kernel(dtype, options, width, monkeypatch):
    kernel, operations = (
        made((70, width), dtype, momentum=0.9, **DECOUPLED, fused=fused, **options) for fused in (None, False)
    )
    with monkeypatch.context() as without:
        without.setattr(native, "missing", lambda: "it is away for this test")
        for nth in range(8):
            taken(operations, gradient(nth, (70, width), 9, dtype))
        assert operations.paths()["0"].startswith("tensor operations on rows")
        state = operations.state_dict()["state"][0]
    for nth in range(8):
        taken(kernel, gradient(nth, (70, width), 9, dtype))
    assert kernel.paths()["0"].startswith("kernel on rows")
    for name, array in kernel.state_dict()["state"][0].items():
        assert torch.equal(array, state[name]), name
    assert torch.equal(param_of(kernel), param_of(operations))


def test_rows_rounded_at_random_move_right_on_average():
    optimizer = made((4000, 64), torch.bfloat16, lr=1e-4, momentum=0.9, rounding="stochastic")
    start = param_of(optimizer).detach().float().clone()
    ones = torch.ones(4000, 64, dtype=torch.bfloat16)
    taken(optimizer, torch.sparse_coo_tensor(torch.arange(4000)[None], ones, (4000, 64), check_invariants=True))
    for nth in range(30):
        taken(optimizer, gradient(nth, (4000, 64), 0, torch.bfloat16))
    optimizer.prepare()
    moved = (start - param_of(optimizer).detach().float()).mean()
    # 1 + 0.9 + … + 0.9³⁰ times lr/√(1 − ρ), rounded twice within 2⁻⁶ of numbers below 4, 256,000 of them.
    assert abs(moved - 1e-3 * (1 - 0.9**31) / 0.1) <= 5 * 2 * 2**-6 / 506


def test_rows_that_are_not_prepared_are_not_touched():
    optimizer = made(momentum=0.9)
    taken(optimizer, gradient(0))
    before, others = param_of(optimizer).detach().clone(), torch.ones(30, dtype=torch.bool)
    others[gradient(1)._indices()[0]] = False
    taken(optimizer, gradient(1))
    assert torch.equal(param_of(optimizer)[others], before[others])
    optimizer.prepare()
    assert not torch.equal(param_of(optimizer)[others], before[others])


def test_what_a_forward_reads_is_what_it_would_read_of_the_dense_table():
    tables = [nn.Embedding(40, 8, sparse=is_sparse, dtype=torch.float64) for is_sparse in (True, False)]
    tables[1].load_state_dict(tables[0].state_dict())
    optimizers = [RMSprop(table.parameters(), lr=0.01, momentum=0.9) for table in tables]
    for nth in range(60):
        ids, losses = torch.randint(0, 40, (3, 2), generator=torch.Generator().manual_seed(nth)), []
        optimizers[0].prepare(ids)
        for table, optimizer in zip(tables, optimizers, strict=True):
            optimizer.zero_grad()
            losses.append((table(ids) - 1).square().sum())
            losses[-1].backward()
            optimizer.step()
        # Gradients add up in another order, and g/√v passes their roundings on: some ten of them in each of the steps.
        torch.testing.assert_close(*losses, rtol=10 * (nth + 1) * 2**-50, atol=0)


def test_a_row_that_was_not_prepared_is_refused_before_anything_changes():
    optimizer = made(momentum=0.9)
    for nth in range(3):
        taken(optimizer, gradient(nth))
    before, now = param_of(optimizer).detach().clone(), gradient(9)
    param_of(optimizer).grad = now
    with pytest.raises(RuntimeError, match=r"row \d+ of parameter 0 has a gradient, but was not prepared: a forward"):
        optimizer.step()
    assert torch.equal(param_of(optimizer), before)
    assert optimizer.state[param_of(optimizer)]["step"] == 3
    taken(optimizer, now)  # says sorry


@pytest.mark.filterwarnings("ignore:rmsprop makes the sparse gradient of parameter 0 dense")
@pytest.mark.parametrize("options", [{}, {"max_grad_ratio": 0.5}], ids=["a dense gradient", "a dense copy"])
def test_rows_that_were_not_prepared_are_refused_where_a_step_needs_all_rows(options):
    optimizer = made(momentum=0.9)
    for nth in range(3):
        taken(optimizer, gradient(nth))
    optimizer.param_groups[0].update(options)
    before, now = param_of(optimizer).detach().clone(), gradient(9)
    param_of(optimizer).grad = now if options else now.to_dense()
    with pytest.raises(RuntimeError, match=r"row \d+ of parameter 0 has a gradient, but was not prepared: a forward"):
        optimizer.step()
    assert torch.equal(param_of(optimizer), before)
    optimizer.prepare()
    optimizer.step()
    assert optimizer.state[param_of(optimizer)]["step"] == 4


@pytest.mark.parametrize("look", [lambda o: o.state_dict(), lambda o: o.state[param_of(o)]["momentum_buffer"]])
def test_who_looks_at_the_state_finds_everything_up_to_date(look):
    rows, dense = (made(dtype=torch.float64, momentum=0.9, **DECOUPLED) for _ in range(2))
    for nth in range(20):
        taken(rows, gradient(nth, dtype=torch.float64))
        taken_densely(dense, gradient(nth, dtype=torch.float64))
        if nth == 10:
            look(rows)
    look(rows)
    assert (param_of(rows) - param_of(dense)).abs().max() <= 6 * 20 * 2**-53 * 4
    for name, array in dense.state_dict()["state"][0].items():
        torch.testing.assert_close(rows.state_dict()["state"][0][name], array, rtol=6 * 20 * 2**-53, atol=0)
    taken(rows, gradient(20, dtype=torch.float64))
    assert rows.paths()["0"].startswith("kernel on rows")


@pytest.mark.parametrize("state_dtype", [None, "8bit"])
def test_a_resumed_run_has_the_bits_of_the_one_that_goes_on(state_dtype):
    going_on, resumed = (made(momentum=0.9, state_dtype=state_dtype) for _ in range(2))
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
    going_on.prepare()
    resumed.prepare()
    assert torch.equal(param_of(going_on), param_of(resumed))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["copy", "pickle"])
def test_a_copy_goes_on_with_the_same_bits(copied):
    optimizer = made(momentum=0.9)
    for nth in range(5):
        taken(optimizer, gradient(nth))
    other = copied(optimizer)
    for nth in range(5, 10):
        taken(optimizer, gradient(nth))
        taken(other, gradient(nth))
    optimizer.prepare()
    other.prepare()
    assert torch.equal(param_of(optimizer), param_of(other))


def changed(nth, group):
    """Change the rule on the way, to one that leaves rows where they are too."""
    group.update(momentum=(0.9, 0.9, 0.0, 0.5)[nth // 5 % 4], alpha=(0.99, 0.9)[nth // 7 % 2])
    group.update(weight_decay=(0.0, 0.1, 0.0)[nth // 3 % 3])


def test_gradients_and_rules_may_take_turns():
    options = {"weight_decay_mode": "decoupled", "momentum": 0.9, "dtype": torch.float64}
    rows, dense = (made(**options) for _ in range(2))
    for nth in range(60):
        for optimizer in (rows, dense):
            changed(nth, optimizer.param_groups[0])
        grad = gradient(nth, dtype=torch.float64)
        rows.prepare(grad._indices()[0])
        (taken_densely if nth % 11 == 5 else taken)(rows, grad)
        taken_densely(dense, grad)
    rows.prepare()
    assert (param_of(rows) - param_of(dense)).abs().max() <= 6 * 60 * 2**-53 * 4


def test_all_rows_are_brought_up_to_date_after_so_many_steps(monkeypatch):
    monkeypatch.setattr(drift, "MOST_STEPS", 7)
    rows, dense = (made(dtype=torch.float64, momentum=0.9) for _ in range(2))
    for nth in range(40):
        taken(rows, gradient(nth, dtype=torch.float64))
        taken_densely(dense, gradient(nth, dtype=torch.float64))
    rows.prepare()
    assert (param_of(rows) - param_of(dense)).abs().max() <= 6 * 40 * 2**-53 * 4


def test_several_sparse_dimensions():
    rows, dense = (made((7, 5, 3), torch.float64, momentum=0.9) for _ in range(2))
    for nth in range(20):
        grad = gradient(nth, (7, 5, 3), dtype=torch.float64, sparse_dim=2)
        taken(rows, grad)
        taken_densely(dense, grad)
    rows.prepare()
    assert (param_of(rows) - param_of(dense)).abs().max() <= 6 * 20 * 2**-53 * 4


def test_complex_rows():
    rows, dense = (made((10, 3), torch.complex128, momentum=0.9, **DECOUPLED) for _ in range(2))
    for nth in range(20):
        grad = gradient(nth, (10, 3), dtype=torch.complex128)
        taken(rows, grad)
        taken_densely(dense, grad)
    rows.prepare()
    assert (param_of(rows) - param_of(dense)).abs().max() <= 6 * 20 * 2**-53 * 4


def test_several_forwards_may_share_a_step():
    tables = [nn.Embedding(20, 4, sparse=is_sparse, dtype=torch.float64) for is_sparse in (True, False)]
    tables[1].load_state_dict(tables[0].state_dict())
    optimizers = [RMSprop(table.parameters(), lr=0.01, momentum=0.9) for table in tables]
    for nth in range(10):
        for table, optimizer in zip(tables, optimizers, strict=True):
            optimizer.zero_grad()
            for ids in torch.randint(0, 20, (3, 4), generator=torch.Generator().manual_seed(nth)):
                optimizer.prepare(ids)
                table(ids).square().sum().backward()
            optimizer.step()
    optimizers[0].prepare()
    torch.testing.assert_close(tables[0].weight, tables[1].weight, rtol=0, atol=20 * 10 * 2**-50)


@pytest.mark.parametrize("found_inf", [0.0, 1.0])
def test_a_step_that_is_skipped_moves_no_rows(found_inf):
    rows, dense = (made(dtype=torch.float64, momentum=0.9, max_grad_norm=1.0) for _ in range(2))
    for nth in range(12):
        grad = gradient(nth, dtype=torch.float64)
        if nth == 5:
            grad = grad * (float("inf") if found_inf else 1.0)
        taken(rows, grad)
        taken_densely(dense, grad)
    rows.prepare()
    assert rows.skipped_steps == dense.skipped_steps == found_inf
    # The norm is that of rows added up in another order, a few units of a factor that each gradient is scaled by.
    assert (param_of(rows) - param_of(dense)).abs().max() <= 20 * 12 * 2**-53 * 4


def test_several_tables_and_what_lies_beside_them():
    def model(is_sparse):
        torch.manual_seed(0)
        return nn.ModuleList(
            [nn.Embedding(20, 4, sparse=is_sparse), nn.Embedding(9, 4, sparse=is_sparse), nn.Linear(4, 1)]
        )

    models = [model(True).double(), model(False).double()]
    optimizers = [RMSprop(each.parameters(), lr=0.01, momentum=0.9) for each in models]
    for nth in range(20):
        random = torch.Generator().manual_seed(nth)
        ids = [torch.randint(0, n, (3,), generator=random) for n in (20, 9)]
        optimizers[0].prepare({models[0][0].weight: ids[0], models[0][1].weight: ids[1].tolist()})
        for each, optimizer in zip(models, optimizers, strict=True):
            optimizer.zero_grad()
            each[2](each[0](ids[0]) + each[1](ids[1])).square().sum().backward()
            optimizer.step()
    optimizers[0].prepare()
    for ours, theirs in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=20 * 20 * 2**-50)


def test_a_scaler_and_backward_take_prepared_rows():
    tables = [nn.Embedding(20, 4, sparse=is_sparse, dtype=torch.float64) for is_sparse in (True, False)]
    tables[1].load_state_dict(tables[0].state_dict())
    optimizers = [RMSprop(table.parameters(), lr=0.01, momentum=0.9) for table in tables]
    handles = [step_in_backward(optimizer) for optimizer in optimizers]
    for nth in range(10):
        ids = torch.arange(nth, 20, 3)
        optimizers[0].prepare(ids)
        for table in tables:
            table(ids).square().sum().backward()
    for handle in handles:
        handle.remove()
    optimizers[0].prepare()
    torch.testing.assert_close(tables[0].weight, tables[1].weight, rtol=0, atol=20 * 10 * 2**-50)


SWEPT = {
    "l2": ({"weight_decay": 0.1}, "weight decay moves rows that have no gradient"),
    "caution": ({"momentum": 0.9, "caution": True}, "momentum moves rows|caution"),
    "units": ({"momentum": 0.9, "max_grad_ratio": 0.5}, "momentum moves rows|max_grad_ratio"),
}


@pytest.mark.parametrize(("options", "match"), SWEPT.values(), ids=SWEPT)
def test_what_has_no_closed_form_is_still_swept_and_says_so(options, match):
    rows, dense = (made(**options) for _ in range(2))
    with pytest.warns(UserWarning, match=match) as told:
        taken(rows, gradient(0))
    assert "prepare()" not in str(told[0].message)
    taken_densely(dense, gradient(0))
    for nth in range(1, 5):
        taken(rows, gradient(nth))
        taken_densely(dense, gradient(nth))
    assert torch.equal(param_of(rows), param_of(dense))


def test_who_does_not_prepare_is_told_of_it():
    optimizer = made(momentum=0.9)
    param_of(optimizer).grad = gradient(0)
    with pytest.warns(UserWarning, match=r"the whole table\. prepare\(\) of the optimizer with the rows, before each"):
        optimizer.step()


def a_wider_gradient(optimizer):
    param_of(optimizer).grad_dtype = None
    param_of(optimizer).grad = gradient(0, dtype=torch.float64)


def a_gradient_of_shared_state(optimizer):
    optimizer.share_memory()
    param_of(optimizer).grad = gradient(0)


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}], ids=str)
@pytest.mark.parametrize("given", [a_wider_gradient, a_gradient_of_shared_state])
def test_nobody_is_told_to_prepare_where_that_does_nothing(given, options):
    optimizer = made(**options)
    given(optimizer)
    with pytest.warns(UserWarning, match=r"costs as much as one of the whole table$"):
        optimizer.step()


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "sparse": "lazy"}, {"sparse": "rowwise"}], ids=str)
def test_rows_that_rest_need_no_preparing(options):
    prepared, other = made(**options), made(**options)
    for nth in range(5):
        taken(prepared, gradient(nth))
        param_of(other).grad = gradient(nth)
        other.step()
    assert torch.equal(param_of(prepared), param_of(other))


def test_loaded_numbers_are_not_moved_by_steps_before_the_load():
    optimizer = made(momentum=0.9)
    for nth in range(5):
        taken(optimizer, gradient(nth))
    saved, weights = copy.deepcopy(optimizer.state_dict()), param_of(optimizer).detach().clone()
    for nth in range(5, 10):
        taken(optimizer, gradient(nth))
    param_of(optimizer).data.copy_(weights)  # a model's state dict is loaded first
    optimizer.load_state_dict(saved)
    optimizer.prepare()
    assert torch.equal(param_of(optimizer), weights)


# Roundings of a number to another dtype that each step adds where the number is stored so.
CONVERSIONS = {
    "twice the bits": (lambda p: p.double(), 2**-24),
    "half the bits": (lambda p: p.bfloat16(), 2**-8),
    "other halves": (lambda p: p.half(), 2**-11),
    "columns": (lambda p: p.t().contiguous().t(), 2**-24),
}


@pytest.mark.parametrize(("converted", "unit"), CONVERSIONS.values(), ids=CONVERSIONS)
def test_rows_that_wait_are_brought_up_to_date_however_the_parameter_is_stored_by_then(converted, unit, implementation):
    rows, dense = (made(momentum=0.9, **DECOUPLED, **implementation) for _ in range(2))
    for nth in range(10):
        taken(rows, gradient(nth))
        taken_densely(dense, gradient(nth))
    for optimizer in (rows, dense):
        param_of(optimizer).grad = None
        param_of(optimizer).data = converted(param_of(optimizer).data)
    rows.prepare()
    # Ten steps of six roundings in float32, one conversion in each of both ways.
    bound = (60 * 2**-24 + 2 * unit) * param_of(dense).abs().max()
    assert (param_of(rows) - param_of(dense)).abs().max() <= bound
    assert rows.state_dict()["state"][0]["step"] == 10


@pytest.mark.parametrize("options", [{"momentum": 0.9}, {}], ids=str)
def test_what_rounding_took_off_belongs_to_its_dtype(options, implementation):
    rows, dense = (made(dtype=torch.bfloat16, rounding="kahan", **options, **implementation) for _ in range(2))
    for nth in range(10):
        for optimizer, take in ((rows, taken), (dense, taken_densely)):
            if nth == 5:
                param_of(optimizer).grad = None
                param_of(optimizer).data = param_of(optimizer).data.half()
            take(optimizer, gradient(nth, dtype=param_of(optimizer).dtype))
    rows.prepare()
    # Before the conversion what is lost is kept, so that numbers differ by one rounding to bfloat16, and that alone.
    bound = 2**-8 * param_of(dense).abs().max() + 60 * 2**-24
    assert (param_of(rows) - param_of(dense)).abs().max() <= bound
    assert rows.state[param_of(rows)]["compensation"].dtype == torch.float16


def test_rows_of_a_parameter_of_another_shape_are_not_moved():
    optimizer = made(momentum=0.9)
    for nth in range(3):
        taken(optimizer, gradient(nth))
    param_of(optimizer).data = torch.zeros(4, 6)
    with pytest.raises(RuntimeError, match=r"shape \(4, 6\) now, but rows .* are 30 of 6 numbers: call prepare"):
        optimizer.prepare()


SOME_ROWS = {
    "a number": 3,
    "a list of numbers": [torch.tensor(3), 3],
    "a range": range(2, 5),
    "bytes": np.array([3], np.int8),
    "numbers without sign": np.array([[3, 2]], np.uint16),
    "int32": torch.tensor([3, 3, 2], dtype=torch.int32),
}


@pytest.mark.parametrize("rows", SOME_ROWS.values(), ids=SOME_ROWS)
def test_rows_are_named_by_whatever_holds_integers(rows):
    optimizer, dense = (made(momentum=0.9, dtype=torch.float64) for _ in range(2))
    grads = [gradient(nth, dtype=torch.float64) for nth in range(5)]
    for nth in range(5):
        taken(optimizer, grads[nth])
        taken_densely(dense, grads[nth])
    optimizer.prepare(rows)
    moved = param_of(optimizer)[3] - param_of(dense)[3]
    assert moved.abs().max() <= 6 * 5 * 2**-53 * 4


@pytest.mark.parametrize("options", [{"momentum": 0.9}, {}, {"centered": True}], ids=str)
@pytest.mark.parametrize("count", [100, 3, 0])
def test_a_counter_that_somebody_sets_lets_rows_begin_anew(options, count):
    rows, dense = (made(dtype=torch.float64, **options) for _ in range(2))
    for nth in range(30):
        for optimizer in (rows, dense):
            if nth == 10:
                optimizer.state[param_of(optimizer)]["step"].fill_(count)
        grad = gradient(nth, dtype=torch.float64)
        taken(rows, grad)
        taken_densely(dense, grad)
    rows.prepare()
    assert (param_of(rows) - param_of(dense)).abs().max() <= 6 * 30 * 2**-53 * 4
    for name, array in dense.state_dict()["state"][0].items():
        difference = (rows.state_dict()["state"][0][name] - array).abs().max()
        assert difference <= 6 * 30 * 2**-53 * array.abs().max(), name


def test_other_sparse_dimensions_spare_nobody_the_preparing():
    optimizer = made((6, 3, 2), momentum=0.9)
    for nth in range(3):
        taken(optimizer, gradient(nth, (6, 3, 2), 2))
    optimizer.prepare([4])
    before = param_of(optimizer).detach().clone()
    behind = torch.sparse_coo_tensor([[4, 5], [0, 1]], torch.ones(2, 2), (6, 3, 2), check_invariants=True)
    param_of(optimizer).grad = behind
    with pytest.raises(RuntimeError, match="row 5 of parameter 0 has a gradient, but was not prepared"):
        optimizer.step()
    assert torch.equal(param_of(optimizer), before)
    taken(optimizer, behind)


def test_a_compiler_leaves_preparing_alone():
    torch._dynamo.reset()
    weights = []
    for compiled in (lambda f: f, lambda f: torch.compile(f, backend="eager")):
        torch.manual_seed(0)
        table = nn.Embedding(30, 6, sparse=True)
        optimizer = RMSprop(table.parameters(), lr=0.01, momentum=0.9)

        def trained(ids, table=table, optimizer=optimizer):
            optimizer.zero_grad()
            optimizer.prepare(ids)
            (table(ids) - 1).square().sum().backward()
            optimizer.step()

        step = compiled(trained)
        for nth in range(4):
            step(gradient(nth)._indices()[0])
        optimizer.prepare()
        weights.append(table.weight.detach())
    assert torch.equal(*weights)


BAD = {
    "a row too far": (lambda p: [30], ValueError, "row 30 of parameter 0 was named, which has rows 0 to 29"),
    "a row below 0": (lambda p: {p: torch.tensor([[2, -1]])}, ValueError, "row -1 of parameter 0"),
    "no integers": (
        lambda p: torch.ones(3),
        TypeError,
        "rows of parameter 0 must be integers, but are of torch.float32",
    ),
    "a mask": (lambda p: torch.ones(30, dtype=torch.bool), TypeError, "must be integers, but are of torch.bool"),
    "a set": (lambda p: {1, 2}, TypeError, "in one tensor, array or list, but this set can't be read as such"),
    "several tensors": (lambda p: [torch.ones(2, dtype=torch.int64)] * 2, TypeError, "this list can't be read"),
    "too large a number": (lambda p: [2**70], TypeError, "this list can't be read as such: Overflow"),
    "coordinates": (lambda p: torch.arange(3).to_sparse(), TypeError, "must be a dense tensor of integers"),
    "another tensor": (lambda p: {torch.ones(3): [0]}, ValueError, r"a tensor of shape \(3,\), which is no parameter"),
    "a name": (lambda p: {"weight": [0]}, ValueError, "rows of 'weight', which is no parameter"),
}


@pytest.mark.parametrize(("rows", "error", "match"), BAD.values(), ids=BAD)
def test_bad_rows_are_refused(rows, error, match):
    optimizer = made(momentum=0.9)
    with pytest.raises(error, match=match):
        optimizer.prepare(rows(param_of(optimizer)))
    assert not optimizer.state


def test_rows_of_one_of_several_parameters_are_named():
    optimizer = RMSprop([torch.ones(3, 2), torch.ones(4)], momentum=0.9)
    with pytest.raises(ValueError, match=r"has 2 parameters: say whose rows these are, prepare\(\{weight: rows\}\)"):
        optimizer.prepare([0])


def test_an_average_of_all_steps_prepares_no_rows():
    optimizer = ScheduleFreeRMSprop([torch.ones(3, 2, requires_grad=True)], lr=0.1)
    with pytest.raises(RuntimeError, match="ScheduleFreeRMSprop does not support sparse gradients, and can't prepare"):
        optimizer.prepare([0])


@pytest.mark.parametrize("options", [{}, *RULES.values()], ids=["plain", *RULES])
def test_without_the_kernel_an_interruption_moves_no_row_twice(options, monkeypatch):
    monkeypatch.setattr(native, "missing", lambda: "it is away for this test")
    monkeypatch.setattr(row_clock, "_CHUNK", 16)  # two rows at a time
    whole, interrupted = (made(fused=False, **options) for _ in range(2))
    for optimizer in (whole, interrupted):
        for nth in range(6):
            taken(optimizer, gradient(nth))
    write, calls = row_clock.StoredRows.write, []

    def stopping(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(row_clock.StoredRows, "write", stopping)
        with pytest.raises(KeyboardInterrupt):
            interrupted.state_dict()
    for optimizer in (whole, interrupted):
        optimizer.state_dict()
    differ = (param_of(whole) != param_of(interrupted)).any(1)
    for name in ("square_avg", "grad_avg", "momentum_buffer"):
        if name in whole.state[param_of(whole)]:
            differ |= (whole.state[param_of(whole)][name] != interrupted.state[param_of(interrupted)][name]).any(1)
    # At most those that were being moved: a parameter is written before its state.
    assert differ.sum() <= (3 if options else 0)
