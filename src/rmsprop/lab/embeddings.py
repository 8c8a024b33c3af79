"""The gradients of embeddings: as rows, for optimizers that take the rows that a batch touched, or dense."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from rmsprop.lab.errors import InputError
from rmsprop.lab.optimizers import row
from rmsprop.lab.problems.problem import Problem


def prepare(model: nn.Module, problem: Problem, name: str) -> None:
    """Let the embeddings of a model have the gradients that an optimizer is compared with: rows, or dense ones.

    Args:
        model: The model, whose layers are changed.
        problem: What it learns.
        name: The optimizer's name.

    Raises:
        InputError: If the optimizer takes rows alone, and the gradient of a parameter isn't of rows.
    """
    give_rows(model, rows=row(name).sparse)
    if not row(name).dense:
        _refuse_dense(model, problem, name)


def check_optimizers(problem: Problem, names: Iterable[str]) -> None:
    """Look whether optimizers can take the gradients of a problem, before anything is trained.

    Args:
        problem: The problem.
        names: The optimizers' names.

    Raises:
        InputError: As of `prepare`.
    """
    for name in names:
        if not row(name).dense:
            prepare(problem.model(0), problem, name)


def give_rows(model: nn.Module, *, rows: bool) -> None:
    """Let the embeddings of a model have gradients of the rows that a batch touched, or dense ones.

    Args:
        model: The model, whose layers are changed.
        rows: Whether gradients are of rows.

    Examples:
        >>> model = nn.Embedding(3, 1)
        >>> give_rows(model, rows=True)
        >>> model.sparse
        True
    """
    for layer in model.modules():
        if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
            layer.sparse = rows


def _refuse_dense(model: nn.Module, problem: Problem, name: str) -> None:
    x, y = problem.train.x[:1], problem.train.y[:1]
    problem.objective(model.parameters(), model(x), y).backward()
    for parameter, value in model.named_parameters():
        if value.grad is not None and not value.grad.is_sparse:
            raise InputError(
                f"{name} takes the rows of embeddings alone, and in problem {problem.name} the gradient of {parameter} "
                "is dense: leave it out"
            )
    model.zero_grad()
