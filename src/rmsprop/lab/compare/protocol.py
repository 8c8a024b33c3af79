"""The protocol of a comparison, as data: what is compared, with how much effort, with which seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from rmsprop.lab.compare.results import Budget
from rmsprop.lab.errors import InputError
from rmsprop.lab.optimizers import row

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
    for name, value in (("trials", budget.trials), ("studies", budget.studies), ("seeds", budget.seeds)):
        if not (isinstance(value, int) and 1 <= value <= MOST_SEEDS):
            raise InputError(f"{name} is {value!r}: it must be a whole number from 1 to {MOST_SEEDS}")
    return budget


def checked(optimizers: Sequence[str]) -> tuple[str, ...]:
    """Return the optimizers to compare.

    Args:
        optimizers: Their names.

    Returns:
        The same.

    Raises:
        InputError: If there is none, one is unknown, or one is named twice.

    Examples:
        >>> checked(["rmsprop", "adam+swa"])
        ('rmsprop', 'adam+swa')
    """
    if not optimizers:
        raise InputError("no optimizer is given to compare: name at least one")
    for place, name in enumerate(optimizers):
        row(name)
        if name in optimizers[:place]:
            raise InputError(f"the optimizer {name} is given twice: name it once")
    return tuple(optimizers)


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
