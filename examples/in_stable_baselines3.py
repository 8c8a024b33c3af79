"""Stable-Baselines3's A2C: the optimizer by ``policy_kwargs``, with the settings of its published Atari runs.

Unless told otherwise A2C trains with torch's RMSprop. ``dialect="sb3"`` stands for `RMSpropTFLike`, which the published
runs take. `A2C.save` keeps the optimizer's state, and `A2C.load` finds it.
"""

from __future__ import annotations

import tempfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from stable_baselines3 import A2C
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from stable_baselines3.common.utils import set_random_seed

from examples.measuring import Measured, Run, measured
from rmsprop.torch import RMSprop

STEPS = 100


class Losses(BaseCallback):
    """The loss of the value function after every update."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[float] = []

    def _on_rollout_start(self) -> None:
        values = self.logger.name_to_value
        if "train/value_loss" in values:
            self.found.append(float(values["train/value_loss"]))

    def _on_step(self) -> bool:
        return True


def learn(model: A2C, steps: int) -> list[float]:
    """Return the losses of so many steps in the environment."""
    set_random_seed(0)
    losses = Losses()
    model.learn(steps, callback=losses, reset_num_timesteps=False, log_interval=None)
    return losses.found


def agent(optimizer_class: type[torch.optim.Optimizer], **settings: Any) -> A2C:
    """Return an agent that balances a pole."""
    policy = {"optimizer_class": optimizer_class, "optimizer_kwargs": {"alpha": 0.99, "eps": 1e-5, **settings}}
    return A2C("MlpPolicy", "CartPole-v1", policy_kwargs=policy, seed=0, device="cpu", learning_rate=7e-4)


def main() -> Measured:
    """Learn with this package's optimizer and with theirs, and with an agent that was saved in between."""
    mine, their = agent(RMSprop, dialect="sb3"), agent(RMSpropTFLike)
    losses = learn(mine, STEPS)
    with tempfile.TemporaryDirectory() as name:
        mine.save(Path(name) / "agent")
        pole = deepcopy(mine.get_env())  # as it stands
        saved = A2C.load(Path(name) / "agent", env=pole, device="cpu", force_reset=False)
    losses += learn(mine, STEPS)
    resumed = learn(saved, STEPS)
    ours = Run.of_torch(losses, mine.policy.optimizer)
    theirs = Run.of_torch(learn(their, STEPS) + learn(their, STEPS), their.policy.optimizer)
    return measured("stable-baselines3", ours, theirs, resumed)


if __name__ == "__main__":
    print(main())
