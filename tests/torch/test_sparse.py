"""Sparse gradients: the step is that of the dense gradient, and touches no more than the rows that it must."""

import contextlib
import copy
import io
import pickle

import pytest
import torch
from torch import nn

from rmsprop.torch import RMSprop, ScheduleFreeRMSprop, step_in_backward

UNIT = torch.finfo(torch.float32).eps


def gradient(shape, nth, count, sparse_dim=1, dtype=torch.float32, unique=False):
    """An uncoalesced gradient of some rows, most of which occur several times."""
    random = torch.Generator().manual_seed(nth)
    if unique:
        indices = torch.randperm(shape[0], generator=random)[None, :count]
    else:
        indices = torch.stack([torch.randint(0, n, (count,), generator=random) for n in shape[:sparse_dim]])
    values = torch.randn(indices.shape[1], *shape[sparse_dim:], generator=random).to(dtype)
    return torch.sparse_coo_tensor(indices, values, shape, check_invariants=True)


def pair(shape=(30, 6), dtype=torch.float32, both=None, **options):
    """Optimizers of equal parameters, and what to pass to `step`."""
    start = torch.randn(shape).to(dtype)
    params = [start.clone().requires_grad_() for _ in range(2)]
    return [RMSprop([param], **options, **(both or {})) for param in params]


def param_of(optimizer):
    return optimizer.param_groups[0]["params"][0]


def step(sparse, dense, grad):
    param_of(sparse).grad, param_of(dense).grad = grad, grad.to_dense()
    sparse.step()
    dense.step()


def assert_close(sparse, dense, units=8):
    """Equal to 8 units in the last place of the largest number: near 0 a parameter has moved through all sizes."""
    ours, theirs = param_of(sparse).detach(), param_of(dense).detach()
    assert (ours - theirs).abs().max() <= units * UNIT * theirs.abs().max()
    for name, average in dense.state_dict()["state"][0].items():
        ours = sparse.state_dict()["state"][0][name]
        assert (ours - average).abs().max() <= 32 * UNIT * average.abs().max(), name


ON_ROWS = {
    "plain": {},
    "centered": {"centered": True},
    "corrected": {"bias_correction": True, "centered": True},
    "tensorflow": {"dialect": "tensorflow1", "eps": 1e-3, "lr": 0.01},
    "ascent": {"maximize": True},
    "limited": {"max_grad_value": 0.5},
    "clipped": {"max_grad_norm": 1.0},
    "adopt": {"init_from_gradient": True, "delayed": True},
}
IN_A_SWEEP = {
    "momentum": {"momentum": 0.9},
    "decay": {"weight_decay": 0.01},
    "decoupled": {"weight_decay": 0.01, "weight_decay_mode": "decoupled"},
    "cautious": {"weight_decay": 0.01, "weight_decay_mode": "cautious"},
    "rms": {"max_update_rms": 0.5},
    "units": {"max_grad_ratio": 0.5},
}


@pytest.mark.parametrize("options", ON_ROWS.values(), ids=ON_ROWS)
def test_rows_are_updated_as_by_the_dense_gradient(implementation, options):
    sparse, dense = pair(**options, both=implementation)
    for nth in range(40):
        if nth == 20:
            for optimizer in (sparse, dense):
                optimizer.param_groups[0].update(lr=0.003, alpha=0.8)
        step(sparse, dense, gradient((30, 6), nth, count=nth % 7))
        assert (param_of(sparse) - param_of(dense)).abs().max() <= 8 * UNIT * param_of(dense).abs().max()
    assert "rows" in sparse.paths()["0"]
    assert_close(sparse, dense)


@pytest.mark.parametrize("options", IN_A_SWEEP.values(), ids=IN_A_SWEEP)
def test_rows_that_move_at_rest_are_updated_in_a_dense_sweep_which_is_said_once(options):
    sparse, dense = pair(**options)
    grad = gradient((30, 6), 0, 5)
    with pytest.warns(UserWarning, match="makes the sparse gradient of parameter 0 dense at every step, as"):
        step(sparse, dense, grad)
    assert param_of(sparse).grad is grad
    for nth in range(1, 5):
        step(sparse, dense, gradient((30, 6), nth, 5))
    assert torch.equal(param_of(sparse), param_of(dense))
    assert "on a dense copy of the sparse gradient" in sparse.paths()["0"]


