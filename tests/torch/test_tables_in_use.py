"""Tables as programs use them: bags, padding, norms, gathers, schedules, skipped steps. Sparse is what dense is.

Losses are linear in the table, so that a rounding of one step is not enlarged by the next gradients.
"""

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts, CyclicLR, OneCycleLR

from rmsprop.torch import RMSprop

ROWS, WIDTH, STEPS = 20, 4, 40
WEIGHTS = torch.tensor([1.0, -2.0, 3.0, 0.5], dtype=torch.float64)


def ids_of(step):
    return torch.randint(ROWS, (6,), generator=torch.Generator().manual_seed(step))


def embedded(table, ids):
    return table(ids)


def bagged(table, ids):
    return table(ids, torch.tensor([0, 2, 2]))  # the second bag is empty


def weighed(table, ids):
    return table(ids, torch.tensor([0, 2, 2]), per_sample_weights=WEIGHTS[ids % WIDTH])


def gathered(table, ids):
    return torch.gather(table.weight, 0, ids[:, None].expand(-1, WIDTH), sparse_grad=table.sparse)


TABLES = {
    "embedding": (nn.Embedding, {}, embedded),
    "with padding": (nn.Embedding, {"padding_idx": 3}, embedded),
    "of a largest norm": (nn.Embedding, {"max_norm": 1.0}, embedded),
    "sums": (nn.EmbeddingBag, {"mode": "sum"}, bagged),
    "means": (nn.EmbeddingBag, {"mode": "mean", "padding_idx": 3}, bagged),
    "weighed sums": (nn.EmbeddingBag, {"mode": "sum"}, weighed),
    "gathered": (nn.Embedding, {}, gathered),
}
RULES = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "decay": {"momentum": 0.5, "weight_decay": 0.1, "weight_decay_mode": "decoupled"},
}


def trained(table, optimizer, forward=embedded, schedule=None, scale_of=lambda step: 1.0):
    for step in range(STEPS):
        ids = ids_of(step)
        optimizer.zero_grad()
        optimizer.prepare(ids)
        ((forward(table, ids) * WEIGHTS).sum() * scale_of(step)).backward()
        optimizer.step()
        if schedule is not None:
            schedule.step()
    optimizer.prepare()


def pair(make=nn.Embedding, arguments=None, **options):
    tables = [
        make(ROWS, WIDTH, sparse=is_sparse, dtype=torch.float64, **arguments or {}) for is_sparse in (True, False)
    ]
    tables[1].load_state_dict(tables[0].state_dict())
    return tables, [RMSprop(table.parameters(), lr=0.05, **options) for table in tables]


def assert_as_dense(tables, optimizers):
    """Rows that make up for steps are off by six roundings per step of the largest parameter (test_prepare.py)."""
    assert optimizers[0].paths()["0"].startswith("kernel on rows")
    bound = 6 * STEPS * 2.0**-53 * tables[1].weight.abs().max().item()
    torch.testing.assert_close(tables[0].weight, tables[1].weight, rtol=0, atol=bound)
    assert optimizers[0].state[tables[0].weight]["step"] == optimizers[1].state[tables[1].weight]["step"]


@pytest.mark.parametrize("options", RULES.values(), ids=RULES)
@pytest.mark.parametrize(("make", "arguments", "forward"), TABLES.values(), ids=TABLES)
def test_tables_of_all_kinds(make, arguments, forward, options):
    tables, optimizers = pair(make, arguments, **options)
    for table, optimizer in zip(tables, optimizers, strict=True):
        trained(table, optimizer, forward)
    assert_as_dense(tables, optimizers)


SCHEDULES = {
    "cycles of rate and momentum": lambda each: CyclicLR(each, 0.001, 0.1, 3, base_momentum=0.0, max_momentum=0.9),
    "one cycle": lambda each: OneCycleLR(each, 0.1, total_steps=STEPS),
    "restarts from 0": lambda each: CosineAnnealingWarmRestarts(each, 5),
}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_rows_make_up_for_what_a_schedule_has_done(schedule):
    tables, optimizers = pair(momentum=0.9)
    for table, optimizer in zip(tables, optimizers, strict=True):
        trained(table, optimizer, schedule=schedule(optimizer))
    assert_as_dense(tables, optimizers)


def test_skipped_steps_move_no_row():
    tables, optimizers = pair(momentum=0.9, max_grad_norm=100.0)
    for table, optimizer in zip(tables, optimizers, strict=True):
        trained(table, optimizer, scale_of=lambda step: torch.inf if step % 7 == 3 else 1.0)
        assert optimizer.skipped_steps == 6
    assert_as_dense(tables, optimizers)
