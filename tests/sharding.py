"""What tests/torch/test_sharded.py runs on every rank of a process group: cases that return plain data."""

import traceback
import warnings
from copy import deepcopy

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard, distribute_tensor

from rmsprop.torch import HypergradientDescent, RMSprop, ScheduleFreeRMSprop, step_in_backward

TORCHS = torch.optim.RMSprop
CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


def run_cases(rank, count, barrier, folder):
    """Return what each case returned, or its traceback."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", count), rank=rank, world_size=count)
    mesh = init_device_mesh("cpu", (count,))
    found = {}
    for name, function in CASES.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            try:
                found[name] = function(mesh)
            except Exception:
                found[name] = traceback.format_exc()
    dist.destroy_process_group()
    return found


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


@case
def stepped_in_backward(mesh):
    """FSDP2, whose gradients arrive where no node of the graph accumulates them."""
    return [steps_of_backward_are_those_of_step(mesh, options) for options in IN_BACKWARD]


IN_BACKWARD = ({}, {"state_dtype": torch.bfloat16, "seed": 5, "max_grad_value": 0.1}, {"max_update_rms": 0.5})


def steps_of_backward_are_those_of_step(mesh, options):
    models = [a_model(), a_model()]
    for model in models:
        fully_shard(model, mesh=mesh)
    optimizers = [RMSprop(model.parameters(), momentum=0.9, **options) for model in models]
    step_in_backward(optimizers[0])
    for step in range(3):
        for model in models:
            model(noise((3, 4), 10 * step + mesh.get_rank())).square().sum().backward()
        optimizers[1].step()
        optimizers[1].zero_grad()
    freed = all(param.grad is None for param in models[0].parameters())
    pairs = zip(*(model.parameters() for model in models), strict=True)
    return freed and all(torch.equal(full(a.detach()), full(b.detach())) for a, b in pairs)


@case
def stepped_in_backward_of_replicas(mesh):
    found = []
    for wrapped_first in (True, False):
        model = a_model()
        optimizer = RMSprop(model.parameters())
        try:
            replica = torch.nn.parallel.DistributedDataParallel(model) if wrapped_first else model
            step_in_backward(optimizer)
            replica = replica if wrapped_first else torch.nn.parallel.DistributedDataParallel(model)
            replica(noise((3, 4), 0)).sum().backward()
        except RuntimeError as error:
            found.append(str(error))
    return found


@case
def tuned_replicas(mesh):
    """Return the learning rates of a replica that sees other rows than the others."""
    replica = torch.nn.parallel.DistributedDataParallel(a_model())
    optimizer = RMSprop(replica.parameters(), lr=1e-4)
    HypergradientDescent(optimizer)
    rates = []
    for step in range(5):
        optimizer.zero_grad()
        replica(noise((3, 4), 10 * step + dist.get_rank())).square().sum().backward()
        optimizer.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


@case
def tuned_shard(mesh):
    param = torch.nn.Parameter(spread(noise((6, 4), 0, torch.float32), mesh, [Shard(0)]))
    try:
        HypergradientDescent(RMSprop([param]))
    except RuntimeError as error:
        return str(error)
    return ""


@case
def in_8_bits(mesh):
    param = torch.nn.Parameter(spread(noise((6, 4), 0, torch.float32), mesh, [Shard(0)]))
    optimizer = RMSprop([param], state_dtype="8bit")
    param.grad = spread(noise((6, 4), 1, torch.float32), mesh, [Shard(0)])
    try:
        optimizer.step()
    except ValueError as error:
        return str(error)
    return None


@case
def rounded_by_tensor_operations(mesh):
    param = torch.nn.Parameter(spread(noise((6, 4), 0, torch.bfloat16), mesh, [Shard(0)]))
    optimizer = RMSprop([param], rounding="stochastic", fused=False)
    param.grad = spread(noise((6, 4), 1, torch.bfloat16), mesh, [Shard(0)])
    before = full(param.detach()).clone()
    try:
        optimizer.step()
    except RuntimeError as error:
        return str(error), torch.equal(full(param.detach()), before)
    return None


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


def a_model():
    torch.manual_seed(0)
    layers = torch.nn.Linear(4, 7), torch.nn.Tanh(), torch.nn.Linear(7, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1)
    return torch.nn.Sequential(*layers)


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


def everything(optimizer):
    return [param.to_local().clone() for param in params_of(optimizer)], [
        {name: full(value).clone() for name, value in optimizer.state[param].items()} for param in params_of(optimizer)
    ]


@case
def partial_gradient(mesh):
    """A gradient that is still to be summed over the ranks: the sum's square is not known to any of them."""
    sharded, _ = trained(mesh, [Shard(0)], {})
    before = everything(sharded)
    param = params_of(sharded)[2]
    param.grad = DTensor.from_local(torch.ones(param.shape), mesh, [Partial()])
    try:
        sharded.step()
        message = ""
    except RuntimeError as error:
        message = str(error)
    torch.testing.assert_close(everything(sharded), before, rtol=0, atol=0)
    return message


@case
def gradient_placed_otherwise(mesh):
    """Every rank has the whole gradient, as torch allows. Tensor operations may serve."""
    warnings.simplefilter("ignore", UserWarning)
    value = noise((7, 4), 0)
    results = []
    for cls in (RMSprop, TORCHS):
        param = torch.nn.Parameter(spread(value, mesh, [Shard(0)]))
        optimizer = cls([param], momentum=0.9)
        for step in range(3):
            param.grad = spread(noise((7, 4), step), mesh, [Replicate()])
            optimizer.step()
        results.append(full(param.detach()))
    torch.testing.assert_close(*results, rtol=1e-5, atol=1e-5)
    return True


@case
def plain_gradient(mesh):
    """A gradient that is no DTensor: torch refuses it too."""
    refusals = []
    for cls in (TORCHS, RMSprop):
        param = torch.nn.Parameter(spread(noise((7, 4), 0), mesh, [Shard(0)]))
        with torch.no_grad():
            param.grad = None
            try:
                param.grad = torch.ones(7, 4)
                cls([param], foreach=False).step()
                refusals.append("")
            except RuntimeError as error:
                refusals.append(str(error))
    return refusals
