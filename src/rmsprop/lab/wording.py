"""The numbers of a fact as a sentence, and its advice as one. What can be set is called as whoever asks can set it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rmsprop.lab.format import percent
from rmsprop.lab.verdict.facts import Advice, Change, Fact


@dataclass(frozen=True)
class Terms:
    """How to speak of a run.

    Args:
        settings: For each change how it is made, with ``{}`` for its value. One that isn't there has no setting, and
            one that is None can't be made.
        unit: What time is counted in.
        point: What the curves have a point for.
        start: When the first point was.
        judged: What the loss is called that the course is told of.
        kept: The best point, if its weights were kept. Default None: they weren't.
    """

    settings: Mapping[Change, str | None]
    unit: str
    point: str
    start: str
    judged: str
    kept: int | None = None

    def last(self, duration: float) -> str:
        """Return words that go on from "the last": ``"epoch"``, ``"5 epochs"``.

        Args:
            duration: The time.

        Returns:
            The words.
        """
        return self.unit if duration == 1 else f"{duration:.0f} {self.unit}s"


# What to do, as an order.
_ORDERS: Mapping[Change, str] = {
    "lower lr": "try a smaller learning rate",
    "raise lr": "try a larger learning rate",
    "another lr": "try another learning rate",
    "let lr fall": "let it fall",
    "train longer": "train longer",
    "more patience": "wait longer for a lower one",
    "stop earlier": "stop earlier",
    "smaller model": "shrink the model",
    "larger model": "try a larger model",
    "more weight decay": "raise the weight decay",
    "clip gradients": "clip the norm of the gradient",
    "other inputs": "try other inputs",
    "find what isn't finite": "look there for a value in the data that isn't finite, a division or a logarithm of 0, "
    "or a number too large for 16 bits",
}


def remedy(advice: Sequence[Advice], terms: Terms) -> str:
    """Return advice as a sentence.

    Args:
        advice: What to do; one of these.
        terms: How to speak of the run.

    Returns:
        The sentence, empty if there is nothing to do.

    Examples:
        >>> terms = Terms({"lower lr": "--lr {:.2g}"}, "epoch", "epoch", "before the first step", "loss")
        >>> remedy([Advice("lower lr", 0.01)], terms)
        'Try a smaller learning rate: --lr 0.01.'
        >>> remedy([Advice("lower lr", 0.01), Advice("smaller model")], terms)
        'Try a smaller learning rate (--lr 0.01), or shrink the model.'
    """
    advice = [each for each in advice if terms.settings.get(each.change, "") is not None]
    if not advice:
        return ""
    if advice[-1].change == "warm up":
        slowly = f"the first steps are the largest, so {terms.settings['warm up']} may help too."
        return f"{remedy(advice[:-1], terms).rstrip('.').replace(': ', ', ')}; {slowly}"
    orders = [_order(each, terms, ": {}" if len(advice) == 1 else " ({})") for each in advice]
    sentence = ", or ".join([", ".join(orders[:-1]), orders[-1]] if len(orders) > 1 else orders)
    if any(each.change == "other inputs" for each in advice):
        return f"The inputs may not tell the target: {sentence}."
    return f"{sentence[0].upper()}{sentence[1:]}."


def _order(advice: Advice, terms: Terms, shape: str) -> str:
    setting = terms.settings.get(advice.change)
    if setting is None or ("{" in setting and advice.value is None):
        return _ORDERS[advice.change]
    return _ORDERS[advice.change] + shape.format(setting.format(advice.value))


def evidence(fact: Fact, terms: Terms) -> str:
    """Return what a fact rests on, as a sentence.

    Args:
        fact: The fact.
        terms: How to speak of the run.

    Returns:
        The sentence.
    """
    return _EVIDENCE[fact.kind](fact, terms)


def _diverged(fact: Fact, terms: Terms) -> str:
    n = fact.numbers
    if math.isnan(n["initial"]):
        return f"The training loss is {n['loss']} from the beginning."
    first = f"from an initial {n['initial']:.3g}"
    if math.isfinite(n["loss"]):
        above = "over ten times" if n["initial"] > 0.0 else "far above"  # of a number below 0 that would be lower
        return f"The training loss rose to {n['loss']:.3g}, {above} an initial {n['initial']:.3g}."
    counted = ""
    if "count" in n:
        counted = f", and stayed so; {_counted(fact)}, the first at {terms.unit} {n['first']:.0f}"
    return f"The training loss became {n['loss']}, {first}{counted}."


def _counted(fact: Fact) -> str:
    count, of = fact.numbers["count"], fact.numbers["of"]
    return f"{count:.0f} of {of:.0f} losses {'is' if count == 1 else 'are'} not finite"


def _not_finite(fact: Fact, terms: Terms) -> str:
    n = fact.numbers
    which = f"{_counted(fact)}".replace("losses", f"{fact.sign.removesuffix(' loss')} losses")
    only = "it is" if n["count"] == 1 else "the first is"
    back = f"from {terms.unit} {n['recovered']:.0f} on they are finite again"
    last = back if math.isfinite(n["recovered"]) else "they aren't finite again before the end"
    return f"{which}: {only} {n['value']} at {terms.unit} {n['first']:.0f}, and {last}."


def _overfitting(fact: Fact, terms: Terms) -> str:
    n = fact.numbers
    went = "fell" if n["train_now"] < n["train_then"] else "stayed"
    course = f"fell from {n['train_then']:.3g} to" if went == "fell" else "stayed at"
    best = f"The best {terms.unit}" if fact.since else f"Of the {terms.unit}s after it the best"
    kept = "" if terms.kept is None else f" {best} was {terms.kept}: its weights were kept."
    return (
        f"Since then the validation loss rose from {n['lowest']:.3g} to {n['end']:.3g} while the training loss "
        f"{course} {n['train_now']:.3g}.{kept}"
    )


def _stopped_early(fact: Fact, terms: Terms) -> str:
    n = fact.numbers
    stopped = f"the run stopped after {terms.unit} {n['last']:.0f}"
    if "best" not in n:
        return f"Over the last {terms.last(n['patience'])} the validation loss got no lower, so {stopped}."
    return (
        f"The validation loss was lowest at {terms.unit} {n['best']:.0f}, {n['lowest']:.3g}, and got no lower in "
        f"{n['patience']:.0f} {terms.unit}{'s' * (n['patience'] != 1)}, so {stopped}."
    )


def _stalled(fact: Fact, terms: Terms) -> str:
    n = fact.numbers
    if fact.sign == "lost again":
        return f"The training loss had fallen to {n['lowest']:.3g} and is around {n['end']:.3g} at the end."
    if fact.sign == "unsteady":
        return (
            f"The {terms.judged} goes up and down: around {n['end']:.3g}, it changes by {n['change']:.2g} per "
            f"{terms.point}."
        )
    constant = f"; a constant answer has {n['constant']:.3g}" if math.isfinite(n["constant"]) else ""
    return f"The training loss was {n['initial']:.3g} {terms.start} and is {n['end']:.3g} at the end{constant}."


def _guessing(fact: Fact, terms: Terms) -> str:
    n = fact.numbers
    relation = "no less than" if n["end"] >= n["constant"] else "hardly less than"
    kept = ", and these weights were kept" if n["best"] == terms.kept else ""
    before = f" At {terms.unit} {n['best']:.0f} it was {n['lowest']:.3g}{kept}." if _was_better(fact) else ""
    return (
        f"The validation loss is {n['end']:.3g} at the end, {relation} the {n['constant']:.3g} of the best constant "
        f"answer.{before}"
    )


def _was_better(fact: Fact) -> bool:
    """Tell whether a loss that ends no better than guessing was better before."""
    n = fact.numbers
    return n["lowest"] < min(n["constant"], n["end"])


def _falling(fact: Fact, terms: Terms) -> str:
    n = fact.numbers
    span = f"from {n['before']:.3g} to {n['now']:.3g}"
    if fact.sign == "cut short by the schedule":
        return (
            f"When the schedule had halved the learning rate, after {terms.unit} {fact.since}, the {terms.judged} was "
            f"falling: over the last {terms.last(n['duration'])} {span}. It ended at {n['end']:.3g}."
        )
    judged = "training loss" if fact.sign == "training loss" else terms.judged
    noisy = "; the validation loss is too noisy to tell" if fact.sign == "training loss" else ""
    share = f"by {percent((n['before'] - n['now']) / abs(n['before']))}, " if n["before"] > 0.0 <= n["now"] else ""
    return f"Over the last {terms.last(n['duration'])} the {judged} fell {share}{span}{noisy}."


def _converged(fact: Fact, terms: Terms) -> str:
    n = fact.numbers
    return (
        f"The {terms.judged} is {fact.sign}: {n['now']:.3g} over the last {terms.last(n['duration'])}, "
        f"{n['before']:.3g} before; from {terms.point} to {terms.point} it changes by {n['noise']:.2g}."
    )


def _spikes(fact: Fact, terms: Terms) -> str:
    n, points = fact.numbers, "stretches" if terms.point == "stretch" else f"{terms.point}s"
    return (
        f"In {n['count']:.0f} of {n['of']:.0f} {points} a loss stood out; in {terms.unit} {n['at']:.0f} it reached "
        f"{n['highest']:.3g}, where the worst of the {points} before was around {n['usual']:.3g}."
    )


_EVIDENCE: Mapping[str, Callable[[Fact, Terms], str]] = {
    "diverged": _diverged,
    "loss not finite": _not_finite,
    "overfitting": _overfitting,
    "stalled": _stalled,
    "loss no better than guessing": _guessing,
    "still falling": _falling,
    "stopped early": _stopped_early,
    "converged": _converged,
    "spikes": _spikes,
}


@dataclass(frozen=True)
class Statement:
    """A fact in words.

    Args:
        headline: What it is, and since when.
        evidence: The numbers that it rests on, a sentence.
        remedy: What to do, a sentence; empty if there is nothing.
    """

    headline: str
    evidence: str
    remedy: str


_SINCE = {"spikes": "in", "loss not finite": "at"}


def statement(fact: Fact, terms: Terms) -> Statement:
    """Return a fact in words.

    Args:
        fact: The fact.
        terms: How to speak of the run.

    Returns:
        The statement.
    """
    return Statement(_headline(fact, terms), evidence(fact, terms), remedy(fact.advice, terms))


def _headline(fact: Fact, terms: Terms) -> str:
    if fact.kind == "loss no better than guessing" and _was_better(fact):
        return f"{fact.kind} at the end"
    if "step" in fact.numbers:
        return f"{fact.kind} at step {fact.numbers['step']:.0f}"
    if fact.since is None or fact.sign == "cut short by the schedule":
        return fact.kind
    return f"{fact.kind} {_SINCE.get(fact.kind, 'since')} {terms.unit} {fact.since}"
