"""Times of steps on a GPU, by its own clock, with the speed of a copy measured beside them."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from time import perf_counter, perf_counter_ns
from typing import Any

import torch
from torch._inductor.utils import fresh_cache

from benchmarks.gpu.cases import Case
from benchmarks.gpu.contenders import OURS, Contender, Entry

COPY = "copy"
PASSES = 2
WARM_UP = 3
MOST_COPIED = 1 << 31  # bytes; two such buffers fit everywhere a billion parameters do
CYCLES_PER_SECOND = 2e9  # at most; a GPU that runs slower spins longer
_LEARNED_FROM = 3  # calls
_SPARE = 200e-6  # seconds that the GPU is kept busy beyond what a call takes
_SETS_OF_L2 = 4  # what entries that take turns hold, so that none finds its tensors in the cache
_SETS_OF_TINY = 2  # a hundred thousand tiny sets would be needed


@dataclass(frozen=True)
class Sample:
    """One timing.

    Args:
        case: The case's name.
        turn: Which pass, from 0: contenders come in the opposite order in every other one.
        round: Which round of it, from 0.
        contender: The contender's name, or `COPY`.
        gpu: Nanoseconds from the GPU's first to its last work for the step.
        processor: Nanoseconds that the call took.
        ahead: Whether the call had returned before the GPU began, so that ``gpu`` holds no waiting for the processor.
    """

    case: str
    turn: int
    round: int
    contender: str
    gpu: int
    processor: int
    ahead: bool


@dataclass(frozen=True)
class Once:
    """What is measured once per contender and case.

    Args:
        first_step: Seconds of the first step: state is made, and the step compiled, in it.
        beyond: Most bytes that later steps took beyond parameters, gradients and state.
        waits: Whether a call waits for the GPU, so that the processor's time and the GPU's each hold the other.
        missing: Why the contender could not be measured; else empty.
    """

    first_step: float = 0.0
    beyond: int = 0
    waits: bool = False
    missing: str = ""


class Clock:
    """Times work on a GPU; on the CPU (``--quick`` without a GPU) just the call.

    Args:
        device: ``"cuda"`` or ``"cpu"``.
    """

    def __init__(self, device: str) -> None:
        self.on_gpu = device == "cuda"
        self.waits = False  # whether the work waits for the GPU itself, as far as `learn` has seen
        self._spin = 0.0

    def wait(self) -> None:
        """Wait until the GPU has nothing to do."""
        if self.on_gpu:
            torch.cuda.synchronize()

    def learn(self, work: Callable[[], Any]) -> None:
        """Learn how long the GPU must be kept busy while some work is put in line, and whether the work waits for it.

        The time comes from calls before which the GPU has nothing to do, so that it holds no spin, even if they wait.
        """
        if not self.on_gpu:
            return
        took = min(self._alone(work) for _ in range(_LEARNED_FROM))
        self._spin = _SPARE + 2e-9 * took
        # Work that was merely slow a single time is not taken for work that waits.
        self.waits = all(not self._timed(work)[2] for _ in range(_LEARNED_FROM))
        if self.waits:
            self._spin = 0.0  # it would be counted as time of the processor

    def time(self, work: Callable[[], Any]) -> tuple[int, int, bool]:
        """Return `Sample`'s ``gpu``, ``processor`` and ``ahead`` of some work that was learned from."""
        if not self.on_gpu:
            took = _nanoseconds(work)
            return took, took, True
        return self._timed(work)

    def _alone(self, work: Callable[[], Any]) -> int:
        self.wait()
        return _nanoseconds(work)

    def _timed(self, work: Callable[[], Any]) -> tuple[int, int, bool]:
        begun, done = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        self.wait()
        if self._spin:
            torch.cuda._sleep(int(self._spin * CYCLES_PER_SECOND))  # meanwhile the work is put in line
        begun.record()
        took = _nanoseconds(work)
        ahead = not begun.query()
        done.record()
        self.wait()
        return int(begun.elapsed_time(done) * 1e6), took, ahead


def _nanoseconds(work: Callable[[], Any]) -> int:
    start = perf_counter_ns()
    work()
    return perf_counter_ns() - start


