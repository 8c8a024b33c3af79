"""What a model's outputs and the targets stand for: classes, or numbers in a unit. Scores are computed of this."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rmsprop.lab.errors import InputError

# Words for the class that is looked for, where there are two.
_POSITIVE = ("1", "true", "yes", "y", "t", "positive", "pos")


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What outputs and targets stand for.

    Args:
        classes: The names of the classes, in the order of their indices, which are the targets. The model puts out a
            logit for each, or, of two classes, that of the second alone. Default none: targets are numbers.
        positive: Of two classes, the one that is looked for. Default None, the second.
        mean: What was subtracted from numbers to predict. Default 0.
        scale: What they were divided by then. Default 1.

    Raises:
        InputError: If there is one class, or two of a name, or the positive one is none of two.

    Examples:
        >>> Answers(classes=("no", "yes")).numbers_of(torch.tensor([0.5])).item()
        0.5
        >>> Answers(classes=("one",))
        Traceback (most recent call last):
        rmsprop.lab.errors.InputError: answers have the class 'one' alone: give the names of all, or none for numbers
    """

    classes: tuple[str, ...] = ()
    positive: str | None = None
    mean: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        """Check the names."""
        if len(self.classes) == 1:
            raise InputError(
                f"answers have the class {self.classes[0]!r} alone: give the names of all, or none for numbers"
            )
        if len(set(self.classes)) < len(self.classes):
            raise InputError("answers have two classes of one name: give each its own")
        if self.positive is not None and (len(self.classes) != 2 or self.positive not in self.classes):
            raise InputError(f"answers have the positive class {self.positive!r}: it must be one of two classes")

    @property
    def sought(self) -> str | None:
        """Of two classes the one that is looked for; None of more, and for numbers."""
        return (self.positive or self.classes[1]) if len(self.classes) == 2 else None

    def logits_of(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return a logit for each class.

        Args:
            outputs: The model's outputs.
            targets: The targets.

        Returns:
            Targets by classes, in float64.

        Raises:
            InputError: If there are neither as many outputs as targets, nor as many for each class.
        """
        rows = targets.numel()
        if outputs.numel() == rows * len(self.classes):
            return outputs.reshape(rows, len(self.classes)).double()
        if outputs.numel() == rows and len(self.classes) == 2:
            second = outputs.reshape(rows, 1).double()
            return torch.cat([torch.zeros_like(second), second], dim=1)
        raise InputError(
            f"answers have {len(self.classes)} classes, and the model puts out {outputs.numel()} numbers for {rows} "
            "targets: it must put out a logit for each class"
        )

    def numbers_of(self, values: Tensor) -> Tensor:
        """Return outputs or targets that are numbers in their own units.

        Args:
            values: The outputs or the targets, rows first.

        Returns:
            Rows by numbers, in float64.
        """
        return values.double().reshape(len(values), -1) * self.scale + self.mean

    def check(self, outputs: Tensor, targets: Tensor) -> None:
        """Refuse outputs and targets that don't stand for this.

        Args:
            outputs: The model's outputs.
            targets: The targets.

        Raises:
            InputError: If their shapes don't fit, or a target is no class.
        """
        if not self.classes:
            if outputs.numel() != targets.numel():
                raise InputError(
                    f"answers are numbers, and the model puts out {outputs.numel()} for {targets.numel()} targets: "
                    "they must be as many"
                )
            return
        self.logits_of(outputs, targets)
        lowest, highest = targets.min().item(), targets.max().item()
        if not (lowest >= 0 and highest < len(self.classes)) or (targets != targets.long()).any():
            raise InputError(
                f"answers have {len(self.classes)} classes, and targets go from {lowest:g} to {highest:g}: they must "
                "be their indices, which count from 0"
            )


def positive_of(classes: tuple[str, ...], labels: Tensor) -> str | None:
    """Return which of two classes is looked for: 1, true, yes, positive; where none is called so, the rarer one.

    Args:
        classes: The names of the classes.
        labels: The indices of the training rows' classes.

    Returns:
        The class; None if there aren't two.

    Examples:
        >>> labels = torch.tensor([0, 1, 1])
        >>> positive_of(("0", "1"), labels), positive_of(("churned", "stayed"), labels)
        ('1', 'churned')
    """
    if len(classes) != 2:
        return None
    called = [name for name in classes if name.lower() in _POSITIVE]
    if len(called) == 1:
        return called[0]
    first, second = labels.long().bincount(minlength=2).tolist()
    return classes[0] if first < second else classes[1]
