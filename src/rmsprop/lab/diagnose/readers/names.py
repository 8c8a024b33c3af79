"""Which of some columns or tags is the loss, which the validation loss, the learning rate and the time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rmsprop.lab.errors import InputError

# Steps before epochs, because a file with both counts the rows in steps.
_TIMES = ("step", "global_step", "trainer/global_step", "iteration", "iter", "batch", "epoch")
_HELD_OUT = {"val", "valid", "validation", "dev", "eval", "test", "held"}
_LOSSES = {"loss", "objective", "cost", "nll", "perplexity"}
_RATES = {"lr", "learning_rate", "learningrate"}
# Where a logger writes the same loss twice, the one per epoch goes with the validation.
_PER_EPOCH = "epoch"


@dataclass(frozen=True)
class Roles:
    """What columns or tags are.

    Args:
        loss: The training loss.
        validation: The validation loss; None if there is none.
        lr: The learning rate; None if there is none.
        time: The steps or epochs; None if there are none.
    """

    loss: str
    validation: str | None = None
    lr: str | None = None
    time: str | None = None

    @property
    def used(self) -> list[str]:
        """The names of the numbers."""
        return [name for name in (self.loss, self.validation, self.lr) if name]


def guess(names: Sequence[str], where: str, loss: str | None, validation: str | None) -> Roles:
    """Tell which name means what.

    Args:
        names: The names of columns or tags.
        where: What they are of, for an error.
        loss: The training loss, if it was named.
        validation: The validation loss, if it was named.

    Returns:
        The roles.

    Raises:
        InputError: If a name that was given isn't there, or if none or several could be meant.

    Examples:
        >>> guess(["epoch", "accuracy", "loss", "val_accuracy", "val_loss"], "log.csv", None, None)
        Roles(loss='loss', validation='val_loss', lr=None, time='epoch')
    """
    for option, given in (("--loss", loss), ("--validation", validation)):
        if given is not None and given not in names:
            raise InputError(f"{option} {given!r} is not in {where}: it has {', '.join(names)}")
    losses = [name for name in names if _words(name) & _LOSSES]
    trained = [name for name in losses if not _words(name) & _HELD_OUT and name != validation]
    held_out = [name for name in losses if _words(name) & _HELD_OUT and name != loss]
    return Roles(
        loss or _only(trained, names, where, "--loss", "training loss"),
        validation or (_only(held_out, names, where, "--validation", "validation loss") if held_out else None),
        next((name for name in names if _is_rate(name)), None),
        next((name for time in _TIMES for name in names if name.lower() == time), None),
    )


def _only(candidates: Sequence[str], names: Sequence[str], where: str, option: str, what: str) -> str:
    if not candidates:
        raise InputError(f"{where} has no column that looks like a {what}: name one of {', '.join(names)} by {option}")
    plain = [
        name for name in candidates if len(_words(name) - {"train", "training", "valid", "val", "validation"}) == 1
    ]
    epoch = [name for name in candidates if _PER_EPOCH in _words(name)]
    for narrower in (candidates, plain, epoch):
        if len(narrower) == 1:
            return narrower[0]
    raise InputError(f"{where} has several that may be the {what}: name one of {', '.join(candidates)} by {option}")


def _words(name: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()))


def _is_rate(name: str) -> bool:
    last = re.split(r"[/.]", name.lower())[-1].replace(" ", "_").replace("-", "_")
    return last in _RATES or name.lower().startswith("lr-")
