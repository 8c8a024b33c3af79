"""Balancing a pole on a cart, learnt by policy gradient: RMSProp lives in reinforcement learning."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor, nn

from rmsprop.lab.problems.problem import Data, Metric, Problem

# The cart and the pole of Barto, Sutton and Anderson, as everyone simulates them: SI units, Euler's method.
_GRAVITY, _CART, _POLE, _HALF_LENGTH, _FORCE, _SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
_MASS = _CART + _POLE
_LEVER = _POLE * _HALF_LENGTH / _MASS
_FARTHEST, _STEEPEST = 2.4, 12 * pi / 180
# An episode is over after so many steps. Each of the episodes has a start and random numbers of its own.
STEPS = 200
_EPISODES = {"train": 128, "validation": 128, "test": 128}
_WIDTH = 16


class Policy(nn.Module):
    """A small network that pushes the cart left or right, and what becomes of it.

    The physics has no gradient. Only the probabilities of the actions taken do, and these are computed at once for all
    the states that were visited.
    """

    def __init__(self) -> None:
        """See the class."""
        super().__init__()
        self.hidden = nn.Linear(4, _WIDTH)
        self.output = nn.Linear(_WIDTH, 1)

    def logits(self, states: Tensor) -> Tensor:
        """Return the logit of pushing to the right.

        Args:
            states: Position, velocity, angle and its velocity, in SI units, along the last dimension.

        Returns:
            The logits, without that dimension.
        """
        return self.output(torch.tanh(self.hidden(states))).squeeze(-1)  # type: ignore[no-any-return]

    def forward(self, episodes: Tensor) -> Tensor:
        """Play episodes.

        Args:
            episodes: For each episode its start state, then a uniform random number per step.

        Returns:
            Episodes by steps by 2: the logarithm of the probability of each action, and whether the pole still stood
            when it was taken.
        """
        state = episodes[:, :4]
        # A number is below the probability if its logit is below the probability's.
        chances = torch.logit(episodes[:, 4:]).unbind(1)
        states, rights = [], []
        with torch.no_grad():
            for chance in chances:
                right = (chance < self.logits(state)).to(state.dtype)
                states.append(state)
                rights.append(right)
                state = _pushed(state, right)
        visited = torch.stack(states, dim=1)
        logits = self.logits(visited)
        signs = 2 * torch.stack(rights, dim=1) - 1
        return torch.stack([nn.functional.logsigmoid(signs * logits), _stands(visited).cumprod(dim=1)], dim=-1)


def cartpole() -> Problem:
    """Return the problem of balancing a pole for 200 steps of 0.02 s.

    Its loss is the share of the time for which the pole is down; the loss's gradient is that of REINFORCE, with the
    reward to go and the mean of the batch as a baseline. A row is an episode: a start state and the random numbers that
    choose its actions.

    Returns:
        The problem.

    References:
        Barto, Sutton, Anderson, Neuronlike adaptive elements (1983); Williams, REINFORCE, Machine Learning 8 (1992).

    Examples:
        >>> cartpole().train.x.shape
        torch.Size([128, 204])
    """
    generator = torch.Generator().manual_seed(0)
    train, validation, test = (_episodes(count, generator) for count in _EPISODES.values())
    return Problem(
        name="cartpole",
        make_model=Policy,
        loss=_policy_loss,
        loss_name="share of time the pole is down",
        metric=Metric("length", "steps", True, _mean_length),
        train=train,
        validation=validation,
        test=test,
    )


def _episodes(count: int, generator: torch.Generator) -> Data:
    starts = 0.1 * torch.rand(count, 4, generator=generator) - 0.05
    return Data(torch.cat([starts, torch.rand(count, STEPS, generator=generator)], dim=1), torch.zeros(count))


def _pushed(state: Tensor, right: Tensor) -> Tensor:
    """Return the states after a step; what lies far outside is held there, so that it stays finite."""
    _, velocity, angle, turning = state.unbind(-1)
    sine, cosine = angle.sin(), angle.cos()
    push = 2 * _FORCE / _MASS * right - _FORCE / _MASS + _LEVER * turning.square() * sine
    spin = (_GRAVITY * sine - cosine * push) / (4 / 3 * _HALF_LENGTH - _LEVER * cosine.square())
    drive = push - _LEVER * spin * cosine
    changes = torch.stack([velocity, drive, turning, spin], dim=-1)
    return torch.add(state, changes, alpha=_SECONDS).clamp(-10.0, 10.0)


def _stands(states: Tensor) -> Tensor:
    inside = (states[..., 0].abs() < _FARTHEST) & (states[..., 2].abs() < _STEEPEST)
    return inside.to(states.dtype)


def _mean_length(outputs: Tensor, _: Tensor) -> Tensor:
    return outputs[..., 1].sum(dim=1).mean()


def _policy_loss(outputs: Tensor, _: Tensor) -> Tensor:
    """Return the share of steps that are lost, with REINFORCE's gradient."""
    log_probability, standing = outputs.unbind(-1)
    to_go = standing.flip(1).cumsum(dim=1).flip(1)
    baseline = (to_go * standing).sum(dim=0) / standing.sum(dim=0).clamp(min=1.0)
    advantage = (to_go - baseline) * standing
    surrogate = -(advantage.detach() * log_probability).sum() / standing.numel()
    return 1.0 - standing.mean().detach() + surrogate - surrogate.detach()
