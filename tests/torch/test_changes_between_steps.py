"""What a user may do to parameters, state and groups between two steps: seen by the next one, or refused in words."""

from copy import deepcopy

import pytest
import torch

from rmsprop.torch import RMSprop

STATE = ("grad_avg", "grad_var", "momentum_buffer")


@pytest.fixture
def optimizer(implementation, twins, train):
    """An optimizer in the middle of training, with every kind of state."""
    made = RMSprop(twins(1, dtype=torch.float32)[0], centered=True, momentum=0.9, **implementation)
    train(made, steps=2)
    return made


@pytest.fixture
def twin(optimizer):
    return deepcopy(optimizer)


def params_of(optimizer):
    return optimizer.param_groups[0]["params"]


def assert_equal(optimizer, twin):
    assert all(map(torch.equal, params_of(optimizer), params_of(twin)))


def test_state_tensors_may_be_replaced(optimizer, twin, train):
    for state in optimizer.state.values():
        for name in STATE:
            state[name] = state[name].clone()
    train(optimizer, twin, seed=2)
    assert_equal(optimizer, twin)


def test_the_dict_of_states_may_be_replaced(optimizer, twin, train):
    for param in params_of(optimizer):
        optimizer.state[param] = {name: value.clone() for name, value in optimizer.state[param].items()}
    train(optimizer, twin, seed=2)
    assert_equal(optimizer, twin)
    for param, other in zip(params_of(optimizer), params_of(twin), strict=True):
        torch.testing.assert_close(optimizer.state[param], twin.state[other], rtol=0, atol=0)


def test_state_tensors_may_be_written_to(optimizer, twin, train):
    for each in (optimizer, twin):
        for state in each.state.values():
            state["momentum_buffer"].zero_()
    train(optimizer, twin, seed=2)
    assert_equal(optimizer, twin)
    assert not any(state["momentum_buffer"].isnan().any() for state in optimizer.state.values())


def test_state_may_lie_in_another_memory_order(optimizer, twin, train):
    first = params_of(optimizer)[0]
    for name in STATE:
        optimizer.state[first][name] = optimizer.state[first][name].T.contiguous().T
    if optimizer.param_groups[0]["fused"]:
        optimizer.param_groups[0]["fused"] = None
    train(optimizer, twin, seed=2)
    torch.testing.assert_close(params_of(optimizer), params_of(twin), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", STATE)
def test_state_of_another_precision_is_converted(optimizer, twin, train, name):
    last = params_of(optimizer)[-1]
    optimizer.state[last][name] = optimizer.state[last][name].double()
    train(optimizer, twin, seed=2)
    assert optimizer.state[last][name].dtype == torch.float32
    assert_equal(optimizer, twin)


def test_training_goes_on_in_float64_after_model_double(implementation):
    model = torch.nn.Linear(3, 2)
    optimizer = RMSprop(model.parameters(), momentum=0.9, **implementation)
    for dtype in (torch.float32, torch.float64):
        model.to(dtype).zero_grad()
        model(torch.ones(4, 3, dtype=dtype)).square().sum().backward()
        optimizer.step()
    for param in model.parameters():
        assert optimizer.state[param]["step"] == 2
        assert {optimizer.state[param][name].dtype for name in ("square_avg", "momentum_buffer")} == {torch.float64}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda tensor: torch.zeros(2, 2), r"of shape \(2, 2\)"),
        (lambda tensor: tensor.to("meta"), "on meta"),
    ],
    ids=["shape", "device"],
)
@pytest.mark.parametrize("name", STATE)
def test_state_that_does_not_fit_is_refused_before_anything_changes(optimizer, name, change, words):
    last = params_of(optimizer)[-1]
    optimizer.state[last][name] = change(optimizer.state[last][name])
    before = [param.detach().clone() for param in params_of(optimizer)]
    with pytest.raises(RuntimeError, match=f"state '{name}' of parameter 5 is .*{words}.* but the parameter is"):
        optimizer.step()
    assert all(map(torch.equal, params_of(optimizer), before))
    assert all(state["step"] == 2 for state in optimizer.state.values())


def test_a_missing_state_tensor_starts_from_zero(optimizer, twin, train):
    for state in optimizer.state.values():
        del state["momentum_buffer"]
    for state in twin.state.values():
        state["momentum_buffer"].zero_()
    train(optimizer, twin, seed=2)
    assert_equal(optimizer, twin)


