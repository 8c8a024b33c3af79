"""Tables of embeddings as replicas: `DistributedDataParallel` adds up their sparse gradients by gloo."""

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from rmsprop.torch import RMSprop
from sharding.clients import digest
from sharding.support import case, noise, paths

RULES = {
    "exact": ({}, "kernel on rows"),
    "clipped": ({"max_grad_norm": 1.0}, "kernel on rows"),
    "prepared": ({"momentum": 0.9, "weight_decay": 0.1, "weight_decay_mode": "decoupled"}, "kernel on rows"),
    "lazy": ({"momentum": 0.9, "sparse": "lazy"}, "kernel on rows, lazily"),
    "row-wise": ({"sparse": "rowwise", "staleness_decay": 0.1}, "kernel on rows, one average each"),
}
ROWS, PADDING = 20, 0


def ids_of(rank, step):
    """What a rank reads; of the second one everything is padding at times, so that it has no gradient to send."""
    if rank == 1 and step % 3 == 1:
        return torch.full((5,), PADDING)
    return torch.randint(0, ROWS, (5,), generator=torch.Generator().manual_seed(100 * step + rank))


def loss_of(table, ids):
    """A loss whose gradients are small whole numbers, which add up to the same in any order."""
    return (table(ids) * torch.arange(1.0, 5.0)).sum()


def a_table(options):
    table = nn.Embedding(ROWS, 4, sparse=True, padding_idx=PADDING)
    with torch.no_grad():
        table.weight.copy_(noise((ROWS, 4), 7))
    return table, RMSprop(table.parameters(), **options)


@case
def tables_of_replicas(mesh):
    """Return for each rule a word for the bits, whether they are those of one process, and what served."""
    found = {}
    for name, (options, _) in RULES.items():
        (table, optimizer), (whole, alone) = a_table(options), a_table(options)
        replica = DistributedDataParallel(table)
        for step in range(6):
            by_rank = [ids_of(rank, step) for rank in range(mesh.size())]
            for each in (optimizer, alone):
                each.zero_grad()
                each.prepare(torch.cat(by_rank))
            loss_of(replica, by_rank[mesh.get_rank()]).backward()
            sum(loss_of(whole, ids) / mesh.size() for ids in by_rank).backward()
            optimizer.step()
            alone.step()
        found[name] = digest(optimizer), digest(optimizer) == digest(alone), paths(optimizer)
    return found
