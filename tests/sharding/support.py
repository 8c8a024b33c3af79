"""What the cases share: equal numbers on every rank, steps of two optimizers, and their comparison."""

import torch
from torch.distributed.tensor import DTensor, distribute_tensor

from rmsprop.torch import RMSprop

TORCHS = torch.optim.RMSprop
CASES = {}


def case(function):
    """Have a function run on every rank, with what its module is run with."""
    CASES.setdefault(function.__module__.split(".")[-1], {})[function.__name__] = function
    return function


def noise(shape, seed, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def params_of(optimizer):
    return [param for group in optimizer.param_groups for param in group["params"]]


def full(value):
    return value.full_tensor() if isinstance(value, DTensor) else value


def spread(tensor, mesh, placements):
    """Lay out a tensor that every rank has, without sending anything."""
    return distribute_tensor(tensor, mesh, placements, src_data_rank=None)


def take_steps(sharded, whole, steps, first=0):
    """Step both on the same gradients, which are laid out as their parameters are."""
    for step in range(first, first + steps):
        for i, (param, its) in enumerate(zip(params_of(sharded), params_of(whole), strict=True)):
            its.grad = noise(its.shape, 10 * step + i, its.dtype)
            param.grad = spread(its.grad, param.device_mesh, param.placements)
        sharded.step()
        whole.step()


def compare(sharded, whole):
    """Return whether parameters and state are equal to the bit, how state is laid out, and what served."""
    pairs = list(zip(params_of(sharded), params_of(whole), strict=True))
    equal = all(torch.equal(full(param.detach()), its.detach()) for param, its in pairs)
    states = [(sharded.state[param], whole.state[its], param) for param, its in pairs]
    names = [name for name in states[0][1] if name != "step"]
    equal_state = all(torch.equal(full(found[name]), state[name]) for found, state, _ in states for name in names)
    alike = all(
        isinstance(found[name], DTensor)
        and found[name].placements == param.placements
        and found[name].device_mesh == param.device_mesh
        for found, _, param in states
        for name in names
    )
    steps = {state["step"].item() for state, _, _ in states}
    return {"equal": equal, "equal state": equal_state, "placed alike": alike, "steps": steps, "paths": paths(sharded)}


def paths(optimizer):
    return sorted({path.split(" (")[0] for path in optimizer.paths().values()})


# Rows that 2 and 3 ranks don't share evenly, and fewer rows than ranks: then some shards are empty.
SHAPES = ((7, 4), (7,), (1, 5), (1,), (2, 3, 2), (8, 3))


def trained(mesh, placements, options, shapes=SHAPES, dtype=torch.float32, **flags):
    values = [noise(shape, 1000 + i, dtype) for i, shape in enumerate(shapes)]
    sharded = RMSprop([torch.nn.Parameter(spread(value, mesh, placements)) for value in values], **options, **flags)
    whole = RMSprop([torch.nn.Parameter(value.clone()) for value in values], **options)
    take_steps(sharded, whole, 3)
    return sharded, whole


OPTIONS = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "centered": {"centered": True, "momentum": 0.9, "weight_decay": 0.1},
    "caution": {"caution": True, "momentum": 0.9},
    "tensorflow1": {"dialect": "tensorflow1", "lr": 0.01, "momentum": 0.9},
}
MATRICES = ((6, 4), (3, 7), (2, 1), (5, 3))


def a_model():
    torch.manual_seed(0)
    layers = torch.nn.Linear(4, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)
    return torch.nn.Sequential(*layers)


def everything(optimizer):
    return [param.to_local().clone() for param in params_of(optimizer)], [
        {name: full(value).clone() for name, value in optimizer.state[param].items()} for param in params_of(optimizer)
    ]