@pytest.mark.parametrize("make", [nn.Embedding, nn.EmbeddingBag])
def test_embeddings_are_trained_as_with_dense_gradients(make):
    tables = [make(40, 8, sparse=is_sparse) for is_sparse in (True, False)]
    tables[1].load_state_dict(tables[0].state_dict())
    optimizers = [RMSprop(table.parameters(), lr=0.01, centered=True) for table in tables]
    for _ in range(30):
        ids = torch.randint(0, 40, (3, 5))
        for table, optimizer in zip(tables, optimizers, strict=True):
            optimizer.zero_grad()
            (table(ids) - 1).square().sum().backward()
            optimizer.step()
    # Their gradients are added up in another order, which rounds otherwise: 15 terms to half a unit each.
    assert_close(*optimizers, units=64)


SHAPES = {
    "a row of numbers": ((50,), 1),
    "two sparse dimensions": ((7, 5, 3), 2),
    "three, of numbers": ((4, 5, 3), 3),
    "blocks in rows": ((9, 4, 300), 1),
}


@pytest.mark.parametrize(("shape", "sparse_dim"), SHAPES.values(), ids=SHAPES)
def test_hybrid_gradients(implementation, shape, sparse_dim):
    sparse, dense = pair(shape, both=implementation)
    for nth in range(10):
        step(sparse, dense, gradient(shape, nth, 6, sparse_dim))
    assert_close(sparse, dense)


@pytest.mark.parametrize("shape", [(0, 6), (5, 0), (0, 0)], ids=str)
def test_tables_without_numbers_count_their_steps(implementation, shape):
    sparse, dense = pair(shape, both=implementation)
    for nth in range(3):
        step(sparse, dense, gradient(shape, nth, 3 if shape[0] else 0, unique=not shape[0]))
    assert sparse.state[param_of(sparse)]["step"] == 3


def test_the_number_of_sparse_dimensions_may_change():
    sparse, dense = pair((7, 5, 3))
    for nth in range(9):
        step(sparse, dense, gradient((7, 5, 3), nth, 6, 1 + nth % 3))
    assert_close(sparse, dense)


def test_complex_rows(implementation):
    sparse, dense = pair((10, 3), torch.complex64, both=implementation)
    for nth in range(10):
        step(sparse, dense, gradient((10, 3), nth, 4, dtype=torch.complex64))
    assert (param_of(sparse) - param_of(dense)).abs().max() <= 8 * UNIT * param_of(dense).abs().max()


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
def test_tensor_operations_give_the_bits_of_the_kernel(dtype, options, width):
    kernel, operations = pair((70, width), dtype, **options)
    operations.param_groups[0]["fused"] = False
    for nth in range(8):
        grad = gradient((70, width), nth, 9, dtype=dtype)
        for optimizer in (kernel, operations):
            param_of(optimizer).grad = grad
            optimizer.step()
        assert torch.equal(param_of(kernel), param_of(operations))
    assert kernel.paths()["0"].startswith("kernel on rows")
    assert operations.paths()["0"].startswith("tensor operations on rows")
    for name, array in kernel.state_dict()["state"][0].items():
        assert torch.equal(array, operations.state_dict()["state"][0][name]), name


@pytest.mark.parametrize(("dtype", "options"), STORAGES.values(), ids=STORAGES)
def test_rows_that_are_all_touched_have_the_bits_of_the_dense_update(dtype, options):
    sparse, dense = pair((70, 48), dtype, **options)
    for nth in range(6):
        step(sparse, dense, gradient((70, 48), nth, 70, dtype=dtype, unique=True))
    assert torch.equal(param_of(sparse), param_of(dense))
    ours, theirs = (dict(optimizer.state[param_of(optimizer)].items()) for optimizer in (sparse, dense))
    assert all(torch.equal(ours[name], array) for name, array in theirs.items())


