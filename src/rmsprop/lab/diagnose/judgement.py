"""All rules, applied to a history."""

from __future__ import annotations

from dataclasses import replace

from rmsprop.lab.diagnose import curves, layers, precision
from rmsprop.lab.diagnose.finding import SEVERITIES, Diagnosis, Finding, Rule
from rmsprop.lab.diagnose.history import History

RULES = (
    Rule("the course of the loss", curves.course),
    Rule("overfitting", curves.overfitting),
    Rule("warm-up too hot", curves.warm_up),
    Rule("dead layers", layers.dead),
    Rule("exploding gradients", layers.exploding),
    Rule("ε too large to adapt", layers.epsilon),
    Rule("ε too small for the dtype", precision.epsilon),
    Rule("averages frozen", precision.frozen),
    Rule("squared gradients underflow", precision.underflow),
    Rule("centered variance collapsed", layers.centered),
    Rule("decay too small for the batch", layers.decay),
)


def diagnose(history: History) -> Diagnosis:
    """Say what a history shows.

    Args:
        history: The history.

    Returns:
        What was found, the worst first, and what couldn't be judged.

    Examples:
        >>> from rmsprop.lab.diagnose.history import Curve
        >>> losses = Curve(tuple(range(1, 101)), tuple(1 / step for step in range(1, 101)))
        >>> diagnose(History(name="mine", source="nowhere", unit="epoch", train=losses)).findings[0].kind
        'still falling'
    """
    found: list[Finding] = []
    not_judged = {}
    for rule in RULES:
        result = rule.check(_until_lost(history, found))
        if isinstance(result, str):
            not_judged[rule.looks_for] = result
        else:
            found += result
    found.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return Diagnosis(history, tuple(found), not_judged)


def _until_lost(history: History, found: list[Finding]) -> History:
    """Return a history without what was measured after a divergence: it only repeats that nothing is finite."""
    end = next((finding.since for finding in found if finding.kind == "diverged"), None)
    if end is None or history.statistics is None:
        return history
    return replace(history, statistics=history.statistics.until(end))
