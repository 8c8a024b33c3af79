import math

import pytest
import torch

from rmsprop.lab.problems import load
from rmsprop.lab.problems.builtin.control import STEPS, Policy, _policy_loss, _pushed


def gymnasium_step(state, right):
    """One step of CartPole as the equations are usually written, in plain Python."""
    x, x_dot, theta, theta_dot = state
    force = 10.0 if right else -10.0
    temp = (force + 0.05 * theta_dot**2 * math.sin(theta)) / 1.1
    spin = (9.8 * math.sin(theta) - math.cos(theta) * temp) / (0.5 * (4.0 / 3.0 - 0.1 * math.cos(theta) ** 2 / 1.1))
    drive = temp - 0.05 * spin * math.cos(theta) / 1.1
    return [x + 0.02 * x_dot, x_dot + 0.02 * drive, theta + 0.02 * theta_dot, theta_dot + 0.02 * spin]


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_the_physics_is_the_usual_one(right):
    states = torch.randn(20, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    after = _pushed(states, torch.full((20,), right, dtype=torch.float64))
    expected = [gymnasium_step(state, right) for state in states.tolist()]
    torch.testing.assert_close(after, torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_an_episode_ends_once_and_the_loss_is_the_share_that_is_lost():
    problem = load("cartpole")
    outputs = problem.model(0)(problem.validation.x)
    standing = outputs[..., 1]
    assert standing.shape == (128, STEPS)
    assert (standing[:, 0] == 1).all()
    assert (standing.diff(dim=1) <= 0).all()
    loss, length = problem.evaluate(problem.model(0), problem.validation)
    assert length == pytest.approx(standing.sum(dim=1).mean().item())
    assert loss == pytest.approx(1 - length / STEPS, abs=1e-6)
    assert 10 < length < 60  # an untrained policy falls soon


def test_the_gradient_is_reinforces_with_the_reward_to_go_and_the_mean_of_the_batch_as_baseline():
    logs = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    standing = torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
    _policy_loss(torch.stack([logs, standing], dim=-1), torch.zeros(3)).backward()
    to_go = torch.tensor([[4.0, 3, 2, 1], [2, 1, 0, 0], [1, 0, 0, 0]])
    baseline = torch.tensor([7 / 3, 2.0, 2.0, 1.0])
    torch.testing.assert_close(logs.grad, -(to_go - baseline) * standing / 12)


def test_a_row_is_an_episode_whatever_the_batch():
    problem, model = load("cartpole"), Policy()
    whole = model(problem.train.x[:6])
    torch.testing.assert_close(model(problem.train.x[2:4]), whole[2:4])
