"""What a range test's losses say: where the loss begins to fall, where it is lowest, where it diverges."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rmsprop.lab.format import short

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]

# The suggestion is where the loss has done so much of its whole fall, and the curve is smoothed with a Gaussian this
# wide. Measured on digits, breast-cancer, wine, diabetes and linear (momentum 0 and 0.9, v₀ 0 and 1; six tests each) by
# `benchmarks/suggestion.py`: the loss after 30 epochs is 1.3 times that at the best of twelve rates (geometric mean;
# worst 3.8). At a tenth of the rate of the lowest loss it is 1.6 times (worst 27).
FALLEN, SMOOTHING_DECADES = 0.3, 0.32
# The loss before anything is learnt is the median over this first share of the sweep.
FIRST = 0.2
# A fall has to be so many times its own standard error: of sweeps over pure noise one or two in a hundred have such a
# fall, be it normal or lognormal, of 20 steps or of 400; where its tails are heavy that takes repeats.
SIGNIFICANT = 3.5
# The scatter of normal noise is this many times its median absolute deviation.
_MAD = 1.4826
# A median's variance is this many times that of a mean, if the noise is normal.
_MEDIAN = math.pi / 2


@dataclass(frozen=True, eq=False, repr=False)
class LrRange:
    """The result of a range test.

    Args:
        lrs: The learning rates, rising.
        losses: A row per repeat: the loss that was seen when the step at each rate began; infinite from where the
            repeat diverged on, and not a number where a single batch's loss wasn't finite and the step was left out.

    Examples:
        >>> lrs = np.geomspace(1e-4, 1, 41)
        >>> found = LrRange(lrs, 1 / (1 + 100 * lrs[None]))
        >>> round(found.suggestion, 3)
        0.004
        >>> found
        LrRange(suggestion=0.00398, lowest_loss_lr=1, diverges_at=None, repeats=1)
    """

    lrs: Floats
    losses: Floats

    def __repr__(self) -> str:
        """Return what was found in one line; the curves, of hundreds of numbers, are in the fields."""
        suggestion = None if self.problem else self.suggestion
        found = {"suggestion": suggestion, "lowest_loss_lr": self.lowest_loss_lr, "diverges_at": self.diverges_at}
        words = [f"{name}={value if value is None else short(value)}" for name, value in found.items()]
        return f"LrRange({', '.join(words)}, repeats={len(self.losses)})"

    @cached_property
    def typical(self) -> Floats:
        """The median of the repeats at each rate, up to where most of them diverged.

        Where no repeat has a number it lies between its neighbours.
        """
        known = ~np.isnan(self.losses).all(axis=0)
        middle = np.full(len(self.lrs), math.inf)
        middle[known] = np.nanmedian(self.losses[:, known], axis=0)
        if known.any():
            middle[~known] = np.interp(np.flatnonzero(~known), np.flatnonzero(known), middle[known])
        return middle[: np.argmin(np.isfinite(middle))] if not np.isfinite(middle[-1]) else middle

    @cached_property
    def smoothed(self) -> Floats:
        """The typical loss, smoothed over a third of a decade of learning rate; in its logarithm if it is positive."""
        weights, losses = self._weights, self.typical
        smooth: Floats = np.exp(weights @ np.log(losses)) if (losses > 0).all() else weights @ losses
        return smooth

    @property
    def suggestion(self) -> float:
        """The learning rate to train with: where the loss has done 30 % of its fall.

        Raises:
            ValueError: If the loss fell at none of the rates.
        """
        if self.problem:
            raise ValueError(self.problem)
        begin, end = self._initial, self.smoothed[self._lowest]
        place = self._lowest
        while place > 0 and self.smoothed[place - 1] <= begin - FALLEN * (begin - end):
            place -= 1
        return float(f"{self.lrs[place]:.3g}")

    @property
    def suggestions(self) -> tuple[float, ...]:
        """What each repeat on its own suggests; one whose loss fell nowhere has none."""
        alone = [LrRange(self.lrs, row[None]) for row in self.losses]
        return tuple(found.suggestion for found in alone if not found.problem)

    @property
    def lowest_loss_lr(self) -> float:
        """The learning rate at which the smoothed loss was lowest: already too high to train with.

        Not a number if the loss diverged at the first rate.
        """
        return float(self.lrs[self._lowest]) if len(self.typical) else math.nan

    @property
    def diverges_at(self) -> float | None:
        """The learning rate at which most repeats diverged: not finite, or far above where they began; else None."""
        return float(self.lrs[len(self.typical)]) if len(self.typical) < len(self.lrs) else None

    @property
    def problem(self) -> str:
        """Why there is no suggestion, and what to do, a sentence; empty if there is one."""
        if not self.cause:
            return ""
        if self._diverged_early:
            return f"{self.cause}: give a lower low, or look at the model and its data"
        reach = "" if self.diverges_at else " or a higher high"
        return f"{self.cause}: give more steps{reach}, or look at the model and its data"

    @cached_property
    def cause(self) -> str:
        """Why there is no suggestion; empty if there is one."""
        if self._diverged_early:
            return f"the loss diverged at a learning rate of {short(float(self.lrs[len(self.typical)]))} already"
        if self._initial - self.smoothed[self._lowest] > SIGNIFICANT * self._fall_error:
            return ""
        return f"the loss fell at no learning rate from {short(self.lrs[0])} to {short(self.lrs[-1])}"

    @property
    def note(self) -> str:
        """What to know about the suggestion, and what to do; empty if there is nothing."""
        remedies = ("give a higher high", "look at the data")
        return "; ".join(f"{r}: {remedy}" for r, remedy in zip(self.remarks, remedies, strict=True) if r)

    @property
    def remarks(self) -> tuple[str, str]:
        """That the loss was still falling at the end, and that steps were left out; empty where it wasn't so."""
        is_falling = not self.cause and self.diverges_at is None and self._lowest == len(self.lrs) - 1
        falling = f"the loss was still falling at {short(self.lrs[-1])}" if is_falling else ""
        bad, seen = int(np.isnan(self.losses).sum()), int((~np.isinf(self.losses)).sum())
        were = "step was" if bad == 1 else "steps were"
        return falling, f"{bad} of {seen} {were} left out because the loss of a batch wasn't finite" if bad else ""

    @property
    def _diverged_early(self) -> bool:
        return len(self.typical) <= FIRST * len(self.lrs)

    def as_dict(self) -> dict[str, Any]:
        """Return everything as numbers, lists and strings, for JSON."""
        return {
            "suggestion": None if self.problem else self.suggestion,
            "suggestions": list(self.suggestions),
            "lowest_loss_lr": self.lowest_loss_lr,
            "diverges_at": self.diverges_at,
            "problem": self.problem,
            "note": self.note,
            "lrs": self.lrs.tolist(),
            "losses": self.losses.tolist(),
            "smoothed": self.smoothed.tolist(),
        }

    def plot(self) -> Figure:
        """Draw the losses over the learning rate, with the suggestion and where the loss diverged.

        Returns:
            A matplotlib figure: ``.savefig("lr.png")`` writes it, a notebook shows it.

        Raises:
            ModuleNotFoundError: If matplotlib is not installed.
        """
        from rmsprop.lab.drawing import empty_figure
        from rmsprop.lab.tune.range_curve import range_curve

        with empty_figure() as figure:
            range_curve(self, "loss", figure.add_subplot())
        return figure

    @cached_property
    def _lowest(self) -> int:
        return int(np.argmin(self.smoothed))

    @cached_property
    def _initial(self) -> float:
        return float(np.median(self.typical[: self._beginning]))

    @property
    def _beginning(self) -> int:
        return max(1, round(FIRST * len(self.lrs)))

    @cached_property
    def _weights(self) -> Floats:
        """What each loss counts for in each point of the smooth curve."""
        x = np.log10(self.lrs[: len(self.typical)])
        width = max(SMOOTHING_DECADES, x[1] - x[0]) if len(x) > 1 else 1.0
        weights: Floats = np.exp(-0.5 * ((x[:, None] - x) / width) ** 2)
        weights /= weights.sum(axis=1, keepdims=True)
        return weights

    @property
    def _fall_error(self) -> float:
        """The standard error of the difference between the initial and the lowest loss."""
        squares = np.square(self._weights).sum(axis=1)
        # The smooth curve follows each loss a little, the more the fewer there are: distances from it are too small.
        shrunk = np.sqrt(1.0 - 2.0 * np.diag(self._weights) + squares)
        until = max(self._lowest + 1, len(self.typical) // 2)
        distances = np.abs(self.typical - self.smoothed)[:until] / shrunk[:until]
        scatter = _MAD * float(np.median(distances))
        return scatter * math.sqrt(squares[self._lowest] + _MEDIAN / self._beginning)
