"""Gradients and settings that shards can't be updated with."""

import warnings

import torch
from torch.distributed.tensor import DTensor, Partial, Replicate, Shard

from rmsprop.torch import RMSprop
from sharding.support import TORCHS, case, everything, full, noise, params_of, spread, trained


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


@case
def sparse_gradients(mesh):
    """Gradients of rows, whose numbers are those of the whole table or of the shard: nobody knows."""
    messages = []
    for sparse in ("exact", "lazy", "rowwise"):
        for is_sharded in (False, True):
            value = spread(noise((6, 4), 0), mesh, [Shard(0)])
            param, other = torch.nn.Parameter(value.clone()), torch.ones(3, requires_grad=True)
            shape = param.to_local().shape if is_sharded else param.shape
            rows = torch.sparse_coo_tensor([[0]], torch.ones(1, 4), shape, check_invariants=True)
            param.grad = DTensor(rows, value._spec, requires_grad=False) if is_sharded else rows
            other.grad = torch.ones(3)
            optimizer = RMSprop([other, param], sparse=sparse)
            try:
                optimizer.step()
            except RuntimeError as error:
                messages.append(str(error))
            assert torch.equal(param.to_local(), value.to_local())
            assert torch.equal(other, torch.ones(3))
            assert not optimizer.state
    return messages