def measure(
    case: Case, contenders: Sequence[Contender], device: str, on_progress: Callable[[str], object]
) -> tuple[list[Sample], dict[str, Once]]:
    """Measure one case. Contenders come one after the other, because a billion parameters fit only once.

    Args:
        case: What.
        contenders: Who.
        device: ``"cuda"``, or ``"cpu"`` to see that everything runs.
        on_progress: Called with what comes next.

    Returns:
        All timings, and what is measured once, by contender.
    """
    entering = [contender for contender in contenders if contender.name not in case.without]
    samples: list[Sample] = []
    once: dict[str, Once] = {}
    for turn in range(PASSES):
        for contender in entering[:: -1 if turn % 2 else 1]:
            if once.get(contender.name, Once()).missing or (contender.compiled and turn > 0):
                continue  # compiling again would take minutes
            on_progress(f"{case.title}: {contender.label}, pass {turn + 1} of {PASSES}")
            try:
                found, timings = _turn(case, contender, device)
            except ModuleNotFoundError as error:
                once[contender.name] = Once(
                    missing=f"not installed; pip install {error.name} adds it to the comparison"
                )
                timings = []
            except Exception as error:  # a library that can't do this; the report says so
                if contender.name == OURS:
                    raise
                once[contender.name] = Once(missing=f"{type(error).__name__}: {str(error).splitlines()[0][:200]}")
                timings = []
            else:
                once.setdefault(contender.name, found)
            _forget()
            samples += [Sample(case.name, turn, nth, contender.name, *timing) for nth, timing in enumerate(timings)]
        copies = _copies(case, device)
        samples += [Sample(case.name, turn, nth, COPY, *timing) for nth, timing in enumerate(copies)]
        _forget()
    return samples, once


def _forget() -> None:
    torch.compiler.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _turn(case: Case, contender: Contender, device: str) -> tuple[Once, list[tuple[int, int, bool]]]:
    clock = Clock(device)
    before = _requested("current") if clock.on_gpu else 0
    first = Entry(contender, case, device)
    first_step = _first_step(first, contender, clock)
    for _ in range(WARM_UP):
        first.turn()
        first.step()
    beyond = _beyond(first, before, clock)  # while no other entry has tables of its own
    entries = [first, *(Entry(contender, case, device) for _ in range(_sets(case, device) - 1))]
    for entry in entries[1:] * WARM_UP:
        entry.turn()
        entry.step()
    clock.learn(entries[0].step)
    timings = []
    with _no_garbage_collection():
        for nth in range(case.rounds):
            entry = entries[nth % len(entries)]
            entry.turn()
            timings.append(clock.time(entry.step))
    return Once(first_step, beyond, clock.waits), timings


def cache_bytes(device: str) -> int:
    """Return the size of a GPU's L2 cache; 0 for the CPU."""
    return torch.cuda.get_device_properties(device).L2_cache_size if device == "cuda" else 0


def _sets(case: Case, device: str) -> int:
    """Return how many sets of tensors take turns."""
    needed = max(1, -(-_SETS_OF_L2 * cache_bytes(device) // case.bytes_per_step))
    return min(needed, _SETS_OF_TINY) if case.tiny else needed


def _first_step(entry: Entry, contender: Contender, clock: Clock) -> float:
    """Return the seconds of a first step; one that is compiled finds nothing of what was compiled before."""
    with fresh_cache() if contender.compiled else nullcontext():
        clock.wait()
        start = perf_counter()
        entry.step()
        clock.wait()
        return perf_counter() - start


def _beyond(entry: Entry, before: int, clock: Clock) -> int:
    if not clock.on_gpu:
        return 0
    entry.turn()
    clock.wait()
    torch.cuda.reset_peak_memory_stats()
    entry.step()
    clock.wait()
    return _requested("peak") - before - entry.bytes


def _requested(when: str) -> int:
    """Return the bytes of all tensors on the GPU, without what the allocator rounds up."""
    return int(torch.cuda.memory_stats()[f"requested_bytes.all.{when}"])


def copied_bytes(case: Case) -> int:
    """Return how many bytes the copy reads; it writes as many."""
    return min(case.bytes_per_step // 2, MOST_COPIED) // 4 * 4


def _copies(case: Case, device: str) -> list[tuple[int, int, bool]]:
    clock = Clock(device)
    source = torch.randn(copied_bytes(case) // 4, device=device)
    target = torch.empty_like(source)
    clock.learn(lambda: target.copy_(source))
    with _no_garbage_collection():
        return [clock.time(lambda: target.copy_(source)) for _ in range(case.rounds)]


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
