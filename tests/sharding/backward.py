"""Steps that backward takes and learning rates that follow gradients, over several processes."""

import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard

from rmsprop.torch import HypergradientDescent, RMSprop, step_in_backward
from sharding.support import a_model, case, full, noise, spread


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
