"""The protocol of a comparison, as data: what is compared, with how much effort, with which seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from types import MappingProxyType

from rmsprop.lab.compare.results import Budget
from rmsprop.lab.errors import InputError
from rmsprop.lab.optimizers import full_name, row

# RMSProp without and with momentum, and what courses set beside it.
DEFAULT_OPTIMIZERS = ("rmsprop", "rmsprop-momentum", "adam", "adagrad", "adadelta", "sgd", "momentum", "nesterov")
REFERENCE = "rmsprop"
# Below 10 trials only the learning rate is searched, below 30 also the decay (see `rmsprop.lab.compare.search`).
BUDGETS: Mapping[str, Budget] = MappingProxyType(
    {
        "quick": Budget(name="quick", trials=4, studies=2, seeds=6),
        "standard": Budget(name="standard", trials=5, studies=3, seeds=20),
        "full": Budget(name="full", trials=20, studies=5, seeds=50),
    }
)
# Reported seeds are 0, 1, ...; those of tuning begin here, far beyond, so that no run is both.
TUNING_SEED = 1_000_000
MOST_SEEDS = 100_000


def tuning_seed(study: int) -> int:
    """Return the seed that a study tunes with.

    Args:
        study: The study, from 0.

    Returns:
        The seed.

    Examples:
        >>> tuning_seed(2)
        1000002
    """
    return TUNING_SEED + study


def budget_of(budget: str | Budget, seeds: int | None) -> Budget:
    """Return a budget.

    Args:
        budget: A key of `BUDGETS`, or a budget of one's own.
        seeds: How many runs to report per optimizer and track instead. Default: the budget's.

    Returns:
        The budget.

    Raises:
        InputError: If there is no such budget, or a number is out of range.

    Examples:
        >>> budget_of("quick", 4).seeds
        4
    """
    if isinstance(budget, str):
        if budget not in BUDGETS:
            raise InputError(f"there is no budget {budget!r}: choose one of {', '.join(BUDGETS)}")
        budget = BUDGETS[budget]
    if seeds is not None:
        budget = Budget(name=budget.name, trials=budget.trials, studies=budget.studies, seeds=seeds)
    if not isinstance(budget, Budget):
        raise InputError(f"budget is {budget!r}: give one of {', '.join(BUDGETS)}, or a Budget")
    for name, value in (("trials", budget.trials), ("studies", budget.studies), ("seeds", budget.seeds)):
        whole_number(name, value, MOST_SEEDS)
    return budget


def whole_number(name: str, value: int, most: int | None = None) -> int:
    """Return a number if it is whole and in range.

    Args:
        name: What it is.
        value: The number.
        most: The greatest that is allowed. Default: any.

    Returns:
        The number.

    Raises:
        InputError: If it isn't a whole number from 1, or above ``most``.

    Examples:
        >>> whole_number("jobs", 2)
        2
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or not 1 <= value <= (most or value):
        allowed = "from 1" if most is None else f"from 1 to {most}"
        raise InputError(f"{name} is {value!r}: it must be a whole number {allowed}")
    return int(value)


def checked(optimizers: Sequence[str]) -> tuple[str, ...]:
    """Return the optimizers to compare.

    Args:
        optimizers: Their names.

    Returns:
        The same, with their full names.

    Raises:
        InputError: If there is none, one is unknown, or one is named twice.

    Examples:
        >>> checked(["adam+swa", "swa"])
        ('adam+swa', 'rmsprop+swa')
    """
    if isinstance(optimizers, str):
        raise InputError(f"optimizers is the text {optimizers!r}: give a list of names")
    if not optimizers:
        raise InputError("no optimizer is given to compare: name at least one")
    for name in optimizers:
        row(str(name))
    names = tuple(map(full_name, optimizers))
    for place, name in enumerate(names):
        if name in names[:place]:
            raise InputError(f"the optimizer {name} is given twice: name it once")
    return names


def reference(optimizers: Sequence[str]) -> str:
    """Return the optimizer that the others are compared with: RMSProp, else the first of its kind, else the first.

    Args:
        optimizers: What is compared.

    Returns:
        One of them.

    Examples:
        >>> reference(["adam", "rmsprop-keras"])
        'rmsprop-keras'
    """
    kin = [name for name in optimizers if name.startswith(REFERENCE)]
    return REFERENCE if REFERENCE in optimizers else (kin or list(optimizers))[0]


def study_of(seed: int, budget: Budget) -> int:
    """Return the study whose best choice a reported seed uses, so that the noise of tuning is part of every interval.

    Args:
        seed: The reported seed.
        budget: The budget.

    Returns:
        The study, from 0.

    Examples:
        >>> [study_of(seed, BUDGETS["standard"]) for seed in range(5)]
        [0, 1, 2, 0, 1]
    """
    return seed % budget.studies
