"""What torch wraps around a model or an optimizer on several processes, each with this optimizer inside."""

import hashlib
import warnings

import torch
import torch.distributed as dist
from torch.distributed.algorithms.join import Join
from torch.distributed.algorithms.model_averaging.averagers import PeriodicModelAverager
from torch.distributed.algorithms.model_averaging.utils import average_parameters
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor import DTensor, Shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

from rmsprop.torch import RMSprop
from sharding.support import TORCHS, a_model, case, compare, full, noise, params_of, paths, spread

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)  # at the import
    from torch.distributed.optim import PostLocalSGDOptimizer, ZeroRedundancyOptimizer

STORED = {
    "plain": (torch.float32, {}),
    "8 bits": (torch.float32, {"momentum": 0.9, "state_dtype": "8bit", "seed": 5}),
    "rounded": (torch.bfloat16, {"rounding": "stochastic", "state_dtype": torch.bfloat16, "seed": 5}),
    "centered": (torch.float32, {"centered": True, "momentum": 0.9, "max_grad_norm": 1.0}),
}


def digest(optimizer):
    """Return a word for the bits of all parameters and all that is held of their state, where there is something."""
    found = hashlib.sha256()
    for param in filter(torch.Tensor.numel, params_of(optimizer)):
        for _, value in [("", param.detach()), *sorted(optimizer.state[param].items())]:
            found.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def backward(model, step, rank, dtype=torch.float32):
    model(noise((3, 4), 10 * step + rank, dtype)).square().sum().backward()


@case
def replicas(mesh):
    """Return a word for the bits of each replica, and whether the gradients are the mean within their rounding."""
    found = {}
    for name, (dtype, options) in STORED.items():
        model, alone = DistributedDataParallel(a_model().to(dtype)), a_model().to(dtype)
        optimizer = RMSprop(model.parameters(), **options)
        backward(model, 0, mesh.get_rank(), dtype)
        means, sizes = _mean_gradients(alone, mesh.size(), dtype)
        # Two orders of adding n numbers differ by 2·(n − 1) roundings of what has been added, at most Σ|g|.
        unit = 2 * (mesh.size() - 1) * torch.finfo(dtype).eps / 2
        bounds = [0 * size if mesh.size() == 2 else size * unit for size in sizes]  # two numbers add in any order
        grads = [param.grad for param in model.parameters()]
        near = all(bool(((a - b).abs() <= c).all()) for a, b, c in zip(grads, means, bounds, strict=True))
        for step in range(1, 4):
            optimizer.step()
            optimizer.zero_grad()
            backward(model, step, mesh.get_rank(), dtype)
        found[name] = digest(optimizer), near, paths(optimizer)
    return found


def _mean_gradients(model, count, dtype):
    """Return the mean of the gradients of all ranks, computed by one process, and of their magnitudes."""
    sums = [torch.zeros_like(param) for param in model.parameters()]
    sizes = [torch.zeros_like(param) for param in model.parameters()]
    for rank in range(count):
        model.zero_grad()
        backward(model, 0, rank, dtype)
        for total, size, param in zip(sums, sizes, model.parameters(), strict=True):
            total += param.grad / count
            size += param.grad.abs() / count
    return sums, sizes


@case
def flat_parameters(mesh):
    """FSDP1: each rank's optimizer sees a stretch of all parameters in a row, or views of it."""
    return {
        f"{name}, {original}": _flat(mesh, dtype, options, original)
        for name, (dtype, options) in STORED.items()
        if "max_grad_norm" not in options
        for original in (True, False)
    }


def _flat(mesh, dtype, options, original):
    model = FullyShardedDataParallel(a_model().to(dtype), device_id=torch.device("cpu"), use_orig_params=original)
    optimizer = RMSprop(model.parameters(), **options)
    alone = RMSprop([torch.nn.Parameter(param.detach().clone()) for param in model.parameters()], **options)
    for step in range(3):
        optimizer.zero_grad()
        backward(model, step, mesh.get_rank(), dtype)
        for param, its in zip(params_of(optimizer), params_of(alone), strict=True):
            its.grad = None if param.grad is None else param.grad.clone()
        optimizer.step()
        alone.step()
    pairs = zip(params_of(optimizer), params_of(alone), strict=True)
    return all(torch.equal(param, its) for param, its in pairs), paths(optimizer)


