"""What a diagnosis is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from rmsprop.lab.diagnose.history import History, Unit

# The rule without which nothing can be said of a run.
COURSE = "the course of the loss"
# From a run that is lost to one that is well; what is worth saying of a healthy run is a note.
Severity = Literal["bad", "warning", "note", "fine"]
SEVERITIES: tuple[Severity, ...] = ("bad", "warning", "note", "fine")
Panel = Literal[
    "loss", "gradient", "effective", "ratio", "stride", "eps", "still", "collapsed", "jitter", "underflow", "held"
]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that a history shows.

    Args:
        kind: What it is, in a few words.
        severity: How bad it is.
        evidence: The numbers that it rests on, a sentence.
        remedy: What to do, a sentence; empty if there is nothing.
        since: When it began, or when it was; None if it is about the whole run.
        unit: What ``since`` is counted in. Default steps.
        layers: The layers that it is about; none if it is about all.
        panel: The curve on which it is marked. Default that of the loss.
    """

    kind: str
    severity: Severity
    evidence: str
    remedy: str = ""
    since: int | None = None
    unit: Unit = "step"
    layers: tuple[str, ...] = ()
    panel: Panel = "loss"

    @property
    def headline(self) -> str:
        """The kind, where, and since when."""
        where = f" in {', '.join(self.layers[:3])}{' ...' if len(self.layers) > 3 else ''}" if self.layers else ""
        at = "at" if self.kind in ("diverged", "loss not finite") else "since"
        since = "" if self.since is None else f" {at} {self.unit} {self.since}"
        return self.kind + where + since


@dataclass(frozen=True)
class Diagnosis:
    """What was found in a history.

    Args:
        history: The history.
        findings: What was found, the worst first.
        not_judged: What couldn't be judged -> why not.
    """

    history: History
    findings: tuple[Finding, ...]
    not_judged: dict[str, str]

    @property
    def severity(self) -> Severity:
        """That of the worst finding."""
        return min((finding.severity for finding in self.findings), key=SEVERITIES.index, default="fine")

    @property
    def healthy(self) -> bool | None:
        """Whether nothing has to be done: there are notes at most. None if not even the course of the loss is known."""
        if self.severity not in ("note", "fine"):
            return False
        return None if COURSE in self.not_judged else True

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON, without the curves."""
        return {
            "run": self.history.name,
            "source": self.history.source,
            "healthy": self.healthy,
            "findings": [asdict(finding) | {"headline": finding.headline} for finding in self.findings],
            "not_judged": dict(self.not_judged),
        }


# Returns what a rule finds, or why it can't judge.
Check = Callable[[History], Sequence[Finding] | str]


@dataclass(frozen=True)
class DiagnosticRule:
    """Something to look for.

    Args:
        looks_for: What it looks for, in a few words.
        check: Looks for it.
    """

    looks_for: str
    check: Check
