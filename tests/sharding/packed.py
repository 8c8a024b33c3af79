"""State in 8 bits of parameters that are cut: blocks of each shard's own, noise by the place in the whole."""

from copy import deepcopy

import numpy as np
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard

from rmsprop.codes import BLOCK
from rmsprop.storage import encode, state_noise
from rmsprop.torch import RMSprop
from sharding.support import case, full, noise, params_of, paths, spread, trained

PACKED = {"momentum": 0.9, "seed": 5, "state_dtype": "8bit"}
ARRAYS = {"plain": ("square_avg", "momentum_buffer"), "centered": ("grad_var", "grad_avg", "momentum_buffer")}


def aligned(mesh):
    """Return shapes whose shards begin at the border of a block; of the last, all but the first rank have nothing."""
    return (mesh.size(), BLOCK), (2 * mesh.size(), 3, BLOCK), (2 * BLOCK * mesh.size(),), (1, 2 * BLOCK)


def are_equal(optimizer, other, names):
    """Whether parameters and the numbers that state stands for are equal to the bit."""
    return all(
        torch.equal(full(param.detach()), full(its.detach()))
        and all(torch.equal(full(optimizer.state[param][name]), full(other.state[its][name])) for name in names)
        for param, its in zip(params_of(optimizer), params_of(other), strict=True)
    )


def is_packed(optimizer):
    """Whether all state is held in codes, which are placed as their parameter is."""
    states = [(param, optimizer.state[param]) for param in params_of(optimizer)]
    codes = [(param, value) for param, state in states for name, value in state.items() if name.endswith("_codes")]
    alike = all(value.dtype == torch.uint8 and value.placements == param.placements for param, value in codes)
    return alike and len(codes) == 2 * len(states) and all("square_avg_codes" in state for _, state in states)


@case
def on_borders(mesh):
    found = {}
    for name, options in {"plain": {}, "centered": {"centered": True}}.items():
        for dtype, rounding in ((torch.float32, {}), (torch.bfloat16, {"rounding": "stochastic"})):
            for layout in ([Shard(0)], [Replicate()]):
                made = trained(mesh, layout, {**PACKED, **options, **rounding}, aligned(mesh), dtype)
                found[f"{name}, {dtype}, {layout}"] = are_equal(*made, ARRAYS[name]), paths(made[0])
    return found


@case
def between_borders(mesh):
    """A shard's codes are what `rmsprop.storage` makes of it with the random bits of its places in the whole."""
    found = {}
    grid = init_device_mesh("cpu", (2, mesh.size() // 2)) if mesh.size() % 2 == 0 else mesh
    for over, layout in ((mesh, [Shard(0)]), (mesh, [Shard(1)]), (grid, [Shard(0), Shard(1)][: grid.ndim])):
        shapes = ((5, 100), (1, 50), (300, 3)) if len(layout) == 1 else ((5, 100), (1, 50), (1, 5, 60))
        params = [torch.nn.Parameter(spread(noise(shape, i), over, layout)) for i, shape in enumerate(shapes)]
        optimizer = RMSprop(params, alpha=0.75, seed=5, state_dtype="8bit")
        for param in params:
            param.grad = spread(noise(param.shape, 7), over, layout)
        optimizer.step()
        found[str(layout)] = all(map(_is_as_specified, range(3), params, map(optimizer.state.get, params)))
    return found


def _is_as_specified(number, param, state):
    places = spread(torch.arange(param.numel()).reshape(param.shape), param.device_mesh, param.placements)
    square_avg = 0.25 * param.grad.to_local().square()  # the first step's, without a rounding of its own
    bits = state_noise(5, 1, number, "square_avg", places.to_local().flatten().numpy())
    codes, scales = encode("square_avg", square_avg.flatten().numpy(), bits, "8bit")
    same_codes = np.array_equal(codes, state["square_avg_codes"].to_local().flatten().numpy())
    return same_codes and np.array_equal(scales, state["square_avg_scales"].numpy().view(np.uint16))


@case
def kept_in_a_state_dict(mesh):
    """What goes out is numbers; what comes back is packed again, and goes on."""
    sharded, _ = trained(mesh, [Shard(0)], PACKED, aligned(mesh))
    saved = deepcopy(sharded.state_dict())
    loaded = RMSprop([torch.nn.Parameter(param.detach().clone()) for param in params_of(sharded)], **PACKED)
    loaded.load_state_dict(saved)
    at_once = are_equal(loaded, sharded, ARRAYS["plain"]) and is_packed(loaded)
    for optimizer in (loaded, sharded):
        for i, param in enumerate(params_of(optimizer)):
            param.grad = spread(noise(param.shape, 30 + i), mesh, [Shard(0)])
        optimizer.step()
    names = {name for state in saved["state"].values() for name in state}
    return {
        "as it was": at_once,
        "after a step": are_equal(loaded, sharded, ARRAYS["plain"]) and is_packed(loaded),
        "saved": sorted(names),
        "told": sorted({name for param in params_of(sharded) for name in sharded.state[param]}),
        "dtypes": {str(state["square_avg"].dtype) for state in saved["state"].values()},
    }


@case
def unpacked_again(mesh):
    """State goes on in float32 once its group asks for that."""
    sharded, _ = trained(mesh, [Shard(0)], PACKED, aligned(mesh))
    sharded.param_groups[0]["state_dtype"] = None
    for param in params_of(sharded):
        param.grad = spread(noise(param.shape, 3), mesh, [Shard(0)])
    sharded.step()
    return {str(sharded.state[param]["square_avg"].dtype) for param in params_of(sharded)}, paths(sharded)


@case
def by_tensor_operations(mesh):
    param = torch.nn.Parameter(spread(noise((6, 4), 0), mesh, [Shard(0)]))
    param.grad = spread(noise((6, 4), 1), mesh, [Shard(0)])
    try:
        RMSprop([param], state_dtype="8bit", fused=False).step()
    except RuntimeError as error:
        return str(error)
    return ""