@case
def flat_parameters_saved(mesh):
    """What FSDP1 gathers of the state is that of the whole parameters, and comes back as it was."""
    warnings.simplefilter("ignore")  # torch's own, of what will be deprecated
    flat, centered = {"momentum": 0.9}, {"momentum": 0.9, "centered": True}
    # Views have no second array here: torch 2.13 gathers that wrong, of torch.optim.RMSprop as well.
    rows = ((False, flat), (False, centered), (True, {}))
    return {f"{original}, {options}": _saved_flat(mesh, original, options) for original, options in rows}


def _saved_flat(mesh, original, options):
    model = FullyShardedDataParallel(a_model(), device_id=torch.device("cpu"), use_orig_params=original)
    optimizer = RMSprop(model.parameters(), **options)
    for step in range(2):
        optimizer.zero_grad()
        backward(model, step, mesh.get_rank())
        optimizer.step()
    saved = FullyShardedDataParallel.optim_state_dict(model, optimizer)
    shapes = {name: tuple(state["square_avg"].shape) for name, state in saved["state"].items()}
    before = digest(optimizer)
    optimizer.load_state_dict(FullyShardedDataParallel.optim_state_dict_to_load(model, optimizer, saved))
    right = shapes == {name: tuple(param.shape) for name, param in a_model().named_parameters()}
    return right, digest(optimizer) == before


def trains_as_a_whole(model, twin, options, inputs):
    """Return how a sharded model compares to a twin that steps on the gradients of it, put together."""
    optimizer, whole = RMSprop(model.parameters(), **options), RMSprop(twin.parameters(), **options)
    for step in range(3):
        optimizer.zero_grad()
        model(inputs(step)).square().sum().backward()
        for param, its in zip(model.parameters(), twin.parameters(), strict=True):
            its.grad = full(param.grad)
        optimizer.step()
        whole.step()
    return compare(optimizer, whole)


ON_MESHES = {
    "plain": (torch.float32, {"momentum": 0.9}),
    "centered and clipped": (torch.float32, {"centered": True, "max_grad_norm": 1.0}),
    "rounded": STORED["rounded"],
}


@case
def sharded_groups_of_replicas(mesh):
    """FSDP2 on a mesh of two dimensions: copies along the first, shards along the second."""
    grid = init_device_mesh("cpu", (2, mesh.size() // 2), mesh_dim_names=("copies", "shards"))
    found = {}
    for name, (dtype, options) in ON_MESHES.items():
        model, twin = a_model().to(dtype), a_model().to(dtype)
        fully_shard(model, mesh=grid)
        found[name] = trains_as_a_whole(
            model, twin, options, lambda step, dtype=dtype: noise((3, 4), 10 * step + mesh.get_rank(), dtype)
        )
    return found


PLAN = {"0": ColwiseParallel(), "2": RowwiseParallel()}


@case
def tensor_parallel(mesh):
    """Rows of the first layer's weights and columns of the second's; all ranks see the same data."""
    found = {}
    for name, (dtype, options) in ON_MESHES.items():
        model, twin = _two_layers(dtype), _two_layers(dtype)
        parallelize_module(model, mesh, PLAN)
        found[name] = trains_as_a_whole(model, twin, options, lambda step, dtype=dtype: noise((3, 4), step, dtype))
    return found


def _two_layers(dtype):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3)).to(dtype)


