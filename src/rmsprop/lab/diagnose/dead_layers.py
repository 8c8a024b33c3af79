"""The rule that looks for layers without a gradient, and for the one that lets none through to the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rmsprop.lab.diagnose.finding import Finding
from rmsprop.lab.diagnose.history import History, Statistics
from rmsprop.lab.diagnose.layers import NOTHING_MEASURED

# A layer is dead if all of its gradient is 0 in so many measurements up to the last.
_ALL, _FEW = 0.999, 3


@dataclass(frozen=True)
class Dead:
    """A layer out of which nothing but 0 comes.

    The gradient of weights is the product of what goes into them and what comes back; where only the biases have one,
    nothing went in.

    Args:
        layer: Its position.
        next: The position of the layer that takes its output in, whose biases alone have a gradient.
        behind: The positions of the layers before it, which no gradient reaches either.
    """

    layer: int
    next: int
    behind: tuple[int, ...]


def dead(history: History) -> Sequence[Finding] | str:
    """Look for layers whose gradient is exactly 0 while others still have one."""
    statistics = history.statistics
    still = statistics.of("still") if statistics else None
    if still is None or statistics is None:
        return NOTHING_MEASURED
    zero = (still >= _ALL) & (_norms(statistics) == 0.0)
    known = ~np.isnan(still).all(axis=0)
    died = [i for i in range(still.shape[1]) if known[i] and len(still) >= _FEW and zero[-_FEW:, i].all()]
    if len(died) == known.sum():
        return []
    culprits = _culprits(statistics, died)
    explained = {i for each in culprits for i in (each.layer, *each.behind)}
    rest = [i for i in died if i not in explained]
    findings = [_of_culprit(statistics, zero, each) for each in culprits]
    # Biases alone have a gradient of 0 where as many rows pull up as down.
    if any(statistics.layers[i]["weights"] for i in rest):
        findings.append(_of_unreached(statistics, zero, rest))
    return findings


def _norms(statistics: Statistics) -> np.ndarray:
    norms = statistics.of("gradient")
    return np.zeros_like(statistics.values["still"]) if norms is None else norms


def _culprits(statistics: Statistics, died: Sequence[int]) -> list[Dead]:
    """Return the dead layers behind which a layer takes in nothing but 0, in the order of the model."""
    unfed = statistics.of("still_weights")
    if unfed is None:
        return []
    found: dict[int, Dead] = {}
    for following in range(unfed.shape[1]):
        before = [i for i in died if i < following]
        if following in died or not before or not (unfed[-_FEW:, following] >= 1.0).all():
            continue
        taken = [i for each in found.values() for i in (each.layer, *each.behind)]
        behind = tuple(i for i in before[:-1] if i not in taken)
        found.setdefault(before[-1], Dead(before[-1], following, behind))
    return list(found.values())


def _of_culprit(statistics: Statistics, zero: np.ndarray, culprit: Dead) -> Finding:
    since = _since(zero[:, culprit.layer])
    names = [layer["name"] for layer in statistics.layers]
    blocked = [names[i] for i in culprit.behind]
    past = f", nor does a gradient get past it to {', '.join(blocked)}" if blocked else ""
    begin = (
        "was so from the first step: initialise it anew; if it dies again, take a smaller learning rate, or"
        if since == 0
        else "learnt before: begin anew with a smaller learning rate; if it dies again,"
    )
    return Finding(
        kind="dead layer",
        severity="bad",
        evidence=f"Nothing but 0 comes out of it{past}: in its last {len(zero) - since} measurements every coordinate "
        f"of its gradient is exactly 0, and so is that of all weights of {names[culprit.next]}, which follows and "
        "whose biases still learn.",
        remedy=f"No unit of it is active. It {begin} use an activation that passes a gradient below 0, such as "
        "LeakyReLU.",
        since=statistics.steps[since],
        layers=(names[culprit.layer],),
        panel="still",
    )


def _of_unreached(statistics: Statistics, zero: np.ndarray, which: Sequence[int]) -> Finding:
    since = max(_since(zero[:, i]) for i in which)
    several = len(which) > 1
    return Finding(
        kind="dead layers" if several else "dead layer",
        severity="bad",
        evidence=f"Every coordinate of the gradient is exactly 0 in the last {len(zero) - since} measurements of the "
        f"layer{'s' if several else ''}, while others still learn.",
        remedy=f"No gradient gets to {'them' if several else 'it'}: look for what lets none through between "
        f"{'them' if several else 'it'} and the layers that learn, such as an activation that is 0 for all rows, a "
        "detach() or a factor of 0. If it is an activation, begin anew with a smaller learning rate, or use one that "
        "passes a gradient below 0, such as LeakyReLU.",
        since=statistics.steps[since],
        layers=tuple(statistics.layers[i]["name"] for i in which),
        panel="still",
    )


def _since(flags: np.ndarray) -> int:
    """Return the index since which all flags are true."""
    return int(len(flags) - np.argmin(flags[::-1])) if not flags.all() else 0
