"""What parameters share: counters across groups, memory, and the scale that GradScaler leaves."""

import weakref

import pytest
import torch

from rmsprop.torch import RMSprop


def stepping(optimizer, steps, params):
    for _ in range(steps):
        for param in params:
            param.grad = torch.ones_like(param)
        optimizer.step()


@pytest.mark.parametrize("cls", [torch.optim.RMSprop, RMSprop])
def test_a_parameter_that_changes_its_group_keeps_its_own_count(cls):
    a, b = torch.zeros(2), torch.zeros(3)
    optimizer = cls([a, b])
    stepping(optimizer, 3, [a, b])
    optimizer.param_groups[0]["params"] = [a]
    stepping(optimizer, 2, [a, b])
    assert [optimizer.state[p]["step"].item() for p in (a, b)] == [5, 3]
    optimizer.add_param_group({"params": [b], "lr": 0.1})
    stepping(optimizer, 3, [a, b])
    assert [optimizer.state[p]["step"].item() for p in (a, b)] == [8, 6]


def test_parameters_in_one_memory_are_updated_one_after_the_other():
    def trained(cls, swap):
        memory = torch.zeros(200_000)
        a, b = torch.nn.Parameter(memory), torch.nn.Parameter(torch.zeros(200_000) if swap else memory)
        optimizer = cls([a, b], lr=0.1)
        if swap:
            stepping(optimizer, 1, [a, b])
            b.data = a.data
        stepping(optimizer, 3, [a, b])
        return a.detach()

    for swap in (False, True):
        torch.testing.assert_close(trained(RMSprop, swap), trained(torch.optim.RMSprop, swap))


def test_a_failed_step_leaves_no_scale_behind():
    param = torch.zeros(2)
    optimizer = RMSprop([param])
    optimizer.grad_scale, optimizer.found_inf = torch.tensor(1024.0), torch.tensor(0.0)
    param.grad = torch.ones(2)
    optimizer.param_groups[0]["alpha"] = 2.0
    with pytest.raises(ValueError, match="Invalid alpha value"):
        optimizer.step()
    assert not hasattr(optimizer, "grad_scale")
    assert not hasattr(optimizer, "found_inf")


def test_a_failed_step_keeps_no_gradient_alive():
    param = torch.zeros(2)
    optimizer = RMSprop([param])
    stepping(optimizer, 1, [param])
    optimizer.param_groups[0]["lr"] = float("nan")
    param.grad = torch.ones(2)
    gradient = weakref.ref(param.grad)
    with pytest.raises(ValueError, match="Invalid learning rate"):
        optimizer.step()
    optimizer.zero_grad()
    assert gradient() is None


def test_what_others_keep_in_the_state_is_loaded_as_it_is():
    param = torch.zeros(2)
    optimizer = RMSprop([param])
    stepping(optimizer, 1, [param])
    optimizer.state[param]["ema_norm"] = torch.zeros(1, dtype=torch.float64)
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.state[param]["ema_norm"].dtype == torch.float64


def test_a_backward_through_an_updated_parameter_is_refused_as_after_any_in_place_operation():
    weight = torch.ones(3, requires_grad=True)
    loss = (weight * weight).sum()
    loss.backward(retain_graph=True)
    RMSprop([weight]).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