def test_packed_averages_of_rows_at_rest_decay_without_bias():
    optimizer, _ = pair((400, 64), state_dtype="8bit")
    param = param_of(optimizer)
    param.grad = torch.sparse_coo_tensor(torch.arange(400)[None], torch.ones(400, 64), (400, 64), check_invariants=True)
    optimizer.step()
    for nth in range(100):
        param.grad = gradient((400, 64), nth, 5)
        optimizer.step()
    rest = optimizer.state[param]["square_avg"].double()
    touched = torch.zeros(400, dtype=torch.bool)
    for nth in range(100):
        touched[gradient((400, 64), nth, 5)._indices()[0]] = True
    pairs = touched.view(200, 2).any(1).repeat_interleave(2)  # rows of 64 lie in one block of 128
    # Both roundings are right on average, each to a step of 1/8 at most: so is the mean of many to 5 of its deviations.
    exact = 0.01 * 0.99**100
    count = (~pairs).sum() * 64
    assert count > 1000
    assert abs(rest[~pairs].mean() / exact - 1) < 5 * 0.125 / count.sqrt()


@pytest.mark.parametrize("options", [{}, {"bias_correction": True}, {"centered": True}], ids=str)
def test_rows_whose_steps_no_int32_can_hold_are_updated_in_a_sweep(implementation, options):
    sparse, dense = pair(**options, both=implementation)
    step(sparse, dense, gradient((30, 6), 0, 10))
    saved = dense.state_dict()
    saved["state"][0]["step"] = torch.tensor(2.0**31 - 3, dtype=torch.float64)
    for optimizer in (sparse, dense):
        optimizer.load_state_dict(saved)
    for nth in (1, 2):
        step(sparse, dense, gradient((30, 6), nth, 10))  # nothing is said yet
    with pytest.warns(UserWarning, match="as it has taken 2³¹ steps: the step is exact"):
        step(sparse, dense, gradient((30, 6), 3, 10))
    step(sparse, dense, gradient((30, 6), 4, 10))
    assert_close(sparse, dense)


@pytest.mark.parametrize("sparse", ["lazy", "rowwise"])
def test_rows_that_only_rows_can_update_are_refused_where_no_int32_can_hold_their_steps(sparse):
    optimizer = RMSprop([torch.ones(30, 6, requires_grad=True)], sparse=sparse)
    saved = optimizer.state_dict()
    saved["state"][0] = {"step": torch.tensor(2.0**31, dtype=torch.float64)}
    optimizer.load_state_dict(saved)
    param_of(optimizer).grad = gradient((30, 6), 0, 10)
    with pytest.raises(RuntimeError, match="alone, as it has taken 2³¹ steps"):
        optimizer.step()
    assert torch.equal(param_of(optimizer), torch.ones(30, 6))


def test_gradients_may_be_dense_and_sparse_by_turns(implementation):
    sparse, dense = pair(centered=True, both=implementation)
    for nth in range(24):
        grad = gradient((30, 6), nth, 5)
        step(sparse, dense, grad.to_dense() if nth % 8 in (0, 4, 5) else grad)
    assert_close(sparse, dense)


def test_a_rule_that_begins_to_move_rows_at_rest_is_exact():
    sparse, dense = pair()
    for nth in range(6):
        step(sparse, dense, gradient((30, 6), nth, 5))
    for optimizer in (sparse, dense):
        optimizer.param_groups[0]["weight_decay"] = 0.1
    with pytest.warns(UserWarning, match="weight decay moves rows"):
        step(sparse, dense, gradient((30, 6), 6, 5))
    for optimizer in (sparse, dense):
        optimizer.param_groups[0]["weight_decay"] = 0.0
    for nth in range(7, 12):
        step(sparse, dense, gradient((30, 6), nth, 5))
    assert "on rows" in sparse.paths()["0"]
    assert_close(sparse, dense)


def test_a_loaded_rule_decides_what_becomes_of_rows():
    with_momentum, plain = pair(momentum=0.9)[0], pair()[0]
    param_of(with_momentum).grad = gradient((30, 6), 1, 5)
    with pytest.warns(UserWarning, match="momentum moves rows"):
        with_momentum.step()
    with_momentum.load_state_dict(plain.state_dict())
    param_of(with_momentum).grad = gradient((30, 6), 2, 5)
    with_momentum.step()
    assert with_momentum.paths()["0"].startswith("kernel on rows")
    assert "rows" in with_momentum.state[param_of(with_momentum)]


