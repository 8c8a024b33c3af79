"""Parameters that are cut along one dimension, copied or laid out on a mesh: each is trained as the whole one."""

import gc
import warnings
import weakref
from copy import deepcopy

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard

from rmsprop.torch import RMSprop, ScheduleFreeRMSprop
from sharding.support import (
    MATRICES,
    OPTIONS,
    SHAPES,
    a_model,
    case,
    compare,
    full,
    noise,
    params_of,
    paths,
    spread,
    take_steps,
    trained,
)


@case
def rows(mesh):
    return {name: compare(*trained(mesh, [Shard(0)], options)) for name, options in OPTIONS.items()}


@case
def rows_fused(mesh):
    return {name: compare(*trained(mesh, [Shard(0)], options, fused=True)) for name, options in OPTIONS.items()}


@case
def columns(mesh):
    return {name: compare(*trained(mesh, [Shard(1)], options, MATRICES)) for name, options in OPTIONS.items()}


@case
def replicated(mesh):
    return {name: compare(*trained(mesh, [Replicate()], options)) for name, options in OPTIONS.items()}


@case
def in_other_precisions(mesh):
    return {
        str(dtype): compare(*trained(mesh, [Shard(0)], {"momentum": 0.9}, dtype=dtype))
        for dtype in (torch.float64, torch.bfloat16)
    }


@case
def rounded(mesh):
    found = {}
    packed = {"state_dtype": torch.bfloat16}
    clipped = {**packed, "rounding": "stochastic", "max_grad_norm": 2.0, "max_grad_value": 0.1}
    for choice in ({"rounding": "stochastic"}, {"rounding": "kahan"}, packed, clipped):
        for axis, shapes in ((0, SHAPES), (1, MATRICES)):
            options = {"momentum": 0.9, "seed": 5, **choice}
            optimizers = trained(mesh, [Shard(axis)], options, shapes, torch.bfloat16)
            found[f"{choice}, along {axis}"] = compare(*optimizers)
    return found


@case
def averaged(mesh):
    """Schedule-free: trained, shown as an average, and trained again."""
    found = {}
    for dtype, options in ((torch.float32, {"weight_decay": 0.1}), (torch.bfloat16, {"rounding": "kahan"})):
        values = [noise(shape, 1000 + i, dtype) for i, shape in enumerate(SHAPES)]
        sharded = ScheduleFreeRMSprop([torch.nn.Parameter(spread(v, mesh, [Shard(0)])) for v in values], **options)
        whole = ScheduleFreeRMSprop([torch.nn.Parameter(value.clone()) for value in values], **options)
        for optimizer in (sharded, whole):
            optimizer.train()
        take_steps(sharded, whole, 2)
        for optimizer in (sharded, whole):
            optimizer.eval()
        found[f"evaluated, {dtype}"] = compare(sharded, whole) | {"steps": {3.0}}
        for optimizer in (sharded, whole):
            optimizer.train()
        take_steps(sharded, whole, 1, first=2)
        found[f"trained, {dtype}"] = compare(sharded, whole)
    return found


@case
def on_a_mesh_of_two_dimensions(mesh):
    grid = init_device_mesh("cpu", (mesh.size(), 1), mesh_dim_names=("rows", "columns"))
    return {"rows and columns": compare(*trained(grid, [Shard(0), Shard(1)], {"momentum": 0.9}, MATRICES))}


@case
def beside_plain_parameters(mesh):
    sharded, whole = trained(mesh, [Shard(0)], {})
    alone, its = (torch.nn.Parameter(torch.ones(5)) for _ in range(2))
    optimizer, reference = RMSprop([*params_of(sharded), alone]), RMSprop([*params_of(whole), its])
    alone.grad, its.grad = torch.ones(5), torch.ones(5)
    optimizer.step()
    reference.step()
    equal = torch.equal(alone, its) and torch.equal(full(params_of(sharded)[0].detach()), params_of(whole)[0].detach())
    return {"equal": equal, "paths": paths(optimizer)}


@case
def moved_to_other_memory(mesh):
    """Whether a plan that goes on after shards were replaced holds on to the ones before."""
    param = torch.nn.Parameter(spread(noise((8, 6), 1), mesh, [Shard(0)]))
    optimizer = RMSprop([param])
    plans, shards = [], []
    for step in range(3):
        param.grad = spread(noise((8, 6), step), mesh, [Shard(0)])
        optimizer.step()
        plans.append(optimizer._stepper.plan)
        shards.append(weakref.ref(param._local_tensor))
        param._local_tensor = param._local_tensor.clone()
    gc.collect()
    return len(set(plans)), [shard() is None for shard in shards]


@case
def fully_sharded(mesh):
    """FSDP2 with forward and backward: the gradients it leaves, put together, step an unsharded twin."""
    model, twin = a_model(), a_model()
    fully_shard(model, mesh=mesh)
    optimizer = RMSprop(model.named_parameters(), momentum=0.9, fused=True)
    reference = RMSprop(twin.parameters(), momentum=0.9)
    empty = False
    for step in range(3):
        optimizer.zero_grad()
        model(noise((3, 4), 10 * step + mesh.get_rank())).square().sum().backward()
        for param, its in zip(model.parameters(), twin.parameters(), strict=True):
            its.grad = full(param.grad)
            empty |= param.to_local().numel() == 0
        optimizer.step()
        reference.step()
    return compare(optimizer, reference) | {"names": list(optimizer.paths()), "empty": empty}


@case
def zero_redundancy(mesh):
    """Each rank updates some of the parameters, and sends them to the others."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)  # at the import
        from torch.distributed.optim import ZeroRedundancyOptimizer
    params, expected = ([torch.nn.Parameter(noise(shape, i)) for i, shape in enumerate(SHAPES)] for _ in range(2))
    options = OPTIONS["tensorflow1"]
    optimizer, whole = ZeroRedundancyOptimizer(params, RMSprop, **options), RMSprop(expected, **options)
    for step in range(3):
        for i, (param, its) in enumerate(zip(params, expected, strict=True)):
            param.grad = its.grad = noise(param.shape, 10 * step + i)
        optimizer.step()
        whole.step()
    return all(map(torch.equal, params, expected))


@case
def saved_and_loaded(mesh):
    sharded, whole = trained(mesh, [Shard(0)], {"centered": True, "momentum": 0.9})
    copies = [torch.nn.Parameter(param.detach().clone()) for param in params_of(sharded)]
    loaded = RMSprop(copies, centered=True, momentum=0.9)
    loaded.load_state_dict(deepcopy(sharded.state_dict()))
    take_steps(loaded, whole, 2, first=3)
    return compare(loaded, whole)
