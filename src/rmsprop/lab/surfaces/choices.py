"""Which optimizers walk on a surface, and with which settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from rmsprop.lab.errors import InputError
from rmsprop.lab.optimizers import OPTIMIZERS, Choice, average_of, bare, row
from rmsprop.lab.options import check_option
from rmsprop.lab.problems.builtin.surfaces import SURFACES, Surface
from rmsprop.lab.surfaces.paths import Point, Walk, walk

# RMSProp is the book's, whose decay of 0.9 forgets within a walk. With torch's 0.99 and v₀ = 0, some tens of steps are
# AdaGrad's at ten times the learning rate.
DEFAULT_OPTIMIZERS = ("sgd", "adagrad", "adam", "rmsprop-d2l")
# Four rows of four panels are the most that one can still read.
MOST_OPTIMIZERS, MOST_STEPS = 16, 10_000
# Eighth powers of that, as in Beale's function, are still far from the largest number.
FARTHEST = 1e6
# Where learning rates are looked for when none is given: thirds of five decades. Not 5, with which a first step of lr
# or 10·lr would land on the minimum of the bowls by the roundness of their start.
GRID = (*(float(f"{digit}e{power}") for power in range(-3, 2) for digit in (1, 2.2, 4.6)), 100.0)
# The keyword of each optimizer that an option stands for.
_DECAYS = {"rmsprop": "alpha", "adadelta": "rho", "adam": "beta2"}
_FIELDS = ("lr", "decay", "eps", "momentum")


@dataclass(frozen=True, kw_only=True)
class Values:
    """One hyperparameter of several optimizers.

    Args:
        plain: The value for all that it applies to: a learning rate for every optimizer, anything else for RMSProp
            in every dialect. Default: none.
        named: Name of an optimizer -> its own value. Default: none.
    """

    plain: float | None = None
    named: Mapping[str, float] = field(default_factory=dict)

    def of(self, name: str, *, default: bool) -> float | None:
        """Return the value for an optimizer, or None.

        Args:
            name: The optimizer.
            default: Whether the plain value applies to it.

        Returns:
            The value.
        """
        return self.named.get(name, self.plain if default else None)


def parse(option: str, texts: Sequence[str]) -> Values:
    """Read a hyperparameter as it is typed: ``0.4``, or ``rmsprop=0.4,adam=0.1``.

    Args:
        option: The option, for the error.
        texts: What was given, in one piece or several.

    Returns:
        The values.

    Raises:
        InputError: If that is not what was given.

    Examples:
        >>> parse("lr", ["0.4", "adam=0.1"])
        Values(plain=0.4, named={'adam': 0.1})
    """
    plain, named = None, {}
    for text in (part.strip() for whole in texts for part in whole.split(",")):
        name, equals, number = text.rpartition("=")
        value = _number(option, text, number)
        if (name in named) if equals else plain is not None:
            raise InputError(f"--{option} is given twice{f' for {name}' if equals else ''}: {', '.join(texts)}")
        if equals:
            named[name] = value
        else:
            plain = value
    return Values(plain=plain, named=named)


def surface_named(name: str) -> Surface:
    """Return a surface by its name.

    Args:
        name: A key of `rmsprop.lab.problems.builtin.surfaces.SURFACES`.

    Returns:
        The surface.

    Raises:
        InputError: If there is none.

    Examples:
        >>> surface_named("bowl").start
        (-5.0, -2.0)
    """
    if name not in SURFACES:
        raise _unknown("surface", name, SURFACES)
    return SURFACES[name]


def walks(
    surface: Surface,
    names: Sequence[str] = DEFAULT_OPTIMIZERS,
    *,
    lr: Values | None = None,
    decay: Values | None = None,
    eps: Values | None = None,
    momentum: Values | None = None,
    steps: int = 50,
    start: Point | None = None,
    on_walk: Callable[[], object] = lambda: None,
) -> tuple[list[Walk], frozenset[str]]:
    """Let several optimizers descend on one surface.

    Args:
        surface: The surface.
        names: Keys of `rmsprop.lab.optimizers.OPTIMIZERS`. Default: `DEFAULT_OPTIMIZERS`.
        lr: Learning rates. Default: each optimizer has the one of `GRID` with which it ends lowest.
        decay: The share that the average of squares keeps (Adadelta's rho, Adam's beta2). Default: each one's own.
        eps: ε. Default: each one's own.
        momentum: The share that the buffer keeps. Default: each one's own.
        steps: How many steps, from 1. Default 50.
        start: Where they begin. Default: the surface's start.
        on_walk: Called after each optimizer. Default: nothing.

    Returns:
        The paths, and the names of those whose learning rate was looked for.

    Raises:
        InputError: If a name or a value can't be used.

    Examples:
        >>> found, searched = walks(SURFACES["bowl"], ["rmsprop-d2l"], lr=Values(plain=0.4), steps=20)
        >>> found[0].points[-1].round(6).tolist(), searched
        ([-0.010599, 0.0], frozenset())
    """
    settings = dict(zip(_FIELDS, (given or Values() for given in (lr, decay, eps, momentum)), strict=True))
    _check(names, settings, steps, start)
    searched, found = set(), []
    for name in names:
        choice = choice_of(name, settings)
        if settings["lr"].of(name, default=True) is None:
            searched.add(name)
            found.append(_best(surface, choice, steps, start))
        else:
            found.append(walk(surface, choice, steps, start))
        on_walk()
    return found, frozenset(searched)


def choice_of(name: str, settings: Mapping[str, Values]) -> Choice:
    """Return an optimizer with what was given for it.

    Args:
        name: A key of `rmsprop.lab.optimizers.OPTIMIZERS`.
        settings: ``lr``, ``decay``, ``eps`` and ``momentum``.

    Returns:
        The choice; a learning rate that wasn't given is the default one.

    Raises:
        InputError: If a value is out of range, or is for an optimizer that has no such setting.
    """
    known, is_rmsprop = row(name), name.startswith("rmsprop")
    options = dict(known.options)
    for option in _FIELDS[1:]:
        value = settings[option].of(name, default=is_rmsprop)
        if value is None:
            continue
        keyword = _keyword(name, option)
        if keyword not in options and not (is_rmsprop and option == "momentum"):
            raise InputError(f"{name} has no --{option}: it has {', '.join(_options_of(name))}")
        _check_value(name, option, value)
        options[keyword] = value
    lr = settings["lr"].of(name, default=True)
    if lr is not None:
        _check_value(name, "lr", lr)
    return Choice(name=name, lr=known.lr if lr is None else lr, options=tuple(sorted(options.items())))


def _options_of(name: str) -> list[str]:
    """Return the options that an optimizer has here, as a person types them."""
    keywords = row(name).options
    return [f"--{option}" for option in _FIELDS if option == "lr" or _keyword(name, option) in keywords]


def _keyword(name: str, option: str) -> str:
    """Return what an optimizer's own keyword for an option is."""
    return _DECAYS.get("rmsprop" if name.startswith("rmsprop") else name, "") if option == "decay" else option


