"""Times of steps: all contenders by turns in one process, so that what disturbs one disturbs all."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from time import perf_counter, perf_counter_ns, process_time, process_time_ns, sleep

from benchmarks.cases import Case
from benchmarks.contenders import OURS, Contender, entering
from benchmarks.entry import Runner
from benchmarks.floor import FLOORS, Floor

WARM_UP = 3  # steps, at least
# The system adds a running thread's processor time to that of its process at every tick, of 10 ms at most.
_TICK, _TICKS = 0.01, 20


@dataclass(frozen=True)
class Sample:
    """One timing.

    Args:
        case: The case's name.
        placement: Which placement in memory, from 0.
        round: Which round of it, from 0.
        contender: The contender's name, or the floor's.
        steps: How many steps were timed together.
        nanoseconds: What all of them took, by the wall clock.
        processor_nanoseconds: The processor time of all the process's threads meanwhile. The threads of one timing are
            exact to a tick of the system's clock only.
    """

    case: str
    placement: int
    round: int
    contender: str
    steps: int
    nanoseconds: int
    processor_nanoseconds: int

    @property
    def per_step(self) -> tuple[float, float]:
        """Seconds of one step by the wall clock, and of processor time."""
        return self.nanoseconds / self.steps / 1e9, self.processor_nanoseconds / self.steps / 1e9


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
    first_steps = {name: _batch(entry, 1)[0] / 1e9 for name, entry in entries.items()}
    floors = {name: Floor(name, entries[OURS], case.arrays) for name in FLOORS} if case.floor is not None else {}
    samples: list[Sample] = []
    for placement in range(case.placements):
        for entry in entries.values():
            entry.move()
        for floor in floors.values():
            floor.locate()
        for nth, timings in enumerate(_rounds(entries | floors, case)):
            samples += [Sample(case.name, placement, nth, name, case.steps, *took) for name, took in timings.items()]
            on_round()
    return samples, first_steps


def _rounds(runners: Mapping[str, Runner], case: Case) -> Iterator[dict[str, tuple[int, int]]]:
    """Yield what each runner's steps took, round by round, each round in another order."""
    for runner in runners.values():
        _batch(runner, max(WARM_UP, case.steps))
    shuffled = Random(0)
    with _no_garbage_collection():
        for _ in range(case.rounds):
            order = shuffled.sample(list(runners), len(runners))
            yield {name: _batch(runners[name], case.steps) for name in order}


def _batch(runner: Runner, steps: int) -> tuple[int, int]:
    """Take steps and return their nanoseconds: by the wall clock, and of processor time."""
    step, between = runner.step, runner.between
    _wait_until_idle()
    if between is None:
        return _timed(step, steps)
    wall = processor = 0
    for _ in range(steps):
        between()
        took = _timed(step, 1)
        wall, processor = wall + took[0], processor + took[1]
    return wall, processor


def _timed(step: Callable[[], object], steps: int) -> tuple[int, int]:
    processor, wall = process_time_ns(), perf_counter_ns()
    for _ in range(steps):
        step()
    return perf_counter_ns() - wall, process_time_ns() - processor


def _wait_until_idle() -> None:
    """Sleep until no thread runs: those of the turn before spin for some milliseconds after their work."""
    for _ in range(_TICKS):
        start, used = perf_counter(), process_time()
        sleep(_TICK)
        if process_time() - used < 0.1 * (perf_counter() - start):
            return


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