def test_a_decay_that_changes_at_every_step_is_remembered_for_so_long():
    sparse, dense = pair((6, 2))
    for nth in range(1200):
        for optimizer in (sparse, dense):
            optimizer.param_groups[0]["alpha"] = 0.9 + nth / 20_000
        step(sparse, dense, gradient((6, 2), nth, 1))
    assert_close(sparse, dense)


def test_what_is_read_of_the_state_is_up_to_date():
    sparse, dense = pair(centered=True)
    for nth in range(5):
        step(sparse, dense, gradient((30, 6), nth, 3))
    ours, theirs = sparse.state[param_of(sparse)], dense.state[param_of(dense)]
    for name in ("grad_avg", "grad_var", "square_avg"):
        torch.testing.assert_close(ours[name], theirs[name])


@pytest.mark.parametrize(
    "look", [dict, copy.copy, lambda s: dict(s.items()), lambda s: dict(zip(s, s.values(), strict=True))]
)
def test_who_looks_at_a_whole_state_finds_it_up_to_date(look):
    sparse, dense = pair()
    for nth in range(5):
        step(sparse, dense, gradient((30, 6), nth, 3))
    ours = look(sparse.state[param_of(sparse)])
    torch.testing.assert_close(ours["square_avg"], dense.state[param_of(dense)]["square_avg"])
    step(sparse, dense, gradient((30, 6), 5, 3))
    assert_close(sparse, dense)


@pytest.mark.parametrize("options", [{}, {"centered": True}, {"state_dtype": "8bit"}], ids=str)
def test_a_resumed_run_has_the_bits_of_the_one_that_goes_on(options):
    going_on, resumed = pair(**options)
    for nth in range(5):
        param_of(going_on).grad = gradient((30, 6), nth, 4)
        going_on.step()
    buffer = io.BytesIO()
    torch.save(going_on.state_dict(), buffer)
    buffer.seek(0)
    resumed.load_state_dict(torch.load(buffer))
    param_of(resumed).data.copy_(param_of(going_on).data)
    for nth in range(5, 10):
        for optimizer in (going_on, resumed):
            param_of(optimizer).grad = gradient((30, 6), nth, 4)
            optimizer.step()
    assert torch.equal(param_of(going_on), param_of(resumed))


def test_state_interchanges_with_torchs_optimizer():
    sparse, dense = pair()
    for nth in range(5):
        step(sparse, dense, gradient((30, 6), nth, 4))
    theirs = torch.optim.RMSprop([param_of(dense)])
    theirs.load_state_dict(sparse.state_dict())
    assert theirs.state_dict()["state"][0].keys() == {"step", "square_avg"}
    sparse.load_state_dict(theirs.state_dict())
    step(sparse, theirs, gradient((30, 6), 5, 4))
    # torch rounds an average otherwise, by up to two units in the last place, and √ of float32 by another.
    torch.testing.assert_close(param_of(sparse), param_of(dense), rtol=8 * UNIT, atol=8 * UNIT)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["copy", "pickle"])
def test_a_copy_goes_on_with_the_same_bits(copied):
    optimizer, _ = pair(centered=True)
    for nth in range(5):
        param_of(optimizer).grad = gradient((30, 6), nth, 4)
        optimizer.step()
    other = copied(optimizer)
    for nth in range(5, 10):
        for each in (optimizer, other):
            param_of(each).grad = gradient((30, 6), nth, 4)
            each.step()
    assert torch.equal(param_of(optimizer), param_of(other))
    assert not torch.equal(param_of(optimizer), torch.zeros(30, 6))


def test_rows_of_nan_stay_what_they_are_alone(implementation):
    sparse, dense = pair(both=implementation)
    grad = torch.sparse_coo_tensor(
        [[3, 5]], torch.tensor([[float("nan")] * 6, [float("inf")] * 6]), (30, 6), check_invariants=True
    )
    step(sparse, dense, grad)
    for nth in range(5):
        step(sparse, dense, gradient((30, 6), nth, 4))
    assert torch.equal(param_of(sparse).isnan(), param_of(dense).isnan())
    assert param_of(sparse).isnan().any(1).sum() == 2


