"""Rows that are prepared before they are read: the dense optimizer's, though no step goes through the whole table."""

import numpy as np
import pytest
import torch
from prepared_rows import DECOUPLED, RULES, gradient, made, param_of, taken, taken_densely
from torch import nn

from rmsprop import native
from rmsprop.torch import RMSprop, step_in_backward


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
