"""The last comparison: runs of full length with seeds that no earlier stage has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rmsprop.dialects import get_dialect
from rmsprop.lab.compare.statistics import Estimate, differences, estimate, resamples, simultaneous, widened
from rmsprop.lab.tune.maps import Map
from rmsprop.lab.tune.trials import Setting, Trials, Tried, best, rounded
from rmsprop.lab.tune.verification import AS_GOOD, FACTOR, Verification, as_good, verify

Floats = npt.NDArray[np.float64]

# In the last comparison the rates that stand at whole powers of three get neighbours half-way.
_BETWEEN = (-0.5, 0.5)
# The stages of the last comparison, and who takes part in it.
_LONG, _FINAL = "full length", "final comparison"
Outcome = Literal["lower", "higher", "as good", "unsettled"]
FOUND, OTHER_LR, DEFAULT = "best lr", "another lr", "default lr"


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A setting in the last comparison.

    Args:
        role: Why it is there, in a few words.
        tried: What came of it.
        difference: Its loss minus the first contender's, with the interval it may lie in; None for that itself.
        outcome: What can be said of that; None for the first itself.
    """

    role: str
    tried: Tried
    difference: Estimate | None
    outcome: Outcome | None

    @property
    def is_neighbour(self) -> bool:
        """Whether it is there only to show how flat the loss is over the learning rate."""
        return self.role == OTHER_LR

    @property
    def is_default(self) -> bool:
        """Whether it has the dialect's default learning rate."""
        return self.role == DEFAULT

    def as_dict(self) -> dict[str, Any]:
        """Return everything as numbers, lists and strings, for JSON."""
        difference = asdict(self.difference) if self.difference else None
        return {"role": self.role, **self.tried.as_dict(), "difference": difference, "outcome": self.outcome}


def compare(
    trials: Trials,
    centre: Setting,
    others: Mapping[str, Setting],
    seeds: Sequence[int],
) -> tuple[Verification, tuple[Contender, ...]]:
    """Verify the learning rate once more, in runs of full length with new seeds, and compare other rules with it.

    Args:
        trials: Tries settings.
        centre: The rule that was given, with the learning rate that short runs have verified.
        others: Other rules, by where they come from.
        seeds: New seeds.

    Returns:
        The runs around the learning rate, and all who took part: first the best learning rate for the rule.
    """
    epochs = trials.problem.epochs
    ladder = verify(trials, _LONG, centre, seeds, epochs)
    found = ladder.best.setting
    moved = found.lr / centre.lr  # long runs may want smaller steps: the other rules are given the same chance
    rates = [found.with_(lr=rounded(found.lr * FACTOR**power)) for power in _BETWEEN]
    if (default := get_dialect(centre.dialect).lr) is not None:
        rates.append(centre.with_(lr=default))
    pairs = [(other, other.with_(lr=rounded(other.lr * moved))) for other in others.values()]
    tried = trials.run(_FINAL, [*rates, *(setting for pair in pairs for setting in pair)], seeds, epochs)
    same = {one.setting: one for one in (*ladder.tried, *tried[: len(rates)])}
    first, *rest = sorted(same.values(), key=lambda one: (one is not best(list(same.values())), one.setting.lr))
    rivals = [best(tried[place : place + 2]) for place in range(len(rates), len(tried), 2)]
    roles = [DEFAULT if one.setting.lr == default else OTHER_LR for one in rest] + list(others)
    level = simultaneous(len(roles))
    contenders = [Contender(role=FOUND, tried=first, difference=None, outcome=None)]
    for role, one in zip(roles, [*rest, *rivals], strict=True):
        difference = apart(one.losses, first.losses, level)
        said = outcome(difference, first.typical)
        contenders.append(Contender(role=role, tried=one, difference=difference, outcome=said))
    return ladder, tuple(contenders)


def outcome(difference: Estimate, first: float) -> Outcome:
    """Return what can be said of a difference.

    Args:
        difference: How far a loss lies above another.
        first: That other loss.

    Returns:
        ``"lower"`` or ``"higher"`` beyond chance; else ``"as good"`` if all of the interval is within 5 % of the other
        loss, and ``"unsettled"`` if there may be more that so few seeds can't tell.

    Examples:
        >>> outcome(Estimate(0.16, -0.05, 0.4, 0.95), 0.085), outcome(Estimate(0.0, -0.001, 0.002, 0.95), 0.085)
        ('unsettled', 'as good')
    """
    if difference.decided:
        return "lower" if difference.value < 0 else "higher"
    return "as good" if max(-difference.low, difference.high) <= AS_GOOD * abs(first) else "unsettled"


def apart(losses: Floats, others: Floats, level: float) -> Estimate:
    """Return how far the losses of one setting lie above those of another, with the interval this may lie in.

    Args:
        losses: One per seed.
        others: The other setting's with the same seeds.
        level: The interval's confidence level.

    Returns:
        The difference. With few seeds its interval holds Student's, too.

    Examples:
        >>> found = apart(np.array([1.1, 1.2]), np.array([1.0, 1.0]), 0.95)
        >>> round(found.value, 2), found.decided
        (0.15, False)
    """
    apart = differences(losses, others)
    return widened(estimate(apart, resamples([0] * len(apart)), level=level), apart)


def winners(centre: Setting, maps: Sequence[Map], samples: Sequence[Tried]) -> dict[str, Setting]:
    """Return the other rules that were best somewhere.

    Args:
        centre: The rule that was given.
        maps: The maps.
        samples: The joint search.

    Returns:
        Where it was best -> the setting.
    """
    found = {f"lr × {one.title}": one.best.setting for one in maps}
    if samples:
        found["joint search"] = best(samples).setting
    return {role: setting for role, setting in found.items() if setting.rule != centre.rule}


def recommended(contenders: Sequence[Contender]) -> Contender:
    """Return the best learning rate for the given rule, unless another rule is better by enough and not by chance.

    Args:
        contenders: Who took part, the first of them first.

    Returns:
        The one to use.
    """
    first = contenders[0]
    bound = first.tried.typical - AS_GOOD * abs(first.tried.typical)
    better = [one for one in contenders[1:] if one.difference and one.difference.high < 0 and one.tried.typical < bound]
    return min(better, key=lambda one: one.tried.typical, default=first)


def good_lrs(contenders: Sequence[Contender]) -> tuple[float, float]:
    """Return the learning rates that end within 5 % of the best, with the given rule.

    Args:
        contenders: Who took part.

    Returns:
        The lowest and the highest.
    """
    rule = contenders[0].tried.setting.rule
    same = [one.tried for one in contenders if one.tried.setting.rule == rule]
    return as_good(sorted(same, key=lambda one: one.setting.lr))
