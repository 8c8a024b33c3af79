"""Judges a run from its curves, in words and with the evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Literal

from rmsprop.lab.numbers import percent
from rmsprop.lab.train.curves import last_fall, smooth, tail, tail_length
from rmsprop.lab.train.history import Epoch
from rmsprop.lab.train.settings import FIXED_LENGTH_SCHEDULES

Kind = Literal["diverged", "spikes", "overfitting", "stalled", "still falling", "converged"]
Cause = Literal["learning rate too high", "learning rate too low"]

# Batches make the loss of two neighbouring epochs differ by a few per cent; a change below is not called one.
FALLING = 0.05
# That is meant for an end of so many epochs. A shorter one falls less, and is called falling for less.
FALLING_EPOCHS = 5
# Late in a run a large relative fall can be of no use: below this share of the initial loss it doesn't count.
WORTHWHILE = 0.002
# The validation loss of a finished run wanders by about 5 %, and by up to 11 % where it is a twentieth of the initial
# one (measured: the built-in problems, 3 seeds each). A rise has to be above both.
OVERFIT_RISE, OVERFIT_FLOOR = 0.10, 0.02
# A schedule ends with small steps, so every curve ends flat. What counts is whether the loss was falling by this share
# at the last epoch with at least half of the highest learning rate, and then fell by this share of the initial loss
# (measured: half of it at most in the built-in problems, 3 seeds each). Up to there it is seen in thirds: steps are
# large, so that in a fifth of a short run one bad epoch would decide.
HALF, CUT_SHORT, THIRDS = 0.5, 0.02, 3
# A loss that changes by this share of itself from epoch to epoch, and of the initial one, isn't settling anywhere.
UNSTEADY, UNSTEADY_FLOOR = 0.25, 0.01
# A step of RMSProp is about lr whatever the gradient, so torch's default is small enough for most weights: what to try
# after a divergence, if a tenth of what diverged is more.
SAFE_LR = 0.01
# Steps that are too small make the loss fall in nearly every epoch, and hardly; noise makes it fall in half of them.
STEADY = 0.8
# A run that keeps more than this share of its initial loss, or of a constant answer's loss, has learnt next to nothing.
UNCHANGED, CONSTANT = 0.90, 0.95
# A training loss that ends this much above its lowest, and by this share of the initial loss, has been lost again.
LOST_FACTOR, LOST_FLOOR = 1.5, 0.05
# A batch is a spike if its loss is so many times what the worst batches of the epochs before had, and not small.
SPIKE_FACTOR, SPIKE_FLOOR, SPIKE_MEMORY = 4.0, 0.5, 5


@dataclass(frozen=True)
class Words:
    """How a verdict names what can be set, and when something was; the defaults are those of `rmsprop train`.

    Args:
        lr: A learning rate.
        length: A length of a run that begins anew.
        longer: A length of a run that goes on from this one, or begins anew where it can't.
        decay: The decay.
        weight_decay: The weight decay.
        warmup: A short warm-up.
        schedule: A schedule that falls.
        piece: What the curves have a point for.
        pieces: Several of them.
        start: When the initial loss was.
        unit: What time is counted in.
        times: When each piece ended, 0 before the first. Default: the pieces themselves are counted.
    """

    lr: str = "--lr {:.2g}"
    length: str = "--epochs {} --force"
    longer: str = "--epochs {} --force"
    decay: str = "--decay"
    weight_decay: str = "--weight-decay"
    warmup: str = "--warmup 1"
    schedule: str = "--schedule cosine"
    piece: str = "epoch"
    pieces: str = "epochs"
    start: str = "before the first step"
    unit: str = "epoch"
    times: Sequence[int] = ()

    def time(self, piece: int) -> int:
        """Return when a piece ended.

        Args:
            piece: Its number, from 1; 0 is before the first.

        Returns:
            The epoch or the step.
        """
        return self.times[piece] if self.times else piece

    def until(self, piece: int) -> str:
        """Return how to ask for a run that ends after a piece.

        Args:
            piece: Its number.

        Returns:
            The words.
        """
        return self.length.format(self.time(piece))

    def twice(self, pieces: int) -> str:
        """Return how to ask for a run that is twice as long.

        Args:
            pieces: The number of pieces that there are.

        Returns:
            The words.
        """
        return self.longer.format(2 * self.time(pieces))

    def last(self, pieces: int, end: int = -1) -> str:
        """Return words that go on from "the last": ``"epoch"``, ``"5 epochs"``.

        Args:
            pieces: A number of pieces.
            end: The number of the last of them. Default: that of the run.

        Returns:
            The words.
        """
        length = pieces
        if self.times:
            end %= len(self.times)
            length = self.times[end] - self.times[end - pieces]
        return self.unit if length == 1 else f"{length} {self.unit}s"


def words_of(schedule: str) -> Words:
    """Return the words for a run of `rmsprop train`.

    Args:
        schedule: Its learning-rate schedule.

    Returns:
        The words: where it is drawn over the epochs, a run with more of them has to begin anew.

    Examples:
        >>> words_of("cosine").twice(60), words_of("constant").twice(60)
        ('--epochs 120 --force', '--resume --epochs 120')
    """
    return Words() if schedule in FIXED_LENGTH_SCHEDULES else Words(longer="--resume --epochs {}")


@dataclass(frozen=True)
class Record:
    """What a verdict is made from.

    Args:
        lr: The learning rate that was asked for.
        initial_loss: The training loss before the first step.
        initial_validation_loss: The validation loss before the first step.
        constant_loss: The training loss of the best constant answer.
        steps_per_epoch: Steps per epoch.
        epochs: The epochs that were completed.
        lost_at: The step at which the run diverged, if it did.
        lost_loss: The loss at that step.
        holds_out: Whether the validation rows are others than the training rows. Default True.
        words: How to name what can be set, and when something was. Default: those of `rmsprop train`.
    """

    lr: float
    initial_loss: float
    initial_validation_loss: float
    constant_loss: float
    steps_per_epoch: int
    epochs: Sequence[Epoch]
    lost_at: int | None = None
    lost_loss: float = math.nan
    holds_out: bool = True
    words: Words = Words()

    @property
    def judged(self) -> str:
        """What the loss is called that the verdict looks at."""
        return "validation loss" if self.holds_out else "loss"

    @property
    def train(self) -> list[float]:
        """The training loss from before the first step to the last epoch."""
        return [self.initial_loss, *(epoch.train_loss for epoch in self.epochs)]

    @property
    def validation(self) -> list[float]:
        """The validation loss from before the first step to the last epoch."""
        return [self.initial_validation_loss, *(epoch.validation_loss for epoch in self.epochs)]


@dataclass(frozen=True)
class Verdict:
    """A judgement.

    Args:
        kind: What it is, in a word or two.
        since: The epoch since which it holds, or the step of a divergence; None if it is about the whole run.
        evidence: The numbers that it rests on, a sentence.
        remedy: What to do, a sentence; empty if there is nothing.
        cause: What it comes from, where that is known. Default None.
    """

    kind: Kind
    since: int | None
    evidence: str
    remedy: str
    cause: Cause | None = None

    @property
    def headline(self) -> str:
        """The kind, and since when."""
        if self.since is None:
            return self.kind
        words = {"diverged": "at step", "spikes": "in epoch"}
        return f"{self.kind} {words.get(self.kind, 'since epoch')} {self.since}"


def judge(record: Record) -> tuple[Verdict, ...]:
    """Judge a run.

    Args:
        record: Its curves.

    Returns:
        The verdict; after it, spikes if there were any besides.

    Examples:
        >>> flat = [Epoch(n, n, 0.1, 0.2, 0.2, 1.0, 1.0, 0.2, {}) for n in range(1, 21)]
        >>> judge(Record(0.1, 1.0, 1.0, 0.7, 1, flat))[0].kind
        'converged'
    """
    if record.lost_at is not None:
        return (_diverged(record, record.lost_at),)
    # All but one measure by shares of a loss, and one below 0 has none.
    rules = (_falling,) if min(record.train + record.validation) < 0 else (_overfitting, _stalled, _falling, _unsteady)
    main = next((verdict for rule in rules if (verdict := rule(record))), None) or _converged(record)
    spikes = _spikes(record)
    return (main, spikes) if spikes else (main,)


def _diverged(record: Record, step: int) -> Verdict:
    loss = record.lost_loss
    what = f"rose to {loss:.3g}, over ten times" if math.isfinite(loss) else f"became {loss}, from"
    words = record.words
    remedy = f"Try a smaller learning rate, {words.lr.format(min(record.lr / 10, SAFE_LR))}"
    if not record.epochs:
        remedy += f"; the first steps are the largest, so {words.warmup} may help too"
    evidence = f"The training loss {what} an initial {record.initial_loss:.3g}."
    return Verdict("diverged", step, evidence, f"{remedy}.", "learning rate too high")


def _overfitting(record: Record) -> Verdict | None:
    if not record.holds_out:
        return None
    losses = smooth(record.validation)
    best = _last_lowest(losses, record.validation)
    end, rise = tail(record.validation), tail(record.validation) - losses[best]
    significant = rise > OVERFIT_RISE * losses[best] and rise > OVERFIT_FLOOR * record.initial_validation_loss
    train_then, train_now, words = record.train[best], tail(record.train), record.words
    if not significant or len(losses) - 1 - best < tail_length(losses) or train_now >= train_then:
        return None
    return Verdict(
        "overfitting",
        best,
        f"Since then the validation loss rose from {losses[best]:.3g} to {end:.3g} while the training loss fell from "
        f"{train_then:.3g} to {train_now:.3g}.",
        f"{f'Stop earlier ({words.until(best)}), s' if best else 'S'}hrink the model, or raise {words.weight_decay}.",
    )


def _last_lowest(smoothed: Sequence[float], losses: Sequence[float]) -> int:
    """Return where losses are lowest.

    Neighbouring medians are often the same number: the loss itself tells them apart. Of equal losses it is the last, as
    a curve that is still level hasn't risen yet.
    """
    return min(range(len(losses)), key=lambda n: (smoothed[n], losses[n], -n))


def _stalled(record: Record) -> Verdict | None:
    train, end = record.train, tail(record.train)
    lowest = min(smooth(train))
    if end > LOST_FACTOR * lowest and end - lowest > LOST_FLOOR * record.initial_loss:
        return Verdict(
            "stalled",
            _last_lowest(train, train),
            f"The training loss had fallen to {min(train):.3g} and is around {end:.3g} at the end.",
            f"Try a smaller learning rate: {record.words.lr.format(record.lr / 10)}.",
            "learning rate too high",
        )
    if _falling(record) or (end < UNCHANGED * record.initial_loss and end < CONSTANT * record.constant_loss):
        return None
    constant = f"; a constant answer has {record.constant_loss:.3g}" if math.isfinite(record.constant_loss) else ""
    evidence = (
        f"The training loss was {record.initial_loss:.3g} {record.words.start} and is {end:.3g} at the end{constant}."
    )
    return Verdict("stalled", None, evidence, *_way_out(record, end))


def _way_out(record: Record, end: float) -> tuple[str, Cause | None]:
    """Tell steps that are too large from steps that are too small from a target that can't be learnt."""
    train, lr = record.train, record.words.lr
    if max(train) > LOST_FACTOR * train[0] or end - train[0] > FALLING * abs(train[0]):
        remedy = f"The loss went up: try a smaller learning rate, {lr.format(record.lr / 10)}."
        return remedy, "learning rate too high"
    if sum(after < before for before, after in pairwise(train)) >= STEADY * len(record.epochs):
        remedy = f"The steps are too small to get anywhere: try a larger learning rate, {lr.format(record.lr * 10)}."
        return remedy, "learning rate too low"
    if math.isfinite(record.constant_loss):
        return "The inputs may not tell the target: try other columns, a larger model, or another learning rate.", None
    return "Try another learning rate or a larger model.", None


