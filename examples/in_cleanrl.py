"""A loop in CleanRL's style: actor and critic in one file, a learning rate that is set before every update, clipping.

What such loops do by hand, ``optimizer.param_groups[0]["lr"] = ...`` and ``clip_grad_norm_``, works as with torch's.
"""

from __future__ import annotations

import gymnasium
import torch
from torch import nn

from examples.measuring import Measured, Run, measured
from rmsprop.torch import RMSprop

ENVIRONMENTS, STEPS, UPDATES = 4, 8, 24
DISCOUNT, LR, MAX_GRAD_NORM = 0.99, 7e-4, 0.5


class Agent(nn.Module):
    """An actor and a critic."""

    def __init__(self) -> None:
        super().__init__()
        self.critic = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1))
        self.actor = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 2))


def train(optimizer_class: type[torch.optim.Optimizer]) -> Run:
    """Learn to balance poles.

    Args:
        optimizer_class: What trains.
    """
    torch.manual_seed(0)
    environments = gymnasium.vector.SyncVectorEnv([lambda: gymnasium.make("CartPole-v1")] * ENVIRONMENTS)
    agent = Agent()
    optimizer = optimizer_class(agent.parameters(), lr=LR, alpha=0.99, eps=1e-5)
    seen = torch.from_numpy(environments.reset(seed=0)[0])
    losses = []
    for update in range(UPDATES):
        optimizer.param_groups[0]["lr"] = LR * (1 - update / UPDATES)
        logged, values, rewards, going_on = [], [], [], []
        for _ in range(STEPS):
            choice = torch.distributions.Categorical(logits=agent.actor(seen))
            action = choice.sample()
            logged.append(choice.log_prob(action))
            values.append(agent.critic(seen).squeeze(-1))
            found, reward, ended, cut, _ = environments.step(action.numpy())
            seen = torch.from_numpy(found)
            rewards.append(torch.from_numpy(reward).float())
            going_on.append(torch.from_numpy(~(ended | cut)).float())
        with torch.no_grad():
            returned = agent.critic(seen).squeeze(-1)
        returns = []
        for reward, goes_on in zip(reversed(rewards), reversed(going_on), strict=True):
            returned = reward + DISCOUNT * goes_on * returned
            returns.insert(0, returned)
        advantages = torch.stack(returns) - torch.stack(values)
        loss = -(torch.stack(logged) * advantages.detach()).mean() + 0.5 * advantages.square().mean()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(agent.parameters(), MAX_GRAD_NORM)
        optimizer.step()
        losses.append(loss.item())
    return Run.of_torch(losses, optimizer)


def main() -> Measured:
    """Learn with this package's optimizer and with torch's."""
    return measured("gymnasium", train(RMSprop), train(torch.optim.RMSprop))


if __name__ == "__main__":
    print(main())