def test_parameters_with_dense_gradients_stand_beside():
    tables = [nn.Sequential(nn.Embedding(20, 4, sparse=is_sparse), nn.Linear(4, 2)) for is_sparse in (True, False)]
    tables[1].load_state_dict(tables[0].state_dict())
    optimizers = [RMSprop(table.parameters(), lr=0.01) for table in tables]
    ids = torch.arange(0, 20, 3)
    for _ in range(4):
        for table, optimizer in zip(tables, optimizers, strict=True):
            optimizer.zero_grad()
            table(ids).square().sum().backward()
            optimizer.step()
    for ours, theirs in zip(tables[0].parameters(), tables[1].parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=8 * UNIT)


def sparse_of(indices, values, shape):
    return torch.sparse_coo_tensor(indices, values, shape, check_invariants=False)


REFUSED = {
    "a row too far": (
        lambda: sparse_of([[30]], torch.ones(1, 6), (30, 6)),
        r"has index 30 in dimension 0, which goes from 0",
    ),
    "a row below 0": (lambda: sparse_of([[-1]], torch.ones(1, 6), (30, 6)), r"has index -1 in dimension 0"),
    "a column too far": (lambda: sparse_of([[3], [6]], torch.ones(1), (30, 6)), r"has index 6 in dimension 1"),
}


@pytest.mark.parametrize(("bad", "match"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}], ids=str)
def test_what_can_not_be_read_is_refused_before_anything_changes(bad, match, options):
    first, second = torch.ones(3, requires_grad=True), torch.ones(30, 6, requires_grad=True)
    optimizer = RMSprop([first, second], **options)
    first.grad, second.grad = torch.ones(3), bad()
    with pytest.raises(RuntimeError, match=match):
        optimizer.step()
    assert torch.equal(first, torch.ones(3))
    assert not optimizer.state
    second.grad = torch.ones(30, 6)
    optimizer.step()
    before, steps = first.detach().clone(), optimizer.state[first]["step"].clone()
    second.grad = None
    second.grad = bad()
    with pytest.raises(RuntimeError, match=match):
        optimizer.step()
    assert torch.equal(first, before)
    assert optimizer.state[first]["step"] == steps


@pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta state")
@pytest.mark.parametrize("layout", [torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr], ids=str)
def test_compressed_gradients_are_refused_by_torch_itself(layout):
    param = torch.ones(4, 2, requires_grad=True)
    blocks = {"blocksize": (2, 2)} if layout == torch.sparse_bsr else {}
    compressed = torch.ones(4, 2).to_sparse(layout=layout, **blocks)
    with pytest.raises(RuntimeError, match="assign a gradient to a tensor that has data of a different type"):
        param.grad = compressed


@pytest.mark.parametrize("sparse", ["lazy", "rowwise"])
@pytest.mark.parametrize("bad", [bad for bad, _ in REFUSED.values()][:2], ids=list(REFUSED)[:2])
def test_rows_out_of_range_are_refused_however_others_are_taken(bad, sparse):
    first, second = torch.ones(3, requires_grad=True), torch.ones(30, 6, requires_grad=True)
    optimizer = RMSprop([first, second], sparse=sparse)
    first.grad, second.grad = torch.ones(3), bad()
    with pytest.raises(RuntimeError, match=r"of parameter 1 has index .* in dimension 0, which goes from 0 to 29"):
        optimizer.step()
    assert torch.equal(first, torch.ones(3))
    assert torch.equal(second, torch.ones(30, 6))
    assert not optimizer.state


@pytest.mark.parametrize("sparse", ["lazy", "rowwise"])
def test_rows_of_nan_spoil_no_others(implementation, sparse):
    optimizer, _ = pair(sparse=sparse, both=implementation)
    before = param_of(optimizer).detach().clone()
    values = torch.tensor([[float("nan")] * 6, [float("inf")] * 6, [1.0] * 6])
    for _ in range(2):
        param_of(optimizer).grad = torch.sparse_coo_tensor([[3, 5, 7]], values, (30, 6), check_invariants=True)
        optimizer.step()
    changed = (param_of(optimizer) != before).any(1)
    assert torch.equal(changed.nonzero()[:, 0], torch.tensor([3, 5, 7]))
    assert param_of(optimizer)[[3, 5]].isnan().all()
    assert param_of(optimizer)[7].isfinite().all()


