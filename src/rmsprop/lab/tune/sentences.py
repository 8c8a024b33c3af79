"""What was found, in words and with its uncertainty."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rmsprop.lab.dialects.formulas import number
from rmsprop.lab.format import percent, short
from rmsprop.lab.tune.verification import AS_GOOD

if TYPE_CHECKING:
    from rmsprop.lab.compare.statistics import Estimate
    from rmsprop.lab.tune.comparison import Contender
    from rmsprop.lab.tune.results import Tuning
    from rmsprop.lab.tune.verification import Verification

# Ratios from here on are told as such; smaller ones, and differences, as a share.
_TIMES, _LEAST = 2.0, 0.01


def summary(found: Tuning) -> tuple[str, ...]:
    """Say what was found.

    Args:
        found: The tuning.

    Returns:
        Sentences: the recommendation, how the learning rate was found, how flat it is, what else was tried.
    """
    said = [_recommendation(found), _chosen_on(found), _range_test(found), _verification(found), _flat(found)]
    said += [*_others(found), _more_seeds(found)]
    return tuple(sentence for sentence in said if sentence)


def _recommendation(found: Tuning) -> str:
    chosen = found.recommended
    if found.diverged:
        who = "Every run" if chosen.tried.diverged == len(found.seeds) else "More than a few runs"
        return f"{who} diverged, at every learning rate that was tried: look at the model and its data."
    if not found.works:
        return (
            f"Nothing to recommend: no learning rate that was tried brings the {found.measure} below what it is "
            f"before training, {short(found.untrained)}."
        )
    runs = f"after {found.epochs} epochs, with {len(found.seeds)} fresh seeds"
    text = f"Use {chosen.tried.setting.label}: {found.measure} {short(found.fresh.typical)} {runs}."
    if found.fresh.diverged:
        text += f" {found.fresh.diverged} of these {len(found.seeds)} runs diverged."
    return text


def _chosen_on(found: Tuning) -> str:
    """Say what the number is that made it the winner."""
    if not found.works:
        return ""
    own, count = short(found.recommended.tried.typical), len(found.seeds)
    return (
        f"With the {count} seeds that chose it among {len(found.contenders)} settings it has {own}; what follows is "
        "compared on these. Losses are interquartile means."
    )


def _range_test(found: Tuning) -> str:
    test = found.range_test
    if test.problem:
        begin = f"the short runs begin at {number(found.verification.suggested)}"
        return f"The range test suggests nothing: {test.cause}; {begin}."
    alone = sorted(test.suggestions)
    each = f", each seed on its own {short(alone[0], 2)} to {short(alone[-1], 2)}" if len(alone) > 1 else ""
    note = "".join(f"; {remark}" for remark in test.remarks if remark)
    return f"The range test over {len(test.losses)} seeds suggests {short(test.suggestion, 2)}{each}{note}."


def _verification(found: Tuning) -> str:
    early, long = found.verification, found.ladder
    if math.isinf(early.best.typical):
        return f"All of the short runs diverged, with the learning rates {_rates(early)}."
    lr, best = early.best.setting.lr, found.contenders[0].tried.setting.lr
    which = f"{number(lr)} is best and not {number(early.suggested)}" if early.moved else f"{number(lr)} is best"
    end = "" if long.bracketed else ", the last one tried"
    return (
        f"Of {_rates(early)}, in short runs of {found.short_epochs} epochs, {which}; in runs of full length it is "
        f"{number(best)}{end}."
    )


def _rates(checked: Verification) -> str:
    return ", ".join(number(one.setting.lr) for one in checked.tried)


def _flat(found: Tuning) -> str:
    if not found.works or math.isinf(found.contenders[0].tried.typical):
        return ""
    low, high = found.good_lrs
    rule = found.rule
    same = f"decay {number(rule.decay)} and ε {number(rule.eps)}{' in √' if rule.eps_inside_sqrt else ''}"
    if low == high:
        return f"With {same} no other learning rate that was tried ends within {percent(AS_GOOD)} of it."
    rates = f"from {number(low)} to {number(high)}"
    return f"With {same} the learning rates {rates} end within {percent(AS_GOOD)} of the best."


def _others(found: Tuning) -> list[str]:
    return [_other(found, one) for one in found.contenders[1:] if not one.is_neighbour]


def _other(found: Tuning, one: Contender) -> str:
    place = f"the {one.role}{' map' * ('×' in one.role)}"
    who = "The default learning rate" if one.is_default else f"The best of {place}"
    head = f"{who} ({one.tried.setting.label}): "
    if math.isinf(one.tried.typical):
        return f"{head}{one.tried.diverged} of {len(found.seeds)} runs diverged."
    return f"{head}{found.measure} {short(one.tried.typical)}, {verdict(found, one)}."


def verdict(found: Tuning, one: Contender) -> str:
    """Say how a setting compares with the best learning rate for the given rule.

    Args:
        found: The tuning.
        one: A contender.

    Returns:
        A few words.
    """
    first, difference = found.contenders[0].tried.typical, one.difference
    if difference is None:
        return "what the others are compared with"
    if math.isinf(one.tried.typical) or math.isinf(first):
        return "diverges" if math.isinf(one.tried.typical) else "doesn't diverge"
    seen = _seen(one, difference, first)
    if one.outcome == "as good":
        return f"as good: within {percent(AS_GOOD)}"
    if one.outcome == "unsettled":
        interval = f"{signed(difference.low)} to {signed(difference.high)}"
        return f"{seen} here, which {len(found.seeds)} seeds can't settle: not distinguishable, {interval}"
    return seen


def _seen(one: Contender, difference: Estimate, first: float) -> str:
    """Say what the runs show, be it by chance or not."""
    ratio = one.tried.typical / first if first > 0 else math.nan
    if ratio >= _TIMES:
        return f"{short(ratio, 2)} times as high"
    way = "lower" if difference.value < 0 else "higher"
    share = abs(difference.value) / abs(first) if first else math.inf
    return f"{way} by {percent(share)}" if share >= _LEAST else f"{way} by less than {percent(_LEAST)}"


def signed(value: float) -> str:
    """Return a difference to two digits, with its sign.

    Args:
        value: The difference.

    Returns:
        Its text.

    Examples:
        >>> signed(0.1234), signed(-math.inf)
        ('+0.12', '−∞')
    """
    text = short(abs(value), 2) if math.isfinite(value) else "∞"
    return f"{'−' if value < 0 else '+'}{text}"


def _more_seeds(found: Tuning) -> str:
    """Say what to do about differences that so few seeds can't settle, if there are such."""
    if not any(one.outcome == "unsettled" and not one.is_neighbour for one in found.contenders):
        return ""
    count = len(found.seeds)
    return f"What {count} seeds can't settle, more may: --seeds {4 * count} makes intervals half as wide, or less."
