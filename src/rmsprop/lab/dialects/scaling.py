"""One rule at another batch size: what changes, how long it remembers there, and what it takes for granted."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from rmsprop.horizon import half_life
from rmsprop.lab.dialects.calls import calls
from rmsprop.lab.errors import InputError
from rmsprop.rule import Rule

# A memory that halves faster than this many steps follows each batch alone: √v becomes |g|, and every step lr.
SHORTEST = 1.0
PRECONDITION = (
    "This holds where the gradient of a batch is mostly noise. Where it isn't (large batches, the end of a run on few "
    "rows), a larger batch brings less, and the learning rate is to be searched anew: rmsprop tune."
)


@dataclass(frozen=True, kw_only=True)
class Scaled:
    """A rule and its learning rate for two batch sizes.

    Args:
        dialect: The dialect whose defaults the rule starts from.
        rule: The rule.
        lr: Its learning rate.
        before: The batch size that they are for.
        after: The batch size that is wanted.
    """

    dialect: str
    rule: Rule
    lr: float
    before: int
    after: int

    @property
    def factor(self) -> float:
        """How many times as large the batch becomes."""
        return self.after / self.before

    @property
    def new_rule(self) -> Rule:
        """The rule for the batch size that is wanted."""
        return self.rule.scaled(self.factor)

    @property
    def new_lr(self) -> float:
        """Its learning rate."""
        return self.rule.scaled_lr(self.lr, self.factor)

    def settings(self) -> list[dict[str, Any]]:
        """Return what the rule is made of, before and after, with the formula of each."""
        old, new = self.rule, self.new_rule
        inside, decoupled = old.eps_inside_sqrt, old.weight_decay_mode != "l2"
        adds_up = old.momentum and not old.averaged_momentum
        rows: list[tuple[str, float, float, str, bool]] = [
            ("lr", self.lr, self.new_lr, "lr·√κ·(1 − μ^κ)/(1 − μ)" if adds_up else "lr·√κ", True),
            ("decay", old.decay, new.decay, "ρ^κ", True),
            ("eps", old.eps, new.eps, "ε/κ" if inside else "ε/√κ", True),
            ("initial_square_avg", old.initial_square_avg, new.initial_square_avg, "v₀/κ", bool(old.initial_average)),
            ("momentum", old.momentum, new.momentum, "μ^κ", bool(old.momentum)),
            (
                "weight_decay",
                old.weight_decay,
                new.weight_decay,
                "λ·κ·lr/new lr" if decoupled else "λ",
                bool(old.weight_decay),
            ),
            (
                "weight_decay_max_lr",
                old.weight_decay_max_lr,
                new.weight_decay_max_lr,
                "as lr",
                bool(old.weight_decay and old.weight_decay_max_lr),
            ),
        ]
        names = ("setting", "before", "after", "formula")
        return [dict(zip(names, row[:-1], strict=True)) for row in rows if row[-1]]

    def horizons(self, tokens: int | None) -> list[dict[str, Any]]:
        """Return how long each average remembers, in steps, in samples and in tokens.

        Args:
            tokens: The tokens of a sample; None where a sample isn't made of tokens.
        """
        found = []
        for name in ("decay", "momentum"):
            old, new = getattr(self.rule, name), getattr(self.new_rule, name)
            if 0.0 < old < 1.0 and 0.0 < new < 1.0:
                steps = {"before": half_life(old), "after": half_life(new)}
                samples = steps["before"] * self.before
                row = {"average": name, "steps": steps, "samples": samples}
                found.append(row | ({} if tokens is None else {"tokens": samples * tokens}))
        return found

    def remarks(self) -> list[str]:
        """Return what to know before using it."""
        said = [PRECONDITION]
        if self.factor != 1.0:
            said.append(
                f"Schedules and warm-up that are counted in steps take {1 / self.factor:.4g} times as many; those "
                "counted in epochs stay."
            )
        decay = self.new_rule.decay
        if self.rule.decay > 0.0 and (decay == 0.0 or (decay < 1.0 and half_life(decay) < SHORTEST)):
            said.append(
                f"At ρ = {decay:.3g} half of the memory is the last batch: the average hardly averages any more, so "
                "don't scale that far in one go. A larger ρ is safer: try the old one."
            )
        return said

    def as_dict(self, tokens: int | None = None) -> dict[str, Any]:
        """Return everything as plain values, for JSON."""
        return {
            "dialect": self.dialect,
            "from": self.before,
            "to": self.after,
            "factor": self.factor,
            "settings": self.settings(),
            "half_lives": self.horizons(tokens),
            "calls": calls(self.dialect, _rounded(self.new_rule), float(f"{self.new_lr:.6g}")),
            "remarks": self.remarks(),
        }


def _rounded(rule: Rule) -> Rule:
    """Return a rule with six digits of each number, of a decay those of what it forgets."""
    numbers: dict[str, Any] = {
        name: float(f"{getattr(rule, name):.6g}")
        for name in ("eps", "initial_square_avg", "weight_decay", "weight_decay_max_lr")
    }
    for name in ("decay", "momentum"):
        numbers[name] = round(1.0 - float(f"{1.0 - getattr(rule, name):.6g}"), 15)
    return replace(rule, **numbers)


def scaled(dialect: str, rule: Rule, lr: float | None, before: int, after: int) -> Scaled:
    """Return a rule for another batch size.

    Args:
        dialect: A key of `rmsprop.DIALECTS`, whose defaults the rule starts from.
        rule: The rule.
        lr: Its learning rate.
        before: The batch size that both are for.
        after: The batch size that is wanted.

    Returns:
        What there is to say.

    Raises:
        InputError: If there is no learning rate, or the numbers leave the range of floats.

    Examples:
        >>> scaled("torch", Rule(), 0.01, 256, 1024).new_lr
        0.02
    """
    if lr is None:
        raise InputError(f"{dialect} has no default learning rate: give the one for batches of {before} with --lr")
    found = Scaled(dialect=dialect, rule=rule, lr=lr, before=before, after=after)
    try:
        _, new_lr = found.new_rule, found.new_lr
    except (ValueError, OverflowError) as error:
        raise InputError(f"from {before} to {after} is too far: {error}") from error
    if not math.isfinite(new_lr):
        raise InputError(f"from {before} to {after} is too far: the learning rate leaves the range of floats")
    return found
