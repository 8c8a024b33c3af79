"""All rules, applied to a history."""

from __future__ import annotations

from dataclasses import replace

from rmsprop.lab.diagnose import curves, layers, precision
from rmsprop.lab.diagnose.dead_layers import dead
from rmsprop.lab.diagnose.finding import COURSE, SEVERITIES, Diagnosis, DiagnosticRule, Finding
from rmsprop.lab.diagnose.history import History
from rmsprop.lab.diagnose.segments import curves_of
from rmsprop.lab.diagnose.warm_up import warm_up

RULES = (
    DiagnosticRule(COURSE, curves.course),
    DiagnosticRule("overfitting", curves.overfitting),
    DiagnosticRule("warm-up too hot", warm_up),
    DiagnosticRule("dead layers", dead),
    DiagnosticRule("exploding gradients", layers.exploding),
    DiagnosticRule("ε too large to adapt", layers.epsilon),
    DiagnosticRule("ε too small for the dtype", precision.epsilon),
    DiagnosticRule("averages frozen", precision.frozen),
    DiagnosticRule("squared gradients underflow", precision.underflow),
    DiagnosticRule("weights held still by rounding", precision.held),
    DiagnosticRule("centered variance collapsed", layers.centered),
    DiagnosticRule("decay too small for the batch", layers.decay),
)


def diagnose(history: History) -> Diagnosis:
    """Say what a history shows.

    Args:
        history: The history.

    Returns:
        What was found, the worst first, and what couldn't be judged.

    Examples:
        >>> from rmsprop.lab.diagnose.history import Series
        >>> losses = Series(tuple(range(1, 101)), tuple(1 / step for step in range(1, 101)))
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
    """Return a history without what was measured after a divergence: it only repeats that nothing is finite.

    What led to it may be seen in the measurements of the same stretch of losses, which stay.
    """
    since = next((finding.since for finding in found if finding.kind == "diverged"), None)
    if since is None or history.statistics is None:
        return history
    curves = curves_of(history)
    ends = () if isinstance(curves, str) else curves.times
    return replace(
        history, statistics=history.statistics.until(min((end for end in ends if end >= since), default=since))
    )
