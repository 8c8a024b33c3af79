"""Which of some columns or tags is the loss, which the validation loss, the learning rate and the time."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rmsprop.lab.errors import InputError

# Steps before epochs, because a file with both counts the rows in steps; totals before what may begin anew.
STEPS = (
    *("global_step", "total_timesteps", "num_timesteps", "timesteps", "total_steps", "step", "steps"),
    *("iteration", "iterations", "iter", "iters", "it", "update", "updates", "round", "boosting_round", "tree"),
    *("batch", "batches", "batch_idx", "minibatch"),
)
EPOCHS = ("epoch", "epochs", "epoche", "époque", "epoque", "época", "epoca")
TRAINED = {"train", "training", "trn"}
HELD_OUT = {"val", "valid", "validation", "dev", "eval", "evaluation", "test", "testing", "held", "holdout"}
_TESTED = {"test", "testing"}
# What losses are called, the surest first: a metric beside a loss is not meant.
_MEASURES = (
    {"loss", "losses", "objective", "cost"},
    {"nll", "logloss", "mlogloss", "crossentropy", "xentropy", "bce", "elbo"},
    {"perplexity", "ppl"},
    {"mse", "l2"},
    {"rmse", "msle", "rmsle"},
    {"mae", "l1", "mape"},
)
_ALL_MEASURES = frozenset().union(*_MEASURES)
_RATES = {"lr", "learning_rate", "learningrate"}
REWARDS = {"reward", "rewards", "rew", "return", "returns"}  # of an agent
_SCORES = {
    *("accuracy", "acc", "f1", "auc", "recall", "precision", "r2", "bleu", "iou", "dice", "score"),
    *("map", "map50"),
    *REWARDS,
}
# The columns of the monitor.csv of Gym and Stable-Baselines3: reward, length, time.
_EPISODE = {"r", "l", "t"}
# A column with such a word beside the loss's is about the loss and isn't it: AMP's scale, say.
_ABOUT = {"scale", "scaler", "weight", "coef"}
# Such a one is it only where no other is.
_SUMMARIES = {"std", "var", "min", "max", "best", "ema", "smooth", "smoothed"}
_TOTALS = {"total", "sum", "mean", "avg", "average"}
# Losses that work against each other: their sum means nothing.
_OPPOSED = {"d", "g", "disc", "gen", "discriminator", "generator", "actor", "critic", "policy", "value", "entropy"}
# Where a logger writes the same loss twice, the one per epoch goes with the validation.
_PER_EPOCH = "epoch"


@dataclass(frozen=True)
class Roles:
    """What columns or tags are.

    Args:
        loss: The training loss.
        validation: The validation loss; None if there is none.
        lr: The learning rate; None if there is none.
        scores: Those of which more is better.
        sums: What a loss is the sum of, where no column has it: its name here -> the columns.
        notes: What a person should know of the choice, a sentence each.
    """

    loss: str
    validation: str | None = None
    lr: str | None = None
    scores: tuple[str, ...] = ()
    sums: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def guess(
    names: Sequence[str],
    where: str,
    loss: str | None,
    validation: str | None,
    counts: Mapping[str, int] | None = None,
) -> Roles:
    """Tell which name means what.

    Args:
        names: The names of columns or tags.
        where: What they are of, for an error.
        loss: The training loss, if it was named.
        validation: The validation loss, if it was named.
        counts: How many numbers each has. Default: not known.

    Returns:
        The roles.

    Raises:
        InputError: If a name that was given isn't there, or if none or several could be meant.

    Examples:
        >>> guess(["epoch", "accuracy", "loss", "val_accuracy", "val_loss"], "log.csv", None, None)
        Roles(loss='loss', validation='val_loss', lr=None, scores=('accuracy', 'val_accuracy'), sums={}, notes=())
    """
    loss, validation = (given and unicodedata.normalize("NFC", given) for given in (loss, validation))
    for option, given in (("--loss", loss), ("--validation", validation)):
        if given is not None and given not in names:
            raise InputError(f"{option} {given!r} is not in {where}: it has {', '.join(names)}")
    losses = _with_numbers([name for name in names if is_loss(name)], counts)
    trained = [name for name in losses if not words(name) & HELD_OUT and name != validation]
    held_out = [name for name in losses if words(name) & HELD_OUT and name != loss]
    scores = tuple(name for name in names if words(name) & _SCORES and not is_loss(name))
    lr = next((name for name in names if _is_rate(name) and (counts is None or counts[name])), None)
    if not trained and loss is None and validation is None and (pair := _numbered(held_out)):
        return Roles(*pair, lr, scores, notes=(_taken_for_training(pair[0]),))
    if not trained and loss is None and (only := [name for name in names if last_word(name) == "value"]):
        return Roles(only[0], validation, lr, scores, notes=(f"{only[0]} is taken as the training loss",))
    if not trained and loss is None:
        raise InputError(_no_loss(names, where, scores))
    chosen = (loss,) if loss else _choose(trained, where, "--loss", "training loss", summed=True)
    parts = {_without_place(name) for name in chosen} if len(chosen) > 1 else None
    other = (validation,) if validation else _choose_held_out(held_out, where, parts)
    sums = [each for each in (chosen, other) if len(each) > 1]
    return Roles(
        " + ".join(chosen),
        " + ".join(other) or None,
        lr,
        scores,
        {" + ".join(each): each for each in sums},
        tuple(f"the losses {', '.join(each)} are added up" for each in sums),
    )


def words(name: str) -> set[str]:
    """Return the words of a name, in lower case.

    Args:
        name: The name.

    Returns:
        The words.

    Examples:
        >>> sorted(words("trainLoss/box"))
        ['box', 'loss', 'train']
    """
    return set(re.split(r"[^a-z0-9]+", _spaced(name))) - {""}


def _spaced(name: str) -> str:
    """Return a name in lower case whose words are apart: also those of trainloss, valLoss, val_crossentropy."""
    apart = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower().replace("cross_entropy", "crossentropy")
    return re.sub(r"\b(train|val|valid|test|eval)(?=loss\b)", r"\1_", apart)


def clocks(names: Sequence[str], of: Sequence[str]) -> list[str]:
    """Return the columns that may be a time, the likeliest first.

    Args:
        names: The columns.
        of: What such a one is called: `STEPS` or `EPOCHS`.

    Returns:
        The columns.

    Examples:
        >>> clocks(["time/episodes", "time/iterations", "time/total_timesteps"], STEPS)
        ['time/total_timesteps', 'time/iterations']
    """
    return [name for meant in of for name in names if last_word(name) == meant]


def last_word(name: str) -> str:
    """Return what a name ends with, as names of times are compared.

    Args:
        name: The name.

    Returns:
        Its last part, in lower case.

    Examples:
        >>> last_word("trainer/Global Step")
        'global_step'
    """
    return re.sub(r"[ -]+", "_", re.split(r"[/.]", name)[-1].strip().lower()).strip("_#")


def is_loss(name: str) -> bool:
    """Tell whether a name is of a loss, or of what may stand for one.

    Args:
        name: The name.

    Returns:
        Whether it is.

    Examples:
        >>> is_loss("val_loss"), is_loss("loss scale")
        (True, False)
    """
    return bool(words(name) & _ALL_MEASURES) and not words(name) & _ABOUT


def _is_rate(name: str) -> bool:
    parts = [part.replace(" ", "_").replace("-", "_").strip("_") for part in re.split(r"[/.]", name.lower())]
    grouped = re.match(r"lr-|(lr|learning_rate)[-_](pg|group|\d)", name.lower())
    return bool({parts[0], parts[-1]} & _RATES) or grouped is not None


def _with_numbers(names: list[str], counts: Mapping[str, int] | None) -> list[str]:
    """Leave out what holds one number at most, such as a total at the end, where others hold more."""
    if counts is None:
        return names
    enough = [name for name in names if counts[name] > 1]
    return enough or [name for name in names if counts[name]] or names


def _no_loss(names: Sequence[str], where: str, scores: Sequence[str]) -> str:
    if _EPISODE.issubset(names):
        return f"{where} holds the rewards and lengths of episodes, which aren't judged: give a log with a loss"
    shown = f" ({', '.join(scores)}: scores, which aren't judged)" if scores else ""
    return f"{where} has no column that looks like a training loss{shown}: name one of {', '.join(names)} by --loss"


def _choose_held_out(names: Sequence[str], where: str, parts: set[str] | None) -> tuple[str, ...]:
    """Choose the validation loss: validation data before test data, and the same parts as the training loss has."""
    names = [name for name in names if words(name) & (HELD_OUT - _TESTED)] or list(names)
    if parts is not None:
        same = tuple(name for name in names if _without_place(name) in parts)
        if {_without_place(name) for name in same} == parts:
            return same
    return _choose(names, where, "--validation", "validation loss", summed=False) if names else ()


def _choose(names: Sequence[str], where: str, option: str, what: str, *, summed: bool) -> tuple[str, ...]:
    """Return the one that is meant, or the parts of a loss that no column has as a whole."""
    surest = next(found for measure in _MEASURES if (found := [name for name in names if words(name) & measure]))
    lone = [name for name in surest if not words(name) & _SUMMARIES] or surest
    plain = [name for name in lone if len(_own(name)) == 1]
    total = [name for name in lone if len(_own(name) - _TOTALS) == 1]
    epoch = [name for name in lone if _PER_EPOCH in words(name)]
    for narrower in (lone, plain, total, epoch):
        if len(narrower) == 1:
            return (narrower[0],)
    if summed and not plain and not total and _are_parts(lone):
        return tuple(lone)
    raise InputError(f"{where} has several that may be the {what}: name one of {', '.join(lone)} by {option}")


def _own(name: str) -> set[str]:
    """Return the words of a name that don't say which data it is of."""
    return words(name) - TRAINED - HELD_OUT


def _are_parts(names: Sequence[str]) -> bool:
    """Tell whether losses stand together under train/ and don't work against each other."""
    under = all(re.split(r"[/._]", name.lower())[0] in TRAINED for name in names)
    return under and not any(words(name) & _OPPOSED for name in names)


def _without_place(name: str) -> str:
    """Return a name without what says which data it is of, to find the other one of a pair."""
    return re.sub(rf"\b({'|'.join(sorted(TRAINED | HELD_OUT))})\b", "", _spaced(name).replace("_", " "))


def _numbered(names: Sequence[str]) -> tuple[str, str] | None:
    """Return training and validation loss among those of XGBoost's scikit-learn interface, if they are these."""
    surest = [found for measure in _MEASURES if (found := [name for name in names if words(name) & measure])]
    pair = sorted(surest[0]) if surest else []
    first, second = pair if len(pair) == 2 else ("", "")
    meant = first.startswith("validation_0") and second == first.replace("0", "1", 1)
    return (first, second) if meant else None


def _taken_for_training(name: str) -> str:
    return (
        f"{name} is taken as the loss on the training data, as in eval_set=[(training), (validation)]: "
        "if it isn't, say --loss and --validation"
    )
