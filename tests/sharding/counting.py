"""Collectives of a training step, counted as they are asked for, with the bytes of their whole buffers."""

import warnings
from collections import Counter

import torch
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils._python_dispatch import TorchDispatchMode

from rmsprop.torch import RMSprop
from sharding.support import case, noise

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)  # at the import
    from torch.distributed.optim import ZeroRedundancyOptimizer

LAYERS, WIDTH = 3, 8
KINDS = {
    "allreduce_": "all-reduce",
    "broadcast_": "broadcast",
    "_allgather_base_": "all-gather",
    "_reduce_scatter_base_": "reduce-scatter",
}


class Counted(TorchDispatchMode):
    """What passes through torch's dispatcher to a process group."""

    def __init__(self):
        super().__init__()
        self.calls, self.bytes = Counter(), Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name
        if name.startswith("c10d::"):
            kind = KINDS.get(name.removeprefix("c10d::"), name)
            buffers = [t for arg in args[:2] for t in (arg if isinstance(arg, list) else [arg]) if torch.is_tensor(t)]
            self.calls[kind] += 1
            self.bytes[kind] += max(buffer.nbytes for buffer in buffers)  # of an input and an output, the whole one
        return function(*args, **(kwargs or {}))


def a_row():
    """Layers of equal width without biases, so that every number of ranks up to 8 has equal shares."""
    torch.manual_seed(0)
    return torch.nn.Sequential(*(torch.nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(LAYERS + 1)))


def counted(model, optimizer):
    """Return the collectives of the third step, and their bytes: DDP arranges its buckets in the second."""
    for _ in range(3):
        with Counted() as found:
            model(noise((2, WIDTH), 0)).square().sum().backward()
            optimizer.step()
        optimizer.zero_grad()
    return dict(found.calls), dict(found.bytes)


@case
def of_a_step(mesh):
    found = {}
    for cls in (torch.optim.Adam, RMSprop):
        replica = DistributedDataParallel(a_row())
        found[f"DDP, {cls.__name__}"] = counted(replica, cls(replica.parameters()))
        model = a_row()
        for layer in model[:-1]:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        found[f"FSDP2, {cls.__name__}"] = counted(model, cls(model.parameters()))
        for as_view in (False, True):
            replica = DistributedDataParallel(a_row())
            shared = ZeroRedundancyOptimizer(replica.parameters(), cls, parameters_as_bucket_view=as_view)
            found[f"ZeRO-1, {cls.__name__}, {as_view}"] = counted(replica, shared)
    return found
