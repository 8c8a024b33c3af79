"""The learning-rate range test on anyone's own model, loss and loader, which stay as they were."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import LBFGS, Optimizer

from rmsprop.lab.tune.lr_range import FIRST, Floats, LrRange
from rmsprop.lab.tune.snapshot import kept
from rmsprop.torch import RMSprop

Takes = Literal["outputs", "model"]

# A single batch may be far off: the run is lost when the median of the last so many losses is too high.
_LAST = 5
# A batch whose loss isn't finite may be a bad one, and is left out; so many of them in a row are the model's doing.
_BAD_IN_A_ROW = 5
# As in the lab's training runs, ten times the initial loss doesn't come back.
_LOST = 10.0
FEWEST_STEPS = 20


def find_lr(
    model: nn.Module,
    loss: Callable[..., Tensor],
    loader: Iterable[Any],
    *,
    optimizer: Optimizer | None = None,
    low: float = 1e-7,
    high: float = 10.0,
    steps: int = 100,
    repeats: int = 3,
    loss_takes: Takes = "outputs",
    accumulate: int = 1,
    scaler: GradScaler | None = None,
    on_step: Callable[[int], object] | None = None,
    **rule: Any,
) -> LrRange:
    """Find a learning rate: train for some steps while it rises from low to high, and read it off the losses.

    Model, optimizer, loss, loader and the random states of torch, NumPy and Python are afterwards what they were, to
    the last bit, also after an error or Ctrl-C: parameters, buffers, gradients, modes, the optimizer's state and
    groups, the scaler. (Worker processes of a loader with ``persistent_workers`` keep random states of their own, and
    what a module holds in a list or another object of its own is not seen.) Each repeat starts from the same model and
    goes on with the loader's next batches. A model in evaluation mode is put into training mode for the test; one in
    training mode is left as it is, so that frozen parts stay frozen. A batch whose loss isn't finite is left out, up to
    five in a row, where the run is lost.

    Args:
        model: The model.
        loss: ``loss(outputs, targets)``, a scalar; the loader's batches are then pairs of inputs and targets, moved to
            the device of the model. With ``loss_takes="model"`` it is ``loss(model, batch)``, whatever a batch is.
        loader: Gives batches as often as it is asked to: a DataLoader, or a list of batches.
        optimizer: An optimizer of this model, used with its settings and its present state. Its groups keep the ratios
            of their learning rates; the rates of the test are those of the group with the highest. Default: a new
            `rmsprop.torch.RMSprop` made with ``rule``.
        low: The first learning rate. Default 1e-7.
        high: The last one. Default 10.
        steps: Steps from low to high. Default 100.
        repeats: How often, to tell the curve from the noise. Default 3.
        loss_takes: What the loss is called with: ``"outputs"`` (and targets) or ``"model"`` (and batch).
        accumulate: Batches per step, as you accumulate gradients: the loss is their mean. Default 1.
        scaler: The ``torch.amp.GradScaler`` of a training in float16. Autocast is up to the loss, or to a
            ``with torch.autocast(...)`` around the call. Default: none.
        on_step: Called after each step with the number of steps done, of ``steps * repeats`` at most. Default None.
        **rule: Arguments of `rmsprop.torch.RMSprop`, such as ``dialect="keras"`` or ``alpha=0.9``.

    Returns:
        The curve with its ``suggestion``, ``lowest_loss_lr`` and ``diverges_at``; ``plot()`` draws it.

    Raises:
        TypeError: If an argument is not what it should be, the loader can be gone through only once, or the loss
            doesn't return a tensor.
        ValueError: If a number is out of range, the loader is empty, there is nothing to train, or the loss isn't a
            scalar that depends on the model.

    Examples:
        >>> from torch.nn.functional import mse_loss
        >>> x = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
        >>> found = find_lr(nn.Linear(3, 1), mse_loss, [(x, x.sum(dim=1, keepdim=True))])
        >>> 1e-3 < found.suggestion < 1
        True

    Source: Smith, "Cyclical Learning Rates for Training Neural Networks", arXiv 1506.01186, section 3.3.
    """
    _check_numbers(low, high, steps, repeats, accumulate)
    if not (scaler is None or isinstance(scaler, GradScaler)):
        raise TypeError(f"scaler is a {type(scaler).__name__}: give a torch.amp.GradScaler, or None")
    _check_loader(loader)
    if isinstance(loss, type):
        raise TypeError(f"loss is the class {loss.__name__}: give one that is made, {loss.__name__}()")
    if not callable(loss):
        raise TypeError(f"loss is a {type(loss).__name__}: give a function or a module that returns a loss")
    if loss_takes not in get_args(Takes):
        raise ValueError(f"loss_takes is {loss_takes!r}: give 'outputs' or 'model'")
    optimizer = _optimizer(model, optimizer, rule)
    rates = np.geomspace(low, high, steps)
    losses = np.full((repeats, steps), math.inf)
    modules = [module for module in (model, loss) if isinstance(module, nn.Module)]
    update = _Update(optimizer, scaler, accumulate)
    with kept(modules, optimizer, loader, scaler) as snapshot, torch.enable_grad():
        batch_losses = _batch_losses(model, loss, loss_takes, _endless(loader))
        for repeat in range(repeats):
            snapshot.rewind()
            if not model.training:
                model.train()
            for step, value in enumerate(_sweep(update, rates, batch_losses, model)):
                losses[repeat, step] = value
                if on_step:
                    on_step(repeat * steps + step + 1)
            losses[repeat, 1 + np.flatnonzero(np.isfinite(losses[repeat])).max(initial=-1) :] = math.inf
    return LrRange(lrs=rates, losses=losses)


@dataclass(frozen=True)
class _Update:
    """How a step is made of the losses of batches."""

    optimizer: Optimizer
    scaler: GradScaler | None
    accumulate: int

    def backward(self, batch_losses: Iterator[Tensor]) -> float:
        """Add up the gradients of some batches, and return their mean loss."""
        total = 0.0
        for _ in range(self.accumulate):
            loss = next(batch_losses) / self.accumulate
            total += loss.item()
            if math.isfinite(total):
                (loss if self.scaler is None else self.scaler.scale(loss)).backward()
        return total

    def step(self, rate: float, shares: list[float]) -> None:
        """Update at a learning rate, of which each group has its share."""
        for group, share in zip(self.optimizer.param_groups, shares, strict=True):
            lr = group["lr"]
            group["lr"] = torch.full_like(lr, rate * share) if isinstance(lr, Tensor) else float(rate * share)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        torch.clear_autocast_cache()  # within an autocast of the caller's, it holds the weights from before the step


def _sweep(update: _Update, rates: Floats, batch_losses: Iterator[Tensor], model: nn.Module) -> Iterator[float]:
    """Take a step at each rate and give the loss before it, until the loss is lost; NaN for a step that is left out."""
    shares = _shares(update.optimizer)
    held = chain.from_iterable(group["params"] for group in update.optimizer.param_groups)
    parameters = [*model.parameters(), *held]
    seen: list[float] = []
    bad = 0
    for rate in rates:
        for parameter in parameters:
            parameter.grad = None
        loss = update.backward(batch_losses)
        bad = 0 if math.isfinite(loss) else bad + 1
        if bad == 0:
            seen.append(loss)
        if bad == _BAD_IN_A_ROW or (bad == 0 and _is_lost(seen, len(rates))):
            return
        yield math.nan if bad else loss
        if not bad:
            update.step(rate, shares)


def _is_lost(seen: list[float], steps: int) -> bool:
    """Tell whether the last losses are far above those that the sweep began with."""
    beginning = seen[: max(1, round(FIRST * steps))]
    first = float(np.median(beginning))
    scale = max(abs(first), max(beginning) - min(seen))  # a loss may well begin around 0
    return float(np.median(seen[-_LAST:])) > first + (_LOST - 1.0) * scale


def _batch_losses(
    model: nn.Module, loss: Callable[..., Tensor], takes: Takes, batches: Iterator[Any]
) -> Iterator[Tensor]:
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    for batch in batches:
        if takes == "model":
            value = loss(model, batch)
        else:
            inputs, targets = _pair(batch)
            value = loss(model(_moved(inputs, device)), _moved(targets, device))
        _check_loss(value)
        yield value


def _pair(batch: Any) -> tuple[Any, Any]:
    if isinstance(batch, tuple | list) and len(batch) == 2:
        return batch[0], batch[1]
    size = f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
    raise TypeError(
        f"the loader's batch is a {type(batch).__name__}{size} and not a pair of inputs and targets: "
        f'give a loss(model, batch) and loss_takes="model"'
    )


def _moved(value: Any, device: torch.device) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value


def _endless(loader: Iterable[Any]) -> Iterator[Any]:
    while True:
        empty = True
        for batch in loader:
            empty = False
            yield batch
        if empty:
            raise ValueError("the loader is empty: it must give at least one batch each time it is gone through")


def _shares(optimizer: Optimizer) -> list[float]:
    """Return each group's learning rate as a share of the highest; under a warm-up, of what they will be."""
    rates = [float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups]
    highest = max(rates)
    return [rate / highest for rate in rates] if highest > 0 else [1.0] * len(rates)


