"""Times of steps: all contenders by turns in one process, so that what disturbs one disturbs all."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from time import perf_counter, perf_counter_ns, sleep

from benchmarks.cases import Case
from benchmarks.contenders import OURS, Contender, entering
from benchmarks.floor import FLOORS, Floor

WARM_UP = 3


@dataclass(frozen=True)
class Sample:
    """One timing.

    Args:
        case: The case's name.
        placement: Which placement in memory, from 0.
        round: Which round of it, from 0.
        contender: The contender's name, or the floor's.
        steps: How many steps were timed together.
        nanoseconds: What all of them took.
    """

    case: str
    placement: int
    round: int
    contender: str
    steps: int
    nanoseconds: int

    @property
    def seconds_per_step(self) -> float:
        """What one step took."""
        return self.nanoseconds / self.steps / 1e9


def measure(
    case: Case, contenders: Sequence[Contender], on_round: Callable[[], object]
) -> tuple[list[Sample], dict[str, float]]:
    """Measure one case.

    Args:
        case: What.
        contenders: Who.
        on_round: Called after each round.

    Returns:
        All timings, and per contender the seconds of its first step (state is made, and the step compiled, in it).
    """
    entries = {contender.name: contender.enter(case) for contender in entering(contenders, case)}
    first_steps = {name: _seconds(entry.step) for name, entry in entries.items()}
    floors = {name: Floor(name, entries[OURS], case.arrays) for name in FLOORS} if case.floor is not None else {}
    samples: list[Sample] = []
    for placement in range(case.placements):
        for entry in entries.values():
            entry.move()
        for floor in floors.values():
            floor.locate()
        steps = {name: runner.step for name, runner in (entries | floors).items()}
        for nth, timings in enumerate(_rounds(steps, case)):
            samples += [Sample(case.name, placement, nth, name, case.steps, took) for name, took in timings.items()]
            on_round()
    return samples, first_steps


def _seconds(step: Callable[[], object]) -> float:
    start = perf_counter()
    step()
    return perf_counter() - start


def _rounds(steps: Mapping[str, Callable[[], object]], case: Case) -> Iterator[dict[str, int]]:
    """Yield the nanoseconds of each runner's steps, round by round, each round in another order."""
    for step in steps.values():
        _batch(step, WARM_UP)
    shuffled = Random(0)
    with _no_garbage_collection():
        for _ in range(case.rounds):
            order = shuffled.sample(list(steps), len(steps))
            yield {name: _batch(steps[name], case.steps, case.pause) for name in order}


def _batch(step: Callable[[], object], steps: int, pause: float = 0.0) -> int:
    sleep(pause)
    start = perf_counter_ns()
    for _ in range(steps):
        step()
    return perf_counter_ns() - start


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
