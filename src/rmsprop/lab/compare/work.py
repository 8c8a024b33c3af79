"""Does the runs of a comparison: what the cache has is taken from there, the rest is trained in batches."""

from __future__ import annotations

import math
import multiprocessing
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch

from rmsprop.lab.batched import Curve, Job, train_together
from rmsprop.lab.compare.cache import Cache
from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.problem import Problem

# A batch is to take about this long: the most that a kill can lose, and the time between two lines of a live table.
_BATCH_SECONDS = 8.0
# Fewer models at once pay for each of torch's calls: one of digits-cnn costs 2.1 s alone and 0.4 s among 24, one of
# cartpole 4.0 and 0.65. More gain nothing: 2 % between 128 and 320 of digits.
_LEAST_AT_ONCE, _MOST_AT_ONCE = 16, 128

Batch = list[Job]
Keep = Callable[[Batch, Sequence[Curve]], object]
# Takes runs, their curves, and whether they came from the cache.
Done = Callable[[Sequence[Job], Sequence[Curve], bool], object]


class Workers:
    """Trains runs of one problem, in this process or in others, as `workers` makes it.

    Args:
        problem: The problem.
        epochs: How often the training rows are gone through.
        batch_size: Rows per step.
        cache: What is done already.
        pool: Other processes to work in; None works in this one.
        processes: How many work at the same time.
    """

    def __init__(
        self,
        problem: Problem,
        epochs: int,
        batch_size: int,
        cache: Cache,
        pool: ProcessPoolExecutor | None,
        processes: int,
    ) -> None:
        """See the class."""
        self._problem, self._epochs, self._batch_size = problem, epochs, batch_size
        self._cache, self._pool, self._processes = cache, pool, processes
        self._seconds_per_run: float | None = None

    def expect(self, seconds_per_step: float) -> None:
        """Say how long a single model takes, for the size of the first batches; one among many takes half or less.

        Args:
            seconds_per_step: Seconds per step.
        """
        steps = math.ceil(len(self._problem.train) / self._batch_size) * self._epochs
        self._seconds_per_run = seconds_per_step * steps / 2

    def run(self, jobs: Sequence[Job], *, test: bool, on_done: Done) -> None:
        """Do some runs, equal ones once.

        Args:
            jobs: The runs.
            test: Whether to judge them on the test rows.
            on_done: Called with runs that are done and their curves: first with those of the cache, then as they come.
        """
        found = {job: self._cache.get(job, test=test) for job in dict.fromkeys(jobs)}
        known = [job for job, curve in found.items() if curve is not None]
        on_done(known, [curve for curve in found.values() if curve is not None], True)
        left = deque(job for job, curve in found.items() if curve is None)

        def keep(batch: Batch, curves: Sequence[Curve]) -> None:
            for job, curve in zip(batch, curves, strict=True):
                self._cache.put(job, curve, test=test)
            on_done(batch, curves, False)

        if self._pool is None:
            self._run_here(left, test, keep)
        else:
            self._run_in_pool(self._pool, left, test, keep)

    def _next(self, left: deque[Job]) -> Batch:
        """Take the runs of the next batch: as many as the time allows, but towards the end some for every process."""
        affordable = int(_BATCH_SECONDS / self._seconds_per_run) if self._seconds_per_run else 0
        share = max(math.ceil(len(left) / self._processes), _LEAST_AT_ONCE // 2)
        size = min(max(affordable, _LEAST_AT_ONCE), share, _MOST_AT_ONCE)
        return [left.popleft() for _ in range(min(size, len(left)))]

    def _learn(self, seconds: float, batch: Batch) -> None:
        """The least so far counts: a busy machine must not make batches small, which are slower per run."""
        self._seconds_per_run = min(seconds / len(batch), self._seconds_per_run or math.inf)

    def _run_here(self, left: deque[Job], test: bool, keep: Keep) -> None:
        while left:
            batch = self._next(left)
            curves, seconds = _train(self._problem, batch, self._epochs, self._batch_size, test)
            self._learn(seconds, batch)
            keep(batch, curves)

    def _run_in_pool(self, pool: ProcessPoolExecutor, left: deque[Job], test: bool, keep: Keep) -> None:
        running: dict[Future[tuple[list[Curve], float]], Batch] = {}
        while left or running:
            while left and len(running) < self._processes:
                batch = self._next(left)
                running[pool.submit(_train_in_worker, batch, self._epochs, self._batch_size, test)] = batch
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                batch = running.pop(future)
                curves, seconds = future.result()
                self._learn(seconds, batch)
                keep(batch, curves)


@contextmanager
def workers(problem: Problem, epochs: int, batch_size: int, cache: Cache, processes: int) -> Iterator[Workers]:
    """Start what does the runs.

    Args:
        problem: The problem.
        epochs: How often the training rows are gone through.
        batch_size: Rows per step.
        cache: What is done already.
        processes: 1 works in this process; more start as many. Each uses one thread.

    Yields:
        What does the runs. The processes end with the context, at once if an exception ends it.

    Raises:
        InputError: If ``processes`` is below 1.
        RuntimeError: If a process ends before its time.
    """
    if processes < 1:
        raise InputError(f"jobs is {processes}: it must be a whole number from 1")
    if processes == 1:
        yield Workers(problem, epochs, batch_size, cache, None, 1)
        return
    before = set(multiprocessing.active_children())
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, spawn, initializer=partial(_begin, _packed(problem)))
    try:
        yield Workers(problem, epochs, batch_size, cache, pool, processes)
        pool.shutdown()
    except BrokenProcessPool as error:
        raise RuntimeError(
            "a process that trains ended before its time, perhaps for want of memory: run again with fewer jobs; "
            "what was done is in the cache"
        ) from error
    finally:
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()  # a batch may take long, and its result is of no use any more
        pool.shutdown(wait=False, cancel_futures=True)


def _packed(problem: Problem) -> bytes:
    """Return a problem as bytes; unlike pickle, cloudpickle takes lambdas and what was defined in a notebook."""
    import cloudpickle

    packed: bytes = cloudpickle.dumps(problem)
    return packed


# The problem of a worker process, which `_begin` sets once instead of sending it along with every batch.
_problem: Problem | None = None


def _begin(problem: bytes) -> None:
    global _problem
    import pickle

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends the others
    _problem = pickle.loads(problem)


def _train_in_worker(batch: Batch, *arguments: Any) -> tuple[list[Curve], float]:
    assert _problem is not None, "the pool's initializer sets it"
    return _train(_problem, batch, *arguments)


def _train(problem: Problem, batch: Batch, epochs: int, batch_size: int, test: bool) -> tuple[list[Curve], float]:
    begin = time.perf_counter()
    with one_thread():
        curves = train_together(problem, batch, epochs=epochs, batch_size=batch_size, test=test)
    return curves, time.perf_counter() - begin


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch work with one thread, and with its own number afterwards.

    Threads that share operations of a fraction of a millisecond wait for each other: two are 1.4 times as fast as one
    on two quiet cores, and 30 times slower on two busy ones (measured with digits). Processes don't wait.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