def test_a_gradient_of_another_shape_is_refused():
    param = torch.ones(4, 2, requires_grad=True)
    param.grad = gradient((4, 2), 0, 2)
    optimizer = RMSprop([param])
    param.data = torch.ones(3, 2)
    with pytest.raises(RuntimeError, match=r"has shape \(3, 2\), but its sparse gradient \(4, 2\)"):
        optimizer.step()


def test_an_average_of_all_steps_has_no_rows():
    param = torch.ones(4, 2, requires_grad=True)
    optimizer = ScheduleFreeRMSprop([param], lr=0.1)
    optimizer.train()
    param.grad = gradient((4, 2), 0, 2)
    with pytest.raises(RuntimeError, match="ScheduleFreeRMSprop does not support sparse gradients"):
        optimizer.step()


@pytest.mark.parametrize("shares", ["the table", "its memory as a gradient"])
def test_rows_in_memory_of_others_are_refused(shares):
    table = torch.ones(4, 2)
    first, second = table.view(8) if shares == "the table" else torch.ones(8), table
    first.grad = torch.ones(8) if shares == "the table" else table.view(8)
    second.grad = gradient((4, 2), 0, 2)
    optimizer = RMSprop([first, second])
    with pytest.raises(RuntimeError, match="parameter 1 has a sparse gradient and shares memory"):
        optimizer.step()
    assert torch.equal(table, torch.ones(4, 2))


@pytest.mark.parametrize("options", [{}, {"centered": True}, {"sparse": "rowwise"}], ids=str)
@pytest.mark.parametrize("whose", ["param", "state"])
def test_a_gradient_in_memory_that_its_update_writes_to_is_read_before(implementation, options, whose):
    start, places = torch.randn(5, 3), torch.tensor([[4, 3, 2, 1, 0]])
    ours, theirs = (RMSprop([start.clone().requires_grad_()], **options, **implementation) for _ in range(2))
    for optimizer in (ours, theirs):
        param_of(optimizer).grad = sparse_of([[0, 1, 2, 3, 4]], start + 1, (5, 3))
        optimizer.step()
    param, state = param_of(ours), ours.state[param_of(ours)]
    memory = param.detach() if whose == "param" else next(value for value in dict.values(state) if value.numel() > 1)
    values = memory.view(5, -1).expand(5, 3)
    for optimizer, read in ((ours, values), (theirs, values.clone())):
        param_of(optimizer).grad = torch.sparse_coo_tensor(places, read, (5, 3), check_invariants=True)
    ours.step()
    theirs.step()
    assert torch.equal(param, param_of(theirs))


@pytest.mark.parametrize("has_momentum", [False, True])
def test_a_scaler_and_backward_take_rows_too(has_momentum):
    tables = [nn.Embedding(20, 4, sparse=is_sparse) for is_sparse in (True, False)]
    tables[1].load_state_dict(tables[0].state_dict())
    options = {"momentum": 0.9} if has_momentum else {}
    optimizers = [RMSprop(table.parameters(), lr=0.01, fused=True, **options) for table in tables]
    scalers = [torch.amp.GradScaler("cpu", init_scale=1024.0) for _ in tables]
    with pytest.warns(UserWarning, match="dense at every step") if has_momentum else contextlib.nullcontext():
        for nth in range(5):
            ids = torch.arange(nth, 20, 3)
            for table, optimizer, scaler in zip(tables, optimizers, scalers, strict=True):
                optimizer.zero_grad()
                scaler.scale(table(ids).square().sum()).backward()
                scaler.step(optimizer)
                scaler.update()
    assert_close(*optimizers)
    for optimizer in optimizers:
        optimizer.zero_grad()
    handle = step_in_backward(optimizers[0])
    tables[0](ids).square().sum().backward()
    tables[1](ids).square().sum().backward()
    optimizers[1].step()
    handle.remove()
    assert_close(*optimizers)


