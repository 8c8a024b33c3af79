"""Tries a problem before it is trained on: what is broken is one sentence, not a traceback in the middle of a run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.answers import Answers
from rmsprop.lab.problems.problem import Data, Problem

_T = TypeVar("_T")


def check(problem: Problem, *, batch_norm: bool = False) -> None:
    """Refuse a problem that can't be trained on: a batch of each part is tried, then all of its rows.

    Args:
        problem: The problem.
        batch_norm: Whether the model may have batch norm, as `rmsprop train` allows: it changes its running statistics
            when it is called. Default False.

    Raises:
        InputError: If the data aren't finite, if model, loss or metric fail or return what they must not, if the model
            isn't a function of its parameters and inputs alone or its initial weights one of the seed alone, or if a
            parameter has no part in the loss.

    Examples:
        >>> from rmsprop.lab.problems import load
        >>> check(load("bowl"))
    """
    who = f"problem {problem.name}"
    for part, data in problem.parts.items():
        for name, tensor in (("x", data.x), ("y", data.y)):
            if not tensor.isfinite().all():
                raise InputError(f"{who}: {part}.{name} holds NaN or infinite values: leave these rows out")
    model = _model(who, problem)
    for data in problem.parts.values():
        rows = Data(data.x[: problem.batch_size], data.y[: problem.batch_size])
        outputs = _outputs(who, model, rows.x, batch_norm)
        loss = _scalar(f"{who}: the loss", partial(problem.loss, outputs, rows.y))
        _scalar(f"{who}: the metric", partial(problem.metric.of, outputs, rows.y))
        if problem.answers:
            _try_answers(who, problem.answers, outputs, rows.y)
        if not loss.isfinite():
            raise InputError(f"{who}: the loss is {loss.item()} before the first step: it must be finite")
        _gradients(who, loss, model)
    for part, data in problem.parts.items():
        _try(f"{who}: evaluating all {part} rows", partial(problem.evaluate, model, data))


def said(error: BaseException) -> str:
    """Return an exception in one line.

    Args:
        error: The exception.

    Returns:
        Its type and its message.

    Examples:
        >>> said(ValueError("no luck")), said(KeyError())
        ('ValueError: no luck', 'KeyError')
    """
    return " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")


def _model(who: str, problem: Problem) -> nn.Module:
    model = _try(f"{who}: make_model()", lambda: problem.model(0))
    if not isinstance(model, nn.Module):
        raise InputError(f"{who}: make_model() returned {_shape(model)}: it must return a torch.nn.Module")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError(f"{who}: the model has no parameters to train")
    if any(map(is_lazy, model.parameters())):
        raise InputError(f"{who}: the model has parameters of no shape yet: leave out lazy layers")
    _again(who, model, _try(f"{who}: make_model()", lambda: problem.model(0)))
    return model


def _again(who: str, model: nn.Module, second: nn.Module) -> None:
    """Refuse models that share what they train, or differ although the seed is the same."""
    other = dict(second.named_parameters())
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        if other.get(name) is parameter:
            raise InputError(f"{who}: make_model() returned the same parameters twice: make a new model at each call")
        if name not in other or not torch.equal(parameter.nan_to_num(), other[name].nan_to_num()):
            raise InputError(
                f"{who}: make_model() returned another {name} for the same seed: draw it from torch's random state"
            )


def _outputs(who: str, model: nn.Module, x: Tensor, batch_norm: bool) -> Tensor:
    """Return the outputs, if a second call gives the same: a run is to depend on its seed alone."""
    normal = _of_batch_norm(model)
    before = {name: buffer.clone() for name, buffer in model.named_buffers() if not (batch_norm and name in normal)}
    with torch.random.fork_rng(devices=[]):
        outputs = _try(f"{who}: the model", lambda: model(x))
        again = _try(f"{who}: the model", lambda: model(x))
    if not isinstance(outputs, Tensor) or not outputs.ndim or len(outputs) != len(x):
        raise InputError(
            f"{who}: the model returned {_shape(outputs)} for {len(x)} rows: it must return a row for each"
        )
    after = dict(model.named_buffers())
    changed = [name for name, buffer in before.items() if not torch.equal(buffer, after[name])]
    if changed:
        what = "leave out batch norm, which only rmsprop train takes" if changed[0] in normal else "leave that out"
        raise InputError(f"{who}: the model changes its buffer {changed[0]} when it is called: {what}")
    if not torch.equal(outputs, again):
        raise InputError(f"{who}: the model gives other outputs when called again: leave out dropout and noise")
    return outputs


def _of_batch_norm(model: nn.Module) -> set[str]:
    """Return the names of the buffers that batch norm keeps."""
    layers = [(path, layer) for path, layer in model.named_modules() if isinstance(layer, _BatchNorm)]
    return {f"{path}.{name}".lstrip(".") for path, layer in layers for name, _ in layer.named_buffers()}


def _gradients(who: str, loss: Tensor, model: nn.Module) -> None:
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not loss.requires_grad:
        raise InputError(f"{who}: the loss doesn't depend on the model's parameters: compute it from its outputs")
    gradients = torch.autograd.grad(loss, [parameter for _, parameter in named], allow_unused=True)
    for (name, _), gradient in zip(named, gradients, strict=True):
        if gradient is None:
            raise InputError(f"{who}: parameter {name} has no part in the loss: use it, or requires_grad_(False)")
        values = gradient._values() if gradient.is_sparse else gradient  # torch can't ask a sparse one
        if not values.isfinite().all():
            raise InputError(f"{who}: the gradient of {name} is not finite before the first step")


def _scalar(what: str, call: Callable[[], object]) -> Tensor:
    value = _try(what, call)
    if not isinstance(value, Tensor) or value.ndim or not value.is_floating_point():
        raise InputError(f"{what} returned {_shape(value)}: it must return one number, a tensor without dimensions")
    return value


def _try(what: str, call: Callable[[], _T]) -> _T:
    try:
        return call()
    except Exception as error:
        raise InputError(f"{what} raised {said(error)}") from error


def _try_answers(who: str, answers: object, outputs: Tensor, targets: Tensor) -> None:
    if not isinstance(answers, Answers):
        raise InputError(f"{who}: answers is {answers!r}: it must be an Answers(classes=...), or None")
    try:
        answers.check(outputs, targets)
    except InputError as error:
        raise InputError(f"{who}: {error}") from error


def _shape(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)} and dtype {value.dtype}"
    kind = type(value).__name__
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
