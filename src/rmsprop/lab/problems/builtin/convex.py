"""Convex problems in float64 whose least objective is known, on all rows: what is judged is the optimizer alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from rmsprop.lab.problems.answers import Answers, positive_of
from rmsprop.lab.problems.problem import Baseline, Data, Metric, Problem
from rmsprop.lab.problems.table.tabular import MEAN, entropy, rmse, shares

Floats = npt.NDArray[np.float64]
# The objective of the logistic problem is that of the textbooks' (mean log-loss + 1e-3/2 times the squared weights).
_PENALTY = 1e-3


def logistic() -> Problem:
    """Return logistic regression of the tumours with L2 penalty, the bias penalised too.

    Returns:
        The problem; its optimum is found by scipy's L-BFGS, and its condition number there is about 140.

    Examples:
        >>> round(logistic().optimum, 6)
        0.059829
    """
    from sklearn.datasets import load_breast_cancer

    bunch = load_breast_cancer()
    names = tuple(map(str, bunch.target_names))
    rows = Data(_standardised(bunch.data), torch.from_numpy(bunch.target.astype(np.float64))[:, None])
    problem = Problem(
        name="logistic",
        make_model=lambda: nn.Linear(rows.x.shape[1], 1, dtype=torch.float64),
        loss=functional.binary_cross_entropy_with_logits,
        loss_name="log-loss with penalty (nats)",
        metric=Metric("accuracy", "", higher_is_better=True, of=_share_right),
        train=rows,
        validation=rows,
        test=rows,
        l2=_PENALTY,
        constant_loss=entropy(torch.from_numpy(bunch.target)),
        baseline=_always(torch.from_numpy(bunch.target), names),
        answers=Answers(classes=names, positive=positive_of(names, torch.from_numpy(bunch.target))),
    )
    return replace(problem, optimum=least_objective(problem))


def _always(labels: Tensor, names: Sequence[str]) -> Baseline:
    """Return the baseline of two classes for a model that puts out the logit of the second."""
    both = shares(labels, names)
    return Baseline(both.name, (both.output[1:] - both.output[:1]).double())


def least_squares() -> Problem:
    """Return least squares of the patients' disease progression.

    Returns:
        The problem; its optimum is the closed form's.

    Examples:
        >>> round(least_squares().optimum, 4)
        0.4823
    """
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes()
    rows = Data(_standardised(bunch.data), _standardised(bunch.target[:, None]))
    design = np.column_stack([rows.x.numpy(), np.ones(len(rows))])
    _, squares, _, _ = np.linalg.lstsq(design, rows.y.numpy(), rcond=None)
    return Problem(
        name="least-squares",
        make_model=lambda: nn.Linear(rows.x.shape[1], 1, dtype=torch.float64),
        loss=functional.mse_loss,
        loss_name="mean squared error (standardised)",
        metric=rmse("progression", float(bunch.target.std())),
        train=rows,
        validation=rows,
        test=rows,
        optimum=float(squares[0]) / len(rows),
        constant_loss=1.0,
        baseline=Baseline(MEAN, rows.y.mean(0)),
        answers=Answers(mean=float(bunch.target.mean()), scale=float(bunch.target.std())),
    )


def least_objective(problem: Problem) -> float:
    """Return the least objective of a convex problem on its training rows, to the last few bits.

    Args:
        problem: The problem, in float64.

    Returns:
        What scipy's L-BFGS reaches from the weights of seed 0.
    """
    from scipy.optimize import minimize

    model = problem.model(0)

    def value_and_gradient(weights: Floats) -> tuple[float, Floats]:
        vector_to_parameters(torch.from_numpy(weights), model.parameters())
        objective = problem.objective(model.parameters(), model(problem.train.x), problem.train.y)
        gradients = torch.autograd.grad(objective, list(model.parameters()))
        return objective.item(), parameters_to_vector(gradients).numpy()

    start: Floats = parameters_to_vector(model.parameters()).detach().numpy()
    options = {"maxiter": 10_000, "ftol": 0.0, "gtol": 1e-10}
    return float(minimize(value_and_gradient, start, jac=True, method="L-BFGS-B", options=options).fun)


def _standardised(values: Floats) -> Tensor:
    return torch.from_numpy((values - values.mean(axis=0)) / values.std(axis=0))


def _share_right(outputs: Tensor, targets: Tensor) -> Tensor:
    return ((outputs > 0) == (targets > 0.5)).double().mean()
