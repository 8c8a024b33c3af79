"""PyMARL's QMIX: the recipe's settings, one optimizer for agents and mixer, a target network, files as PyMARL's.

The learner is PyMARL's in small: recurrent agents with shared weights, whose values a network mixes that grows in each
of them. Episodes are random; there is no StarCraft here.
"""

from __future__ import annotations

import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from examples.measuring import Measured, Run, measured
from rmsprop import RECIPES
from rmsprop.torch import RMSprop

AGENTS, ACTIONS, SEEN, STATE, HIDDEN = 3, 5, 10, 12, 16
STEPS, EPISODES, LENGTH, COPIED_EVERY = 16, 8, 6, 5
RECIPE = RECIPES["qmix"]
# What PyMARL's configuration calls lr, optim_alpha and optim_eps.
SETTINGS: dict[str, Any] = {"lr": RECIPE.lr, "alpha": RECIPE.rule.decay, "eps": RECIPE.rule.eps}


class Agents(nn.Module):
    """Values of each agent's actions, from what it has seen so far."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = nn.GRU(SEEN, HIDDEN, batch_first=True)
        self.values = nn.Linear(HIDDEN, ACTIONS)

    def forward(self, seen: Tensor) -> Tensor:
        """Return values, shape (episodes, length, agents, actions)."""
        apart = seen.transpose(1, 2).flatten(0, 1)
        values = self.values(self.memory(apart)[0])
        return values.unflatten(0, (-1, AGENTS)).transpose(1, 2)


class Mixer(nn.Module):
    """The value of all agents' actions together: grows in each agent's."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Linear(STATE, AGENTS)
        self.offset = nn.Sequential(nn.Linear(STATE, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 1))

    def forward(self, values: Tensor, state: Tensor) -> Tensor:
        """Return values, shape (episodes, length)."""
        return (self.weights(state).abs() * values).sum(-1) + self.offset(state).squeeze(-1)


class Learner:
    """What PyMARL calls a QLearner.

    Args:
        optimizer_class: What trains.
    """

    def __init__(self, optimizer_class: type[torch.optim.Optimizer]) -> None:
        torch.manual_seed(0)
        self.agents, self.mixer = Agents(), Mixer()
        self.params = [*self.agents.parameters(), *self.mixer.parameters()]
        self.optimizer = optimizer_class(self.params, **SETTINGS)
        self.copy()

    def copy(self) -> None:
        """Let the target networks be what the networks are now."""
        self.targets = deepcopy((self.agents, self.mixer))

    def train(self, step: int) -> float:
        """Return the loss of an update."""
        random = torch.Generator().manual_seed(step)
        seen = torch.randn(EPISODES, LENGTH, AGENTS, SEEN, generator=random)
        state = torch.randn(EPISODES, LENGTH, STATE, generator=random)
        actions = torch.randint(ACTIONS, (EPISODES, LENGTH, AGENTS, 1), generator=random)
        rewards = torch.randn(EPISODES, LENGTH - 1, generator=random)
        chosen = self.agents(seen).gather(-1, actions).squeeze(-1)
        agents, mixer = self.targets
        with torch.no_grad():
            best = mixer(agents(seen).amax(-1), state)[:, 1:]
        error = self.mixer(chosen, state)[:, :-1] - (rewards + 0.99 * best)
        loss = error.square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.params, RECIPE.clipping["max_grad_norm"])
        self.optimizer.step()
        if (step + 1) % COPIED_EVERY == 0:
            self.copy()
        return loss.item()

    def save(self, folder: Path) -> None:
        """Write agent.th, mixer.th and opt.th."""
        torch.save(self.agents.state_dict(), folder / "agent.th")
        torch.save(self.mixer.state_dict(), folder / "mixer.th")
        torch.save(self.optimizer.state_dict(), folder / "opt.th")

    def load(self, folder: Path) -> None:
        """Read them; the target networks are then what the networks are, as in PyMARL."""
        self.agents.load_state_dict(torch.load(folder / "agent.th"))
        self.mixer.load_state_dict(torch.load(folder / "mixer.th"))
        self.optimizer.load_state_dict(torch.load(folder / "opt.th"))
        self.copy()


def main() -> Measured:
    """Learn with this package's optimizer, with torch's, and on from files of the first, saved when it copied."""
    saved = 2 * COPIED_EVERY
    mine, theirs, again = Learner(RMSprop), Learner(torch.optim.RMSprop), Learner(RMSprop)
    losses = [mine.train(step) for step in range(saved)]
    with tempfile.TemporaryDirectory() as folder:
        mine.save(Path(folder))
        again.load(Path(folder))
    losses += [mine.train(step) for step in range(saved, STEPS)]
    their_losses = [theirs.train(step) for step in range(STEPS)]
    resumed = [again.train(step) for step in range(saved, STEPS)]
    return measured(
        "torch", Run.of_torch(losses, mine.optimizer), Run.of_torch(their_losses, theirs.optimizer), resumed
    )


if __name__ == "__main__":
    print(main())