@case
def sharded_and_tensor_parallel(mesh):
    """FSDP2 over tensor parallel: the second layer's weights are cut along both dimensions, and unevenly."""
    grid = init_device_mesh("cpu", (2, mesh.size() // 2), mesh_dim_names=("data", "tensor"))
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view", UserWarning)  # of what nobody changes
    found = {}
    for name, (dtype, options) in ON_MESHES.items():
        model, twin = _two_layers(dtype), _two_layers(dtype)
        parallelize_module(model, grid["tensor"], PLAN)
        fully_shard(model, mesh=grid["data"])
        place = grid.get_local_rank("data")
        found[name] = trains_as_a_whole(
            model, twin, options, lambda step, dtype=dtype, place=place: noise((3, 4), 10 * step + place, dtype)
        )
    return found


@case
def zero_redundancy_saved(mesh):
    """State put together on one rank serves an optimizer of all parameters, and comes back to those that share."""
    found = {}
    for as_view in (False, True):
        optimizer, whole = (_stepped(cls) for cls in (_zero(as_view), lambda params: RMSprop(params, momentum=0.9)))
        optimizer.consolidate_state_dict(to=0)
        same = True
        if mesh.get_rank() == 0:
            saved = optimizer.state_dict()
            alone = RMSprop([torch.nn.Parameter(p.detach().clone()) for p in params_of(optimizer)], momentum=0.9)
            alone.load_state_dict(saved)
            same = _equal(alone, whole)
        sent = [optimizer.state_dict() if mesh.get_rank() == 0 else None]
        dist.broadcast_object_list(sent, src=0)
        fresh = _zero(as_view)([torch.nn.Parameter(p.detach().clone()) for p in params_of(optimizer)])
        fresh.load_state_dict(sent[0])
        _step(fresh, 3)
        _step(whole, 3)
        equal = all(map(torch.equal, params_of(fresh), params_of(whole)))
        found[str(as_view)] = same, equal
    return found


def _zero(as_view):
    def made(params):
        return ZeroRedundancyOptimizer(params, RMSprop, parameters_as_bucket_view=as_view, momentum=0.9)

    return made


def _step(optimizer, step):
    for i, param in enumerate(params_of(optimizer)):
        param.grad = noise(param.shape, 10 * step + i)
    optimizer.step()


def _stepped(make):
    optimizer = make([torch.nn.Parameter(noise(shape, i)) for i, shape in enumerate(((7, 4), (7,), (1, 5), (1,)))])
    for step in range(3):
        _step(optimizer, step)
    return optimizer


def _equal(optimizer, other):
    return all(
        torch.equal(optimizer.state[param]["square_avg"], other.state[its]["square_avg"])
        for param, its in zip(params_of(optimizer), params_of(other), strict=True)
    )


@case
def zero_redundancy_overlapped(mesh):
    """Steps inside DDP's communication are made by torch's functional optimizers alone."""
    try:
        ZeroRedundancyOptimizer([torch.nn.Parameter(torch.ones(2))], RMSprop, overlap_with_ddp=True, lr=0.1)
    except ValueError as error:
        return str(error)
    return ""


@case
def averaged_now_and_then(mesh):
    """Post-local SGD: parameters are averaged every other step, from the third on."""
    model, twin = a_model(), a_model()
    averager = PeriodicModelAverager(period=2, warmup_steps=2)
    optimizer = PostLocalSGDOptimizer(RMSprop(model.parameters(), momentum=0.9), averager)
    alone = RMSprop(twin.parameters(), momentum=0.9)
    for step in range(6):
        for each, its in ((model, optimizer), (twin, alone)):
            each.zero_grad()
            backward(each, step, mesh.get_rank())
            its.step()
        if step >= 2 and step % 2 == 0:
            average_parameters(twin.parameters(), dist.group.WORLD)
    saved = optimizer.state_dict()
    optimizer.load_state_dict(saved)
    return all(map(torch.equal, model.parameters(), twin.parameters())), saved["step"]


@case
def uneven_inputs(mesh):
    """Join: the first rank has 2 batches, each other one more; those that have ended follow the others."""
    found = {}
    for name in ("plain", "shared out"):
        model = DistributedDataParallel(a_model())
        options = {"momentum": 0.9, "lr": 1e-3}
        optimizer = (
            RMSprop(model.parameters(), **options)
            if name == "plain"
            else ZeroRedundancyOptimizer(model.parameters(), RMSprop, **options)
        )
        with Join([model] if name == "plain" else [model, optimizer]):
            for step in range(2 + mesh.get_rank()):
                optimizer.zero_grad()
                backward(model, step, mesh.get_rank())
                optimizer.step()
        values = torch.cat([param.detach().flatten() for param in model.parameters()])
        found[name] = hashlib.sha256(values.numpy().tobytes()).hexdigest(), bool(values.isfinite().all())
    return found


@case
def one_rank_alone_asks_for_state(mesh):
    """No process waits for another that asks for nothing."""
    param = torch.nn.Parameter(spread(noise((6, 4), 0), mesh, [Shard(0)]))
    optimizer = RMSprop([param], centered=True)
    for step in range(2):
        param.grad = spread(noise((6, 4), step), mesh, [Shard(0)])
        optimizer.step()
    if mesh.get_rank() > 0:
        return True
    return isinstance(optimizer.state_dict()["state"][0]["grad_var"], DTensor)


@case
def as_torch_in_the_same_place(mesh):
    """Return by how many units of the update's size parameters differ from those of ``torch.optim.RMSprop``."""
    models = a_model(), a_model()
    for model in models:
        fully_shard(model, mesh=mesh)
    optimizers = [cls(model.parameters(), lr=1e-3) for cls, model in zip((RMSprop, TORCHS), models, strict=True)]
    for step in range(3):
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.zero_grad()
            backward(model, step, mesh.get_rank())
            optimizer.step()
    pairs = zip(*(model.parameters() for model in models), strict=True)
    return max(float((full(a.detach()) - full(b.detach())).abs().max()) for a, b in pairs)