def _falling(record: Record) -> Verdict | None:
    fall = last_fall(record.validation)
    share = FALLING * min(1.0, fall.epochs / FALLING_EPOCHS)
    if not fall.is_significant(share, WORTHWHILE * record.initial_validation_loss):
        return _cut_short(record)
    return Verdict(
        "still falling",
        None,
        f"Over the last {record.words.last(fall.epochs)} the {record.judged} fell by {percent(fall.share)}, "
        f"from {fall.before:.3g} to {fall.now:.3g}.",
        f"Train longer: {record.words.twice(len(record.epochs))}.",
    )


def _lively(record: Record) -> int:
    """Return the last epoch with at least half of the highest learning rate; 0 if no rate is known."""
    highest = max((epoch.lr for epoch in record.epochs), default=0.0)
    return max((epoch.epoch for epoch in record.epochs if epoch.lr >= HALF * highest), default=0)


def _cut_short(record: Record) -> Verdict | None:
    lively = _lively(record)
    if not 0 < lively < len(record.epochs):
        return None
    fall = last_fall(record.validation[: lively + 1], THIRDS)
    end, initial, words = tail(record.validation), record.initial_validation_loss, record.words
    if not fall.is_significant(CUT_SHORT, WORTHWHILE * initial) or fall.now - end < CUT_SHORT * initial:
        return None
    return Verdict(
        "still falling",
        None,
        f"When the schedule had halved the learning rate, after {words.unit} {words.time(lively)}, the {record.judged} "
        f"was falling: over the last {words.last(fall.epochs, lively)} from {fall.before:.3g} to {fall.now:.3g}. "
        f"It ended at {end:.3g}.",
        f"Train longer ({words.twice(len(record.epochs))}), or with larger steps ({words.lr.format(3 * record.lr)}).",
    )


