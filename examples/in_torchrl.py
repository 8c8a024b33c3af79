"""TorchRL: an A2C loss over a tensordict's data, its value estimator, and an optimizer over the loss module.

The loss module holds actor and critic, and its ``parameters()`` are what the optimizer gets.
"""

from __future__ import annotations

import io

import torch
from tensordict import TensorDict
from tensordict.nn import ProbabilisticTensorDictModule, ProbabilisticTensorDictSequential, TensorDictModule
from torch import nn
from torchrl.modules import ValueOperator
from torchrl.objectives import A2CLoss

from examples.measuring import Measured, Run, measured
from rmsprop.torch import RMSprop

STEPS, SAVED, ENVIRONMENTS, LENGTH = 12, 6, 4, 8


def module() -> A2CLoss:
    """Return actor and critic with the loss of both."""
    torch.manual_seed(0)
    scores = TensorDictModule(nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 2)), ["observation"], ["logits"])
    choice = ProbabilisticTensorDictModule(
        ["logits"], ["action"], distribution_class=torch.distributions.Categorical, return_log_prob=True
    )
    critic = ValueOperator(nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1)), ["observation"])
    loss = A2CLoss(ProbabilisticTensorDictSequential(scores, choice), critic)
    loss.make_value_estimator()  # its numbers are part of a state dict, so it is there before one is loaded
    return loss


def collected(step: int) -> TensorDict:
    """Return what a collector would bring: here noise, so that a step depends on nothing but its number."""
    random = torch.Generator().manual_seed(step)
    shape = (ENVIRONMENTS, LENGTH)
    ended = torch.zeros(*shape, 1, dtype=torch.bool)
    then = {
        "observation": torch.randn(*shape, 4, generator=random),
        "reward": torch.randn(*shape, 1, generator=random),
        "done": ended,
        "terminated": ended,
    }
    now = {
        "observation": torch.randn(*shape, 4, generator=random),
        "action": torch.randint(2, shape, generator=random),
    }
    return TensorDict({**now, "next": TensorDict(then, shape)}, shape)


def train(optimizer_class: type[torch.optim.Optimizer], saved: io.BytesIO, *, resume: bool = False) -> Run:
    """Train, and save half-way.

    Args:
        optimizer_class: What trains.
        saved: What was saved.
        resume: Go on from it instead. Default False.
    """
    loss_module = module()
    optimizer = optimizer_class(loss_module.parameters(), lr=7e-4, alpha=0.99, eps=1e-5)
    if resume:
        saved.seek(0)
        state = torch.load(saved)
        loss_module.load_state_dict(state["loss"])
        optimizer.load_state_dict(state["optimizer"])
    losses = []
    for step in range(SAVED if resume else 0, STEPS):
        if step == SAVED and not resume:
            torch.save({"loss": loss_module.state_dict(), "optimizer": optimizer.state_dict()}, saved)
        data = collected(step)
        with torch.no_grad():
            loss_module.value_estimator(data)
        found = loss_module(data)
        loss = found["loss_objective"] + found["loss_critic"] + found["loss_entropy"]
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(loss_module.parameters(), 0.5)
        optimizer.step()
        losses.append(loss.item())
    return Run.of_torch(losses, optimizer)


def main() -> Measured:
    """Train with this package's optimizer, with torch's, and on from what the first saved."""
    saved = io.BytesIO()
    ours, theirs = train(RMSprop, saved), train(torch.optim.RMSprop, io.BytesIO())
    return measured("torchrl", ours, theirs, train(RMSprop, saved, resume=True).losses)


if __name__ == "__main__":
    print(main())