def test_state_that_processes_share_is_updated_in_a_sweep():
    sparse, dense = pair()
    step(sparse, dense, gradient((30, 6), 0, 4))
    sparse.share_memory()
    with pytest.warns(UserWarning, match="as processes share its state"):
        step(sparse, dense, gradient((30, 6), 1, 4))
    assert_close(sparse, dense)


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside what is traced"])
def test_a_compiled_step_is_the_dense_one(beside):
    sparse, dense = pair(fused=False)
    grad = gradient((30, 6), 0, 4)
    for optimizer in (sparse, dense) if beside else ():
        other = torch.ones(3, requires_grad=True)
        other.grad = torch.ones(3)
        optimizer.add_param_group({"params": [other]})
    param_of(sparse).grad, param_of(dense).grad = grad, grad.to_dense()
    torch.compile(lambda: sparse.step(), backend="eager")()
    dense.step()
    # A traced step rounds √ as torch does: one unit of a step of at most 10 times lr.
    torch.testing.assert_close(param_of(sparse), param_of(dense), rtol=0, atol=4 * UNIT)
    assert param_of(sparse).grad is grad


LAZY = {
    "plain": {},
    "centered": {"centered": True},
    "momentum": {"momentum": 0.9, "nesterov": True},
    "decay": {"weight_decay": 0.1},
    "cautious": {"weight_decay": 0.1, "weight_decay_mode": "cautious", "momentum": 0.5, "averaged_momentum": True},
}


@pytest.mark.parametrize("options", LAZY.values(), ids=LAZY)
def test_lazy_rows_are_those_of_a_table_that_has_no_others(implementation, options):
    lazy, _ = pair(sparse="lazy", both=implementation, **options)
    start = param_of(lazy).detach().clone()
    rows = torch.tensor([3, 4, 17])
    alone = RMSprop([start[rows].requires_grad_()], **options, **implementation)
    for nth in range(10):
        grad = gradient((3, 6), nth, 3, unique=True)
        param_of(lazy).grad = torch.sparse_coo_tensor(
            rows[grad._indices()], grad._values(), (30, 6), check_invariants=True
        )
        param_of(alone).grad = grad.to_dense()
        lazy.step()
        alone.step()
    assert torch.equal(param_of(lazy)[rows], param_of(alone))
    others = torch.ones(30, dtype=torch.bool).index_fill(0, rows, False)
    assert torch.equal(param_of(lazy)[others], start[others])
    for name, average in alone.state[param_of(alone)].items():
        ours = lazy.state[param_of(lazy)][name]
        assert torch.equal(ours if name == "step" else ours[rows], average)
    assert "on rows, lazily" in lazy.paths()["0"]


def test_a_change_to_lazy_rows_begins_with_averages_that_are_up_to_date():
    optimizer, dense = pair()
    for nth in range(4):
        step(optimizer, dense, gradient((30, 6), nth, 4))
    optimizer.param_groups[0]["sparse"] = "lazy"
    param_of(optimizer).grad = gradient((30, 6), 4, 0)
    optimizer.step()
    averages = [each.state[param_of(each)]["square_avg"] for each in (optimizer, dense)]
    torch.testing.assert_close(*averages, rtol=8 * UNIT, atol=0)


LAZY_REFUSED = {
    "a limit to all": ({"max_update_rms": 1.0}, "max_update_rms is for all of a tensor"),
    "another value": ({"sparse": "some"}, "Invalid sparse: 'some'"),
}


@pytest.mark.parametrize(("options", "match"), LAZY_REFUSED.values(), ids=LAZY_REFUSED)
def test_what_lazy_rows_can_not_do_is_refused(options, match):
    param = torch.ones(30, 6, requires_grad=True)
    param.grad = gradient((30, 6), 0, 4)
    with pytest.raises((RuntimeError, ValueError), match=match):
        RMSprop([param], **{"sparse": "lazy", **options}).step()
    assert torch.equal(param, torch.ones(30, 6))


def test_lazy_rows_are_not_traced():
    param, other = torch.ones(30, 6, requires_grad=True), torch.ones(3, requires_grad=True)
    param.grad, other.grad = gradient((30, 6), 0, 4), torch.ones(3)
    optimizer = RMSprop([param, other], sparse="lazy", fused=False)
    with pytest.raises(RuntimeError, match="sparse='lazy' updates rows of parameter 0, but a compiler"):
        torch.compile(lambda: optimizer.step(), backend="eager")()