def _optimizer(model: nn.Module, optimizer: Optimizer | None, rule: Mapping[str, Any]) -> Optimizer:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}: give a torch.nn.Module")
    parameters = list(model.parameters())
    if any(nn.parameter.is_lazy(parameter) for parameter in parameters):
        raise ValueError("the model has lazy layers, which have no parameters yet: run one batch through it first")
    if not any(parameter.requires_grad for parameter in parameters):
        raise ValueError("the model has nothing to train: none of its parameters has requires_grad=True")
    if optimizer is None:
        return RMSprop(parameters, **{"lr": 1.0} | dict(rule))  # any rate: the test sets its own
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer is a {type(optimizer).__name__}: give a torch.optim.Optimizer, or None")
    if rule:
        raise TypeError(f"{', '.join(rule)} would make a new RMSprop, and an optimizer is given: leave one of them out")
    if isinstance(optimizer, LBFGS):
        raise ValueError("optimizer is LBFGS, which searches its own step lengths: give one that steps once per batch")
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if not any(id(parameter) in held for parameter in parameters):
        raise ValueError("the optimizer holds none of the model's parameters: make it from model.parameters()")
    return optimizer


def _check_numbers(low: float, high: float, steps: int, repeats: int, accumulate: int) -> None:
    for name, count in (("steps", steps), ("repeats", repeats), ("accumulate", accumulate)):
        if not isinstance(count, int):
            raise TypeError(f"{name} is {count!r}: give a whole number")
    if not 0.0 < low < high < math.inf:
        raise ValueError(f"low is {low} and high is {high}: give 0 < low < high")
    if steps < FEWEST_STEPS:
        raise ValueError(f"steps is {steps}: give at least {FEWEST_STEPS}")
    for name, count in (("repeats", repeats), ("accumulate", accumulate)):
        if count < 1:
            raise ValueError(f"{name} is {count}: give at least 1")


def _check_loader(loader: Iterable[Any]) -> None:
    if isinstance(loader, Iterator):
        raise TypeError(
            f"the loader is a {type(loader).__name__}, which can be gone through only once: give a DataLoader or a "
            f"list of batches"
        )
    if not isinstance(loader, Iterable):
        raise TypeError(f"the loader is a {type(loader).__name__}: give a DataLoader or a list of batches")


def _check_loss(loss: Tensor) -> None:
    if not isinstance(loss, Tensor):
        raise TypeError(f"the loss returned a {type(loss).__name__}: it must return a tensor with one element")
    if loss.numel() != 1:
        raise ValueError(f"the loss has the shape {tuple(loss.shape)}: it must be a scalar, such as a mean")
    if not loss.requires_grad:
        raise ValueError("the loss doesn't depend on a parameter that requires a gradient: was it detached?")