def test_the_state_of_a_parameter_may_be_deleted(optimizer, train):
    first = params_of(optimizer)[0]
    fresh = torch.nn.Parameter(first.detach().clone())
    other = RMSprop([fresh], **{k: v for k, v in optimizer.param_groups[0].items() if k != "params"})
    del optimizer.state[first]
    for param in params_of(optimizer):
        param.grad = torch.randn_like(param)
    fresh.grad = first.grad
    optimizer.step()
    other.step()
    assert torch.equal(first, fresh)


def test_the_memory_of_a_parameter_may_be_replaced(optimizer, twin, train):
    for param in params_of(optimizer):
        param.data = param.data.clone()
    train(optimizer, twin, seed=2)
    assert_equal(optimizer, twin)


def test_parameters_may_be_written_to(optimizer, twin, train):
    with torch.no_grad():
        for param in (*params_of(optimizer), *params_of(twin)):
            param.mul_(0.5)
    train(optimizer, twin, seed=2)
    assert_equal(optimizer, twin)


def test_parameters_may_move_into_shared_memory(optimizer, twin, train):
    for param in params_of(optimizer):
        param.data.share_memory_()
    train(optimizer, twin, seed=2)
    assert_equal(optimizer, twin)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_parameters_may_become_narrower(optimizer, dtype, train):
    for param in params_of(optimizer):
        param.grad = None
        param.data = param.data.to(dtype)
    train(optimizer, steps=2, seed=2)
    for param in params_of(optimizer):
        assert param.dtype == dtype
        assert optimizer.state[param]["grad_var"].dtype == torch.float32


def test_the_list_of_parameters_may_change(optimizer, twin, train):
    removed = params_of(optimizer).pop(1)
    before = removed.detach().clone()
    removed.grad = torch.ones_like(removed)
    del params_of(twin)[1]
    train(optimizer, twin, seed=2)
    assert_equal(optimizer, twin)
    assert torch.equal(removed, before)


def test_a_parameter_may_take_the_place_of_another(optimizer):
    old = params_of(optimizer)[0]
    new = torch.zeros_like(old).requires_grad_()
    params_of(optimizer)[0] = new
    before = old.detach().clone()
    new.grad = torch.ones_like(new)
    optimizer.step()
    assert torch.equal(old, before)
    assert (new < 0).all()
    assert optimizer.state[new]["step"] == 1


def test_a_group_may_be_removed(optimizer, twin, train):
    optimizer.add_param_group({"params": [extra := torch.zeros(3, requires_grad=True)]})
    extra.grad = torch.ones(3)
    for param in params_of(optimizer):
        param.grad = None
    optimizer.step()
    del optimizer.param_groups[1]
    before = extra.detach().clone()
    train(optimizer, twin, seed=2)
    assert_equal(optimizer, twin)
    assert torch.equal(extra, before)


def test_frozen_parameters_rest_and_wake(optimizer, twin, train):
    for each in (optimizer, twin):
        params_of(each)[0].grad = None
    before = params_of(optimizer)[0].detach().clone()
    optimizer.step()
    twin.step()
    assert torch.equal(params_of(optimizer)[0], before)
    train(optimizer, twin, seed=2, gaps=True)
    assert_equal(optimizer, twin)


@pytest.mark.parametrize("to", [True, False, None])
def test_the_implementation_may_change(optimizer, twin, train, to):
    optimizer.param_groups[0]["fused"] = to
    train(optimizer, twin, seed=2)
    torch.testing.assert_close(params_of(optimizer), params_of(twin), rtol=1e-5, atol=1e-5)


def test_the_number_of_threads_may_change(twins, train):
    few, many = twins(shapes=[(100_003,), (7,)], dtype=torch.float32)
    optimizers, threads = (RMSprop(few, fused=True), RMSprop(many, fused=True)), torch.get_num_threads()
    try:
        for seed, number in enumerate((1, 2, 5, 1)):
            torch.set_num_threads(number)
            train(optimizers[1], steps=1, seed=seed)
            torch.set_num_threads(1)
            train(optimizers[0], steps=1, seed=seed)
    finally:
        torch.set_num_threads(threads)
    assert all(map(torch.equal, few, many))
