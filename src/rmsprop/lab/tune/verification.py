"""A learning rate verified: runs at a third, at it and at three times it, moved until the best is in the middle."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rmsprop.lab.tune.trials import Setting, Trials, Tried, best, rounded

# Neighbouring learning rates differ by this factor, as in the rule "try a third and three times of it".
FACTOR = 3.0
# A suggestion that is 3⁸ = 6561 times off isn't one; a loss that falls at every rate has no best.
_MOST_MOVES = 8
# Rates whose loss is at most so much above the best are called as good.
AS_GOOD = 0.05


@dataclass(frozen=True, kw_only=True)
class Verification:
    """The runs around a suggested learning rate.

    Args:
        suggested: The learning rate that was to be verified.
        tried: What came of each rate, rising.
        bracketed: Whether the best lies between two that are worse.
    """

    suggested: float
    tried: tuple[Tried, ...]
    bracketed: bool

    @property
    def best(self) -> Tried:
        """The rate with the lowest loss."""
        return best(self.tried)

    @property
    def moved(self) -> bool:
        """Whether another rate than the suggested one was best."""
        return self.best.setting.lr != self.suggested

    def as_dict(self) -> dict[str, Any]:
        """Return everything as numbers, lists and strings, for JSON."""
        return {
            "suggested": self.suggested,
            "best": self.best.setting.lr,
            "moved": self.moved,
            "bracketed": self.bracketed,
            "tried": [one.as_dict() for one in self.tried],
        }


def verify(trials: Trials, stage: str, setting: Setting, seeds: Sequence[int], epochs: int) -> Verification:
    """Run at lr/3, lr and 3·lr, and further on the side that is better, until neither neighbour of the best is better.

    Args:
        trials: Tries settings.
        stage: What to call it while it runs.
        setting: The setting with the suggested learning rate.
        seeds: The seeds, the same at each rate.
        epochs: Epochs of each run.

    Returns:
        The verification.
    """
    rates = {shift: rounded(setting.lr * FACTOR**shift) for shift in (-1, 0, 1)}
    tried: dict[int, Tried] = {}
    for _ in range(_MOST_MOVES):
        new = [shift for shift in rates if shift not in tried]
        found = trials.run(stage, [setting.with_(lr=rates[shift]) for shift in new], seeds, epochs)
        tried |= dict(zip(new, found, strict=True))
        winner = best(list(tried.values()))
        place = next(shift for shift, one in tried.items() if one is winner)
        missing = [shift for shift in (place - 1, place + 1) if shift not in tried]
        if not missing:
            break
        rates |= {shift: rounded(setting.lr * FACTOR**shift) for shift in missing}
    ordered = tuple(tried[shift] for shift in sorted(tried))
    return Verification(suggested=rates[0], tried=ordered, bracketed=not missing)


def as_good(tried: Sequence[Tried], share: float = AS_GOOD) -> tuple[float, float]:
    """Return the range of learning rates whose loss is at most a little above the best.

    Between two rates that were tried the loss is taken to be a straight line over the logarithm of the rate.

    Args:
        tried: Rates that differ in nothing else, rising; at least one that didn't diverge.
        share: How much above the best, as a share of its size. Default 0.05.

    Returns:
        The lowest and the highest such rate. An end that wasn't reached is the last rate that was tried.
    """
    rates = [one.setting.lr for one in tried]
    losses = [one.typical for one in tried]
    lowest = min(losses)
    bound = lowest + share * abs(lowest)
    place = losses.index(lowest)
    left, right = place, place
    while left > 0 and losses[left - 1] <= bound:
        left -= 1
    while right < len(rates) - 1 and losses[right + 1] <= bound:
        right += 1
    low = _crossing(rates, losses, left, left - 1, bound) if left else rates[0]
    high = _crossing(rates, losses, right, right + 1, bound) if right < len(rates) - 1 else rates[-1]
    return low, high


def _crossing(rates: list[float], losses: list[float], inside: int, outside: int, bound: float) -> float:
    if math.isinf(losses[outside]):
        return rates[inside]
    share = (bound - losses[inside]) / (losses[outside] - losses[inside])
    return float(f"{rates[inside] * (rates[outside] / rates[inside]) ** share:.2g}")
