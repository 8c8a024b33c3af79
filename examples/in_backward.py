"""Steps inside backward: no gradient outlives its parameter's update, and micro-batches add up before it.

PyTorch's own recipe for this has an optimizer per parameter, and a hook that steps it; `step_in_backward` does the same
with one optimizer, which schedulers and state dicts see as ever.
"""

from __future__ import annotations

import io

import torch

from examples.measuring import Measured, Run, digits, measured
from rmsprop.torch import RMSprop, step_in_backward

STEPS, SAVED, BATCH = 16, 8, 32


def network() -> torch.nn.Sequential:
    """Return the network that is trained, with the weights that it starts from."""
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))


def losses_of(model: torch.nn.Module, steps: range) -> list[float]:
    """Return the losses of steps that backward takes."""
    pixels, labels = map(torch.from_numpy, digits())
    losses = []
    for step in steps:
        batch = slice(step % 8 * BATCH, (step % 8 + 1) * BATCH)
        loss = torch.nn.functional.cross_entropy(model(pixels[batch]), labels[batch])
        loss.backward()
        assert all(param.grad is None for param in model.parameters())
        losses.append(loss.item())
    return losses


def with_hooks(model: torch.nn.Module) -> dict[torch.nn.Parameter, torch.optim.Optimizer]:
    """Let each parameter's gradient step an optimizer of its own, as PyTorch's tutorial does."""
    optimizers = {param: torch.optim.RMSprop([param], lr=1e-3) for param in model.parameters()}

    def step(param: torch.nn.Parameter) -> None:
        optimizers[param].step()
        optimizers[param].zero_grad()

    for param in optimizers:
        param.register_post_accumulate_grad_hook(step)
    return optimizers


def main() -> Measured:
    """Train with this package's steps in backward, with PyTorch's recipe, and on from what the first saved."""
    model, saved = network(), io.BytesIO()
    optimizer = RMSprop(model.parameters(), lr=1e-3)
    handle = step_in_backward(optimizer)
    losses = losses_of(model, range(SAVED))
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, saved)
    losses += losses_of(model, range(SAVED, STEPS))
    handle.remove()

    again = network()
    resumed = RMSprop(again.parameters(), lr=1e-3)
    step_in_backward(resumed)
    saved.seek(0)
    state = torch.load(saved)
    again.load_state_dict(state["model"])
    resumed.load_state_dict(state["optimizer"])

    their_model = network()
    optimizers = with_hooks(their_model)
    their_losses = losses_of(their_model, range(STEPS))
    each = [Run.of_torch([], one) for one in optimizers.values()]
    theirs = Run(losses=their_losses, step=lambda: [one.step() for one in each], paths=[])
    ours = Run.of_torch(losses, optimizer)
    return measured("torch", ours, theirs, losses_of(again, range(SAVED, STEPS)))


if __name__ == "__main__":
    print(main())
