"""What each problem trains well with, as rows of data.

This module imports no framework, so that `rmsprop train --help` stays fast.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from rmsprop.lab.errors import InputError

Task = Literal["regression", "classification"]
ClassWeights = Literal["none", "balanced"]
Model = Literal["linear", "logistic", "softmax", "mlp"]
Schedule = Literal[
    "constant",
    "step",
    "exponential",
    "cosine",
    "linear",
    "inverse-sqrt",
    "plateau",
    "hypergradient",
    "marthe",
    "schedule-free",
]
Keep = Literal["best", "last"]
# Text may be compressed besides, as in ``.csv.gz``.
TEXT_SUFFIXES = (".csv", ".tsv", ".txt")
TABLE_SUFFIXES = (*TEXT_SUFFIXES, *(f"{suffix}.gz" for suffix in TEXT_SUFFIXES), ".xlsx", ".parquet", ".npz")
STANDARD_INPUT = "-"
MOST_LAYERS, WIDEST = 20, 65_536


@dataclass(frozen=True, kw_only=True)
class Defaults:
    """The settings that a problem trains well with.

    Args:
        about: What the problem is, in a few words.
        model: The model; None if the problem has one of its own.
        hidden: The widths of its hidden layers.
        epochs: How often the training rows are gone through.
        batch_size: Rows per step.
        lr: The learning rate.
        schedule: The learning-rate schedule.
        weight_decay: λ of the weight decay.
    """

    about: str
    model: Model | None = None
    hidden: tuple[int, ...] = ()
    epochs: int
    batch_size: int
    lr: float
    schedule: Schedule = "cosine"
    weight_decay: float = 0.0


# Chosen on seeds 0 and 1 with the torch dialect: the best validation loss of a few settings tried by hand that
# does not rise again before the end.
PROBLEMS: Mapping[str, Defaults] = MappingProxyType(
    {
        "linear": Defaults(
            about="the textbook line y = 2x + 3 + noise, 200 rows",
            model="linear",
            epochs=100,
            batch_size=16,
            lr=0.01,
            schedule="constant",
        ),
        "digits": Defaults(
            about="1797 handwritten digits of 8×8 pixels, 10 classes",
            model="mlp",
            hidden=(64,),
            epochs=30,
            batch_size=32,
            lr=0.003,
            weight_decay=1e-3,
        ),
        "digits-softmax": Defaults(
            about="the same digits by softmax regression, which is convex",
            model="softmax",
            epochs=30,
            batch_size=32,
            lr=0.003,
            weight_decay=1e-3,
        ),
        "digits-cnn": Defaults(
            about="the same digits by a small convolutional network", epochs=30, batch_size=32, lr=0.003
        ),
        "breast-cancer": Defaults(
            about="569 tumours, 30 measurements, 2 classes",
            model="logistic",
            epochs=60,
            batch_size=32,
            lr=0.01,
            weight_decay=1e-2,
        ),
        "wine": Defaults(
            about="178 wines, 13 measurements, 3 classes",
            model="softmax",
            epochs=60,
            batch_size=16,
            lr=0.01,
            weight_decay=1e-2,
        ),
        "diabetes": Defaults(
            about="442 patients, 10 measurements, disease progression",
            model="linear",
            epochs=60,
            batch_size=32,
            lr=0.003,
        ),
        "logistic": Defaults(
            about="the tumours as logistic regression with L2 penalty: convex, with a known optimum",
            epochs=100,
            batch_size=32,
            lr=0.03,
        ),
        "least-squares": Defaults(
            about="the patients as least squares: quadratic, with a known optimum", epochs=100, batch_size=32, lr=0.01
        ),
        "english": Defaults(
            about="the next character of English text, by a recurrent network", epochs=15, batch_size=32, lr=0.005
        ),
        "ratings": Defaults(
            about="15000 ratings by 500 users of 1000 items, made by chance, most ids rare",
            epochs=6,
            batch_size=64,
            lr=0.003,
        ),
        "words": Defaults(
            about="vectors for the words of English text, by which word follows which",
            epochs=4,
            batch_size=128,
            lr=0.003,
        ),
        "cartpole": Defaults(about="balancing a pole on a cart, by policy gradient", epochs=20, batch_size=32, lr=0.01),
        "bowl": Defaults(about="0.1x² + 2y², the bowl of Dive into Deep Learning", epochs=100, batch_size=1, lr=0.4),
        "bowl-rotated": Defaults(about="the bowl turned by 45 degrees", epochs=200, batch_size=1, lr=0.3),
        "bowl-steep": Defaults(about="a bowl with condition number 1000", epochs=100, batch_size=1, lr=0.4),
        "bowl-noisy": Defaults(about="the bowl with noise on its gradient", epochs=100, batch_size=1, lr=0.1),
        "rosenbrock": Defaults(about="Rosenbrock's curved valley", epochs=1000, batch_size=1, lr=0.03),
        "beale": Defaults(about="Beale's plain with a narrow valley", epochs=300, batch_size=1, lr=0.1),
        "saddle": Defaults(about="a saddle between two minima", epochs=100, batch_size=1, lr=0.1),
    }
)
TABLE = Defaults(
    about="your own table",
    model="mlp",
    hidden=(64,),
    epochs=60,
    batch_size=32,
    lr=0.003,
    weight_decay=1e-3,
)
# The epochs and the batch size are those of the Problem that the function returns.
FUNCTION = Defaults(about="your own problem", epochs=30, batch_size=32, lr=0.003)


def table_suffix(name: str) -> str | None:
    """Return what kind of table a file's name says it is.

    Args:
        name: The path, or ``-`` for standard input, which is text.

    Returns:
        One of `TABLE_SUFFIXES`, or None if it is none of them.

    Examples:
        >>> table_suffix("data/Customers.CSV.gz"), table_suffix("notes.md")
        ('.csv.gz', None)
    """
    if name == STANDARD_INPUT:
        return TEXT_SUFFIXES[0]
    return next((suffix for suffix in TABLE_SUFFIXES if name.lower().endswith(suffix)), None)


def is_function(name: str) -> bool:
    """Tell whether a problem is given as ``package.module:function``.

    Args:
        name: What the person gave.

    Returns:
        Whether it is; a file may have a colon in its name.

    Examples:
        >>> is_function("my.problems:spiral"), is_function("C:/data/t.csv"), is_function("digits")
        (True, False, False)
    """
    return name not in PROBLEMS and ":" in name and not name.lower().endswith(TABLE_SUFFIXES)


def row_of(name: str) -> Defaults:
    """Return the defaults of a problem.

    Args:
        name: A key of `PROBLEMS`, the path of a table, or ``package.module:function``.

    Returns:
        Its row.

    Examples:
        >>> row_of("customers.csv").about
        'your own table'
    """
    return PROBLEMS.get(name) or (FUNCTION if is_function(name) else TABLE)


def short_name(name: str) -> str:
    """Return what to call a problem in the name of a file or folder.

    Args:
        name: As for `row_of`.

    Returns:
        The name of the built-in problem, of the file without its suffix, or of the function.

    Examples:
        >>> short_name("data/customers.csv.gz"), short_name("my.problems:spiral"), short_name("-")
        ('customers', 'spiral', 'stdin')
    """
    if name in PROBLEMS:
        return name
    if name == STANDARD_INPUT:
        return "stdin"
    suffix = table_suffix(name)
    return (
        name.rpartition(":")[2] if is_function(name) else Path(name).name[: -len(suffix)] if suffix else Path(name).stem
    )


def architecture(
    name: str, model: Model | None = None, hidden: tuple[int, ...] | None = None
) -> tuple[Model | None, tuple[int, ...]]:
    """Return the model of a problem and its hidden layers: what was given, over the defaults.

    Args:
        name: As for `row_of`.
        model: The model that was asked for. Default None, the problem's.
        hidden: The widths that were asked for. Default None: the problem's, or a table's for an mlp.

    Returns:
        The model, None where the problem has one of its own, and the widths.

    Examples:
        >>> architecture("digits"), architecture("digits", "softmax"), architecture("wine", "mlp")
        (('mlp', (64,)), ('softmax', ()), ('mlp', (64,)))
    """
    row = row_of(name)
    model = model or row.model
    if hidden is None:
        hidden = (row.hidden or TABLE.hidden) if model == "mlp" else ()
    return model, hidden


def check_choices(task: object, model: object, hidden: object, class_weights: object = None) -> None:
    """Refuse a task or a model that there isn't, and hidden layers that the model doesn't have.

    Args:
        task: A `Task`, or None.
        model: A `Model`, or None for a problem that has one of its own.
        hidden: The widths of its hidden layers.
        class_weights: A `ClassWeights`. Default None.

    Raises:
        InputError: If one can't be used, or they contradict each other.

    Examples:
        >>> check_choices(None, "mlp", (64, 32))
        >>> check_choices(None, "softmax", (64,))
        Traceback (most recent call last):
        rmsprop.lab.errors.InputError: --hidden is for --model mlp; a softmax model has no hidden layer
    """
    for name, value, allowed in (
        ("task", task, get_args(Task)),
        ("model", model, get_args(Model)),
        ("class-weights", class_weights, get_args(ClassWeights)),
    ):
        if value is not None and value not in allowed:
            raise InputError(f"--{name} is {value!r}: choose one of {', '.join(allowed)}")
    if not isinstance(hidden, Sequence) or not (len(hidden) <= MOST_LAYERS and all(map(_is_width, hidden))):
        shown = ",".join(map(str, hidden)) if isinstance(hidden, Sequence) else hidden
        raise InputError(
            f"--hidden is {shown}: it must be at most {MOST_LAYERS} widths from 1 to {WIDEST} such as 64 or 64,32"
        )
    if model == "mlp" and not hidden:
        raise InputError("--model mlp needs at least one hidden layer, such as --hidden 64")
    if model != "mlp" and hidden:
        whose = f"a {model} model" if model else "a problem's own model"
        raise InputError(f"--hidden is for --model mlp; {whose} has no hidden layer")


def _is_width(width: object) -> bool:
    return isinstance(width, int) and 1 <= width <= WIDEST