def _check_value(name: str, option: str, value: float) -> None:
    """Refuse a value under the name of its option, which is not what every framework calls it."""
    try:
        check_option(option, value)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    if option == "lr" and value == 0.0:
        raise InputError(f"{name}: Invalid --lr: 0 (allowed: a finite number above 0)")
    if (name, option, value) == ("adam", "decay", 1.0):
        raise InputError("adam: Invalid --decay: 1 (allowed: a number from 0 to below 1)")
    if (name, option, value) == ("nesterov", "momentum", 0.0):
        raise InputError("nesterov: Invalid --momentum: 0 (allowed: a number above 0, up to 1)")


def _best(surface: Surface, choice: Choice, steps: int, start: Point | None) -> Walk:
    tried = [walk(surface, replace(choice, lr=lr), steps, start) for lr in GRID]
    return min(tried, key=ending)


def ending(path: Walk) -> float:
    """Return how low a path ends: the highest loss of its last fifth, so that no lucky step hides a spike.

    Args:
        path: The path.

    Returns:
        The loss; infinite for a path that left.
    """
    if path.left_at is not None:
        return math.inf
    return float(path.losses[-max(1, path.steps // 5) :].max())


def _unknown(what: str, name: str, known: Collection[str]) -> InputError:
    close = get_close_matches(name.lower(), known, 1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return InputError(f"there is no {what} {name!r}{hint}: choose from {', '.join(known)}")


def _check(names: Sequence[str], settings: Mapping[str, Values], steps: int, start: Point | None) -> None:
    if not 1 <= len(names) <= MOST_OPTIMIZERS:
        raise InputError(f"--optimizers names {len(names)} optimizers: name 1 to {MOST_OPTIMIZERS}")
    for name in names:
        if bare(name) not in OPTIMIZERS:  # here, unlike elsewhere, +swa may not follow
            raise _unknown("optimizer", name, OPTIMIZERS)
        if average_of(name) != "none":
            raise InputError(f"{name} averages weights and has no path of its own: leave out +{average_of(name)}")
        if row(name).averages:
            raise InputError(
                f"{name} averages weights, so that it has a path of steps and one of results: leave it out"
            )
        if not row(name).dense:
            raise InputError(f"{name} takes the rows of embeddings alone, and a surface has none: leave it out")
        if not row(name).elementwise:
            raise InputError(f"{name} changes its learning rate on the way, and a path here has one: leave it out")
        if names.count(name) > 1:
            raise InputError(f"--optimizers names {name} twice: name each once")
    if not 1 <= steps <= MOST_STEPS:
        raise InputError(f"--steps is {steps}: it must be from 1 to {MOST_STEPS}")
    if start is not None and not all(abs(x) <= FARTHEST for x in start):
        raise InputError(f"--start is {start[0]:g},{start[1]:g}: give two numbers from -{FARTHEST:g} to {FARTHEST:g}")
    for option, setting in settings.items():
        for name in setting.named.keys() - set(names):
            raise InputError(f"--{option} names {name!r}, which isn't among the optimizers {', '.join(names)}")
        if option != "lr" and setting.plain is not None and not any(name.startswith("rmsprop") for name in names):
            raise InputError(f"--{option} {setting.plain:g} is for RMSProp, and none is here: write NAME=VALUE instead")


def _number(option: str, text: str, number: str) -> float:
    try:
        return float(number)
    except ValueError:
        raise InputError(f"--{option} {text!r} is neither a number nor NAME=NUMBER, such as adam=0.1") from None
