"""Weights of classes in the loss, so that rare classes count as much as frequent ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.problem import Baseline
from rmsprop.lab.problems.table.datasets import Dataset

# The most weights that a note tells.
_TOLD = 5


def weighted(dataset: Dataset) -> tuple[Dataset, Tensor]:
    """Return what each class weighs: the training rows over the classes times the class's rows, as scikit-learn has it.

    Args:
        dataset: The data set.

    Returns:
        The data set with a note on them, and the weights. A class without a training row weighs 1.

    Raises:
        InputError: If its target is a number.
    """
    from sklearn.utils.class_weight import compute_class_weight

    if not dataset.classes:
        raise InputError(f"--class-weights balanced is for classes, and {dataset.target!r} is a number: leave it out")
    labels = dataset.train.y
    present = np.unique(labels)
    weights = torch.ones(len(dataset.classes))
    weights[present] = torch.from_numpy(compute_class_weight("balanced", classes=present, y=labels)).float()
    return replace(dataset, notes=(*dataset.notes, _note(dataset.target, dataset.classes, weights))), weights


def _note(target: str, classes: Sequence[str], weights: Tensor) -> str:
    told = [f"{weight:.3g} for {name!r}" for name, weight in zip(classes, weights.tolist(), strict=True)]
    if len(classes) > _TOLD:
        told = [f"from {weights.min():.3g} to {weights.max():.3g}"]
    return (
        f"{target}: each class counts alike in the loss, whose weights are {', '.join(told)} (--class-weights balanced)"
    )


def weighted_cross_entropy(weights: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean over rows of their cross-entropy times the weight of their class.

    It isn't divided by the sum of the batch's weights, as torch does it: a batch with one class alone would then count
    as if nothing were weighted.

    Args:
        weights: A weight for each class.
        outputs: Rows by classes.
        targets: The indices of the rows' classes.

    Returns:
        The loss.

    Examples:
        >>> round(weighted_cross_entropy(torch.tensor([1.0, 3.0]), torch.zeros(2, 2), torch.tensor([0, 1])).item(), 4)
        1.3863
    """
    return functional.cross_entropy(outputs, targets, weights, reduction="sum") / len(targets)


def equal_shares(labels: Tensor, guess: Baseline) -> Baseline:
    """Return the baseline of a weighted loss: equal shares of the classes; its guess is still the most frequent one.

    Args:
        labels: The indices of the training rows' classes.
        guess: The baseline of the loss without weights.

    Returns:
        The baseline. So that there is a largest output, the guess's is larger by a rounding error.
    """
    counts = labels.bincount(minlength=len(guess.output))
    present = (counts > 0).double()
    logits = (present / present.sum()).clamp_min(torch.finfo(torch.float32).tiny).log().float()
    logits[counts.argmax()] += 1e-6
    return replace(guess, output=logits)
