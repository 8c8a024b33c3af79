"""Differentiable steps: gradients flow through the update, of first and of second order."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from rmsprop import Rule
from rmsprop.torch import RMSprop

# ρ = .9: with the gains of .99 a step is so steep in the gradient that numerical second differences lose their digits
RULES = {
    "plain": Rule(decay=0.9),
    "momentum and weight decay": Rule(decay=0.9, momentum=0.9, weight_decay=0.1),
    "centered": Rule(decay=0.9, centered=True, momentum=0.5),
    "tensorflow": Rule(
        decay=0.9, eps=0.1, eps_inside_sqrt=True, initial_square_avg=1.0, lr_in_momentum=True, momentum=0.5
    ),
    "nesterov": Rule(decay=0.9, momentum=0.5, nesterov=True, weight_decay=0.1, weight_decay_mode="decoupled"),
    "bias correction": Rule(decay=0.9, bias_correction=True, eps=0.1),
    "small decay": Rule(decay=0.3, centered=True, eps=0.1),
}


def positive(seed):
    """Values away from zero, where √ has a steep slope, that differ from each other."""
    return torch.rand(4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.5


def inputs(rule):
    values = [positive(seed) for seed in range(2 + len(rule.state_names))]
    if "grad_avg" in rule.state_names:
        values[2] = values[2] - 3.0  # far from the gradient
    return [value.requires_grad_() for value in values]


def one_step(rule, options):
    """A step as a pure function of parameter, gradient and state."""

    def run(param, grad, *states):
        param = param.clone()
        param.grad = grad
        optimizer = RMSprop([param], **options, differentiable=True)
        optimizer.state[param].update(zip(rule.state_names, (state.clone() for state in states), strict=True))
        optimizer.state[param]["step"] = torch.tensor(3.0)
        optimizer.step()
        return param, *(optimizer.state[param][name] for name in rule.state_names)

    return run


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_gradients_through_a_step(rule, maximize, keywords):
    assert gradcheck(one_step(rule, {**keywords(rule), "maximize": maximize}), inputs(rule))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_gradients_of_gradients_through_a_step(rule, keywords):
    assert gradgradcheck(one_step(rule, keywords(rule)), inputs(rule))


def test_gradients_through_the_complex_step(keywords):
    rule = RULES["momentum and weight decay"]
    values = [torch.complex(positive(seed), positive(seed + 9)).requires_grad_() for seed in range(4)]

    def run(*given):
        return one_step(rule, keywords(rule))(*given)

    assert gradcheck(run, values)


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_learning_rate_can_be_learned(rule, keywords):
    # The slope of the loss after two steps with respect to lr, against a difference quotient.
    start = positive(0)

    def loss_after(lr):
        param = start.clone().requires_grad_() * 1.0
        optimizer = RMSprop([param], **keywords(rule), lr=lr, differentiable=True)
        for _ in range(2):
            loss = (param.clone() ** 3).sum()  # a clone, because the step changes what the graph would keep
            (param.grad,) = torch.autograd.grad(loss, param, create_graph=True)
            optimizer.step()
        return (param**2).sum()

    lr = torch.tensor(0.01, dtype=torch.float64, requires_grad=True)
    assert gradcheck(loss_after, [lr])


def test_the_result_is_that_of_a_plain_step(twins, train):
    plain, differentiable = twins()
    graph = [param.clone() for param in differentiable]
    options = {"momentum": 0.9, "centered": True, "weight_decay": 0.1}
    train(RMSprop(plain, **options), RMSprop(graph, **options, differentiable=True), steps=3)
    torch.testing.assert_close(graph, plain, rtol=1e-12, atol=1e-12)
    assert all(param.grad_fn is not None for param in graph)


def test_states_are_replaced_and_not_written_to():
    param = torch.ones(3).requires_grad_() * 1.0
    optimizer = RMSprop([param], momentum=0.9, centered=True, differentiable=True)
    param.grad = torch.ones(3)
    optimizer.step()
    old = {name: value for name, value in optimizer.state[param].items() if name != "step"}
    before = {name: value.clone() for name, value in old.items()}
    optimizer.step()
    assert all(torch.equal(old[name], before[name]) for name in old)
    assert not any(torch.equal(optimizer.state[param][name], before[name]) for name in old)


def test_without_it_no_graph_is_kept(implementation):
    param = torch.ones(3, requires_grad=True)
    optimizer = RMSprop([param], momentum=0.9, **implementation)
    param.grad = (param * 2.0).square()
    assert param.grad.requires_grad
    for _ in range(2):
        optimizer.step()
    assert param.is_leaf
    assert not any(state.requires_grad for state in optimizer.state[param].values())
