"""How `rmsprop train` speaks of a run: what can be changed is an option of its command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rmsprop.lab.averages import NAMES
from rmsprop.lab.train.best import best_epoch, lowest_raw
from rmsprop.lab.train.result import Result
from rmsprop.lab.train.settings import SCHEDULE_FREE, TUNED_SCHEDULES, schedule_numbers
from rmsprop.lab.verdict.facts import Change
from rmsprop.lab.wording import Statement, Terms, statement

_OPTIONS: Mapping[Change, str] = {
    "lower lr": "--lr {:.2g}",
    "raise lr": "--lr {:.2g}",
    "warm up": "--warmup 1",
    "let lr fall": "--schedule cosine",
    "more patience": "--resume --early-stop {:.0f}",
    "stop earlier": "--epochs {:.0f} --force",
    "smaller model": "--hidden",
    "larger model": "--hidden",
    "more weight decay": "--weight-decay",
}
# What has more weights moves further by a step of each: the learning rate of a line is too high for an mlp, and that of
# a small one for a larger. torch's default is small enough for most.
_LARGEST_LR = 0.01
# Schedules that go on after the last epoch of a run as they would have gone on in a longer one, with steps that are
# still of use: resuming is enough.
_GO_ON = ("constant", "plateau", "inverse-sqrt", *TUNED_SCHEDULES, SCHEDULE_FREE)


def terms(settings: Mapping[str, Any], *, holds_out: bool, kept: int | None = None) -> Terms:
    """Return how to speak of a run.

    Args:
        settings: Its settings, as plain values.
        holds_out: Whether its validation rows are others than its training rows.
        kept: The epoch whose weights were kept. Default None: the run hasn't ended, or none were.

    Returns:
        The terms.

    Examples:
        >>> terms({"schedule": "constant", "model": "mlp"}, holds_out=True).settings["train longer"]
        '--resume --epochs {:.0f}'
        >>> terms({"schedule": "constant", "model": "linear", "lr": 0.1}, holds_out=True).settings["larger model"]
        '--lr 0.01 --model mlp'
    """
    options: dict[Change, str | None] = {**_OPTIONS, "train longer": _longer(settings)}
    if settings["model"] is None:  # a problem's own, which is code of somebody's
        del options["smaller model"], options["larger model"]
    elif settings["model"] != "mlp":
        options |= {"smaller model": None, "larger model": "--model mlp"}
    if settings["schedule"] in TUNED_SCHEDULES or settings.get("warmup"):  # it is done already
        options["warm up"] = None
    if settings.get("lr", 0.0) > _LARGEST_LR and "larger model" in options:
        options["larger model"] = f"--lr {_LARGEST_LR} {options['larger model']}"
    best = settings.get("keep") == "best"
    if best:  # the weights of then are there
        options["stop earlier"] = None
    judged = "validation loss" if holds_out else "loss"
    if settings.get("average", "none") != "none":  # of which the best epoch is another one
        kept = None
    return Terms(options, "epoch", "epoch", "before the first step", judged, kept if best else None)


def statements(result: Result) -> tuple[Statement, ...]:
    """Return how a run is judged, in words.

    Args:
        result: The run.

    Returns:
        A statement for each of its facts.
    """
    spoken = terms(result.settings.as_dict(), holds_out=result.problem.holds_out, kept=result.kept)
    return tuple(statement(fact, spoken) for fact in result.facts)


def kept(result: Result) -> str:
    """Return whose weights were kept; empty where there is no average and no validation rows could tell a better epoch.

    Args:
        result: The run.

    Returns:
        A sentence, or of averages several.
    """
    if result.settings.average != "none":
        return _kept_average(result)
    if not result.problem.holds_out:
        return ""
    best = best_epoch(result.epochs)
    if result.kept is None:
        return "No weights were kept."
    if best is None:
        return "No epoch had a finite validation loss: the weights of the last one were kept."
    if result.settings.keep == "last":
        later = f", though epoch {best.epoch} had a lower validation loss, {best.validation_loss:.4g}"
        return f"The weights of the last epoch were kept{later * (best.epoch != result.kept)}."
    why = f"its validation loss, {best.validation_loss:.4g}, is the lowest"
    before = " before the run diverged" if result.diverged else ", the last," * (best.epoch == len(result.epochs))
    return f"The weights of epoch {best.epoch}{before} were kept: {why}."


def _kept_average(result: Result) -> str:
    """Return whose weights were kept of a run that averages them, how the raw ones compare, and what was judged."""
    name, judged = NAMES[result.settings.average], "The verdict is on the raw weights."
    if result.kept is None:
        return f"No weights were kept. {judged}"
    epoch, lowest = result.epochs[result.kept - 1], lowest_raw(result.epochs)
    loss = "validation loss" if result.problem.holds_out else "loss"
    before = " before the run diverged" if result.diverged else ", the last," * (epoch is result.epochs[-1])
    if epoch.averaged is None:
        kept = f"The raw weights of epoch {epoch.epoch}{before} were kept, because SWA hadn't begun"
        return f"{kept}: their {loss} is {epoch.validation_loss:.4g}. {judged}"
    best = result.settings.keep == "best" and best_epoch(result.epochs) is epoch
    its = f"their {loss}, {epoch.kept_loss:.4g}, is the lowest" if best else f"their {loss} is {epoch.kept_loss:.4g}"
    raw = f"that of the raw weights was {epoch.validation_loss:.4g} then"
    if lowest is not None and lowest is not epoch:
        raw += f", and {lowest.validation_loss:.4g} at the lowest, epoch {lowest.epoch}"
    return f"The {name} weights of epoch {epoch.epoch}{before} were kept: {its}; {raw}. {judged}"


def _longer(settings: Mapping[str, Any]) -> str:
    """Return how to train for more epochs: a schedule that is drawn over them has to begin anew.

    Numbers of a schedule that a person chose for this length are to be chosen for the other one: here for twice as many
    epochs, which is what is advised.
    """
    schedule = settings["schedule"]
    if schedule in _GO_ON:
        return "--resume --epochs {:.0f}"
    usual = schedule_numbers(schedule, settings["epochs"]) if "epochs" in settings else {}
    own = ""
    if schedule == "exponential" and settings["gamma"] != usual["gamma"]:
        own = f"--gamma {settings['gamma'] ** 0.5:.6g} "
    if schedule == "step" and settings["step_size"] != usual["step_size"]:
        own = f"--step-size {2 * settings['step_size']} "
    return f"--epochs {{:.0f}} {own}--force"
