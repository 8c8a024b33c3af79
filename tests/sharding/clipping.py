"""Limits to gradients and updates that are spread over processes."""

import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard

from rmsprop.torch import RMSprop
from sharding.support import MATRICES, SHAPES, case, compare, everything, full, noise, params_of, spread, trained

LIMITS = {"max_grad_norm": 2.0, "max_grad_value": 0.1, "max_update_rms": 0.5}
CUTS = {"rows": [Shard(0)], "copies": [Replicate()]}


@case
def clipped(mesh):
    found = {}
    for cut, placements in CUTS.items():
        for fused in (None, False):
            sharded, whole = trained(mesh, placements, LIMITS, fused=fused)
            equal_norms = sharded.grad_norm.item() == whole.grad_norm.item()
            params = zip(params_of(sharded), params_of(whole), strict=True)
            tolerance = 0.0 if fused is None else 1e-6  # torch's √ is not always correctly rounded
            same = [torch.allclose(full(param.detach()), its.detach(), tolerance, tolerance) for param, its in params]
            found[f"{cut}, {fused}"] = equal_norms and all(same)
    return found


@case
def clipped_by_units(mesh):
    """Units that are whole on a process, copies of them, and units that processes share: columns, and vectors."""
    grid = init_device_mesh("cpu", (mesh.size(), 1), mesh_dim_names=("rows", "columns"))
    cuts = {**{cut: (mesh, where) for cut, where in CUTS.items()}, "columns": (mesh, [Shard(1)])}
    cuts |= {"grid": (grid, [Shard(0), Shard(1)])}
    found = {}
    for cut, (where, placements) in cuts.items():
        shapes = MATRICES if Shard(1) in placements else SHAPES
        for options in ({}, {"momentum": 0.9, "caution": True, "max_update_rms": 0.5}):
            optimizers = trained(where, placements, {"max_grad_ratio": 0.3, **options}, shapes, fused=True)
            found[f"{cut}, {options}"] = compare(*optimizers)["equal"]
        sharded, whole = trained(where, placements, {"max_grad_ratio": 0.3}, shapes, fused=False)
        params = zip(params_of(sharded), params_of(whole), strict=True)
        # torch's √ is not always correctly rounded
        found[f"{cut}, by tensor"] = all(torch.allclose(full(a.detach()), b.detach(), 1e-6, 1e-6) for a, b in params)
    return found


@case
def cautious_by_tensor_operations(mesh):
    found = {}
    for cut, placements in CUTS.items():
        sharded, whole = trained(mesh, placements, {"caution": True, "momentum": 0.9}, fused=False)
        params = zip(params_of(sharded), params_of(whole), strict=True)
        # torch's √ is not always correctly rounded
        found[cut] = all(torch.allclose(full(param.detach()), its.detach(), 1e-6, 1e-6) for param, its in params)
    return found


@case
def clipped_beside_copies_and_plain_parameters(mesh):
    """A norm over shards, over copies that count once, and over a parameter that is no DTensor."""
    values = [noise((7, 4), 0), noise((5,), 1), noise((3,), 2)]
    layouts = [[Shard(0)], [Replicate()], None]
    laid_out = [v if layout is None else spread(v, mesh, layout) for v, layout in zip(values, layouts, strict=True)]
    params = [torch.nn.Parameter(value.clone()) for value in laid_out]
    whole = [torch.nn.Parameter(value.clone()) for value in values]
    for i, (param, its, layout) in enumerate(zip(params, whole, layouts, strict=True)):
        its.grad = noise(its.shape, 10 + i)
        param.grad = its.grad if layout is None else spread(its.grad, mesh, layout)
    optimizers = [RMSprop(each, max_grad_norm=1.0, max_update_rms=0.5) for each in (params, whole)]
    for optimizer in optimizers:
        optimizer.step()
    equal = all(torch.equal(full(a.detach()), b.detach()) for a, b in zip(params, whole, strict=True))
    return equal and optimizers[0].grad_norm.item() == optimizers[1].grad_norm.item()


@case
def norm_of_one_shard_infinite(mesh):
    sharded, _ = trained(mesh, [Shard(0)], {"max_grad_norm": 1.0})
    before = everything(sharded)
    param = params_of(sharded)[0]
    grad = torch.ones(param.shape)
    grad[0, 0] = torch.inf  # on the first rank alone
    param.grad = spread(grad, mesh, [Shard(0)])
    sharded.step()
    torch.testing.assert_close(everything(sharded), before, rtol=0, atol=0)
    return sharded.skipped_steps