def _unsteady(record: Record) -> Verdict | None:
    end, words = last_fall(record.validation), record.words
    if end.noise <= max(UNSTEADY * end.now, UNSTEADY_FLOOR * record.initial_validation_loss):
        return None
    return Verdict(
        "stalled",
        None,
        f"The {record.judged} goes up and down: around {end.now:.3g}, it changes by {end.noise:.2g} per {words.piece}.",
        f"Try a smaller learning rate ({words.lr.format(record.lr / 10)}) or one that falls ({words.schedule}).",
        "learning rate too high",
    )


def _converged(record: Record) -> Verdict:
    fall, words = last_fall(record.validation), record.words
    level = "level at the end of the schedule" if 0 < _lively(record) < len(record.epochs) else "level"
    return Verdict(
        "converged",
        None,
        f"The {record.judged} is {level}: {fall.now:.3g} over the last {words.last(fall.epochs)}, {fall.before:.3g} "
        f"before; from {words.piece} to {words.piece} it changes by {fall.noise:.2g}.",
        "",
    )


def _spikes(record: Record) -> Verdict | None:
    worst = [epoch.worst_step_loss for epoch in record.epochs]
    floor = SPIKE_FLOOR * record.initial_loss
    usual = [median(worst[max(0, e - SPIKE_MEMORY) : e]) if e else math.inf for e in range(len(worst))]
    spikes = [e for e, loss in enumerate(worst) if loss > max(SPIKE_FACTOR * usual[e], floor)]
    if not spikes:
        return None
    first, highest, words = spikes[0], max(spikes, key=worst.__getitem__), record.words
    return Verdict(
        "spikes",
        record.epochs[first].epoch,
        f"{len(spikes)} of {len(worst)} {words.pieces} had a batch whose loss stood out; in {words.unit} "
        f"{words.time(highest + 1)} it reached {worst[highest]:.3g}, where the worst of the {words.pieces} before was "
        f"around {usual[highest]:.3g}.",
        f"Try a smaller learning rate ({words.lr.format(record.lr / 3)}) or a longer memory "
        f"({words.decay} closer to 1).",
    )
