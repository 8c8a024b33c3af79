"""Does the runs of a comparison: what the cache has is taken from there, the rest is trained in batches."""

from __future__ import annotations

import math
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from rmsprop.lab.batched import Curve, Job, train_together
from rmsprop.lab.compare.cache import Cache
from rmsprop.lab.compare.cluster import Cluster, RunKind
from rmsprop.lab.errors import LostWorkerError
from rmsprop.lab.model_stack import bytes_per_row
from rmsprop.lab.packed import packed
from rmsprop.lab.problems.conventions import one_thread
from rmsprop.lab.problems.problem import Problem

# A batch is to take about this long: the most that a kill can lose, and the time between two lines of a live table.
_BATCH_SECONDS = 8.0
# What a step takes: some for torch's calls, however many models, and for each model what it has to read and write.
# Measured on one core: 1.0 to 1.5 ms, and 2 (digits-cnn, english) to 9 (cartpole) seconds per gigabyte that is kept for
# the gradient. Batches are sized by this and not by the clock, so that they are the same on any machine and after any
# interruption: how sums are rounded may depend on who is trained along.
_SECONDS_PER_STEP, _SECONDS_PER_BYTE = 1.2e-3, 4e-9
# Fewer models at once pay for each of torch's calls: one of digits-cnn costs 2.1 s alone and 0.4 s among 24, one of
# cartpole 4.0 and 0.65. More gain nothing: 2 % between 128 and 320 of digits.
_LEAST_AT_ONCE, _MOST_AT_ONCE = 16, 128

# Seconds after which who waits for processes looks up: a signal that another thread received, as systems may choose, is
# not seen while the main one sleeps, and Ctrl-C would take until the end of a batch.
_TICK = 0.2

Batch = list[Job]
Keep = Callable[[Batch, Sequence[Curve]], object]
# Takes how many runs' worth of the batch at work is done.
Part = Callable[[float], object]
# Takes runs, their curves, and whether they came from the cache.
Done = Callable[[Sequence[Job], Sequence[Curve], bool], object]


class Workers:
    """Trains runs of one problem, in this process, in others or on a cluster, as `workers` makes it.

    Args:
        problem: The problem.
        epochs: How often the training rows are gone through.
        batch_size: Rows per step.
        cache: What is done already.
        pool: Other processes to work in; None works in this one.
        processes: How many work at the same time.
        cluster: The cluster to work on instead. Default: none.
    """

    def __init__(
        self,
        problem: Problem,
        epochs: int,
        batch_size: int,
        cache: Cache,
        pool: ProcessPoolExecutor | None,
        processes: int,
        cluster: Cluster | None = None,
    ) -> None:
        """See the class."""
        self._problem, self._epochs, self._batch_size = problem, epochs, batch_size
        self._cache, self._pool, self._processes, self._cluster = cache, pool, processes, cluster

    def run(self, jobs: Sequence[Job], *, test: bool, on_done: Done, on_part: Part = lambda runs: None) -> None:
        """Do some runs, equal ones once.

        Args:
            jobs: The runs.
            test: Whether to judge them on the test rows.
            on_done: Called with runs that are done and their curves: first with those of the cache, then as they come.
            on_part: Called after each epoch with how much of a batch is done, counted in runs. Other processes tell
                nothing before the end of a batch. Default: nothing is.
        """
        found = {job: self._cache.get(job, test=test) for job in dict.fromkeys(jobs)}
        known = [job for job, curve in found.items() if curve is not None]
        on_done(known, [curve for curve in found.values() if curve is not None], True)
        parts = batches(self._problem, list(found), self._epochs, self._batch_size)
        missing = [[job for job in batch if found[job] is None] for batch in parts]

        def keep(batch: Batch, curves: Sequence[Curve]) -> None:
            for job, curve in zip(batch, curves, strict=True):
                self._cache.put(job, curve, test=test)
            on_done(batch, curves, False)

        left = deque(batch for batch in missing if batch)
        if self._cluster is not None:
            self._run_on_cluster(self._cluster, left, test, on_done)
        elif self._pool is None:
            for batch in left:
                keep(batch, self._train_here(batch, test, on_part))
        else:
            self._run_in_pool(self._pool, left, test, keep)

    def _run_on_cluster(self, cluster: Cluster, left: Sequence[Batch], test: bool, on_done: Done) -> None:
        common = self._cache.common
        kind = RunKind(common=common, epochs=self._epochs, batch_size=self._batch_size, test=test, together=False)
        for place, curves in cluster.train(left, kind):  # a worker has put them into the folder
            for job, curve in zip(left[place], curves, strict=True):
                self._cache.know(job, curve, test=test)
            on_done(left[place], curves, False)

    def _train_here(self, batch: Batch, test: bool, on_part: Part) -> list[Curve]:
        def on_epoch(epoch: int) -> None:
            on_part(len(batch) * epoch / self._epochs)

        return _train(self._problem, batch, self._epochs, self._batch_size, test, on_epoch)

    def _run_in_pool(self, pool: ProcessPoolExecutor, left: deque[Batch], test: bool, keep: Keep) -> None:
        running: dict[Future[list[Curve]], Batch] = {}
        while left or running:
            while left and len(running) < self._processes:
                batch = left.popleft()
                running[pool.submit(_train_in_worker, batch, self._epochs, self._batch_size, test)] = batch
            done = wait(running, timeout=_TICK, return_when=FIRST_COMPLETED).done
            for future in sorted(done, key=lambda future: future.exception() is not None):  # first keep what is whole
                keep(running.pop(future), future.result())


def batches(problem: Problem, jobs: Batch, epochs: int, batch_size: int) -> list[Batch]:
    """Part runs, done or not, into an even number of equal batches, which two processes can share.

    Args:
        problem: The problem.
        jobs: The runs.
        epochs: How often the training rows are gone through.
        batch_size: Rows per step.

    Returns:
        Who is trained together; all if they are few.
    """
    if len(jobs) <= _LEAST_AT_ONCE:
        return [jobs]
    count = 2 * math.ceil(len(jobs) / (2 * _at_once(problem, epochs, batch_size)))
    return [[jobs[i] for i in some] for some in np.array_split(np.arange(len(jobs)), count)]


def _at_once(problem: Problem, epochs: int, batch_size: int) -> int:
    """Return how many models to train together."""
    rows = len(problem.train)
    kept = bytes_per_row(problem, problem.model(0)) * min(batch_size, rows)
    per_step = _BATCH_SECONDS / (math.ceil(rows / batch_size) * epochs)
    affordable = int((per_step - _SECONDS_PER_STEP) / (kept * _SECONDS_PER_BYTE))
    return min(max(affordable, _LEAST_AT_ONCE), _MOST_AT_ONCE)


@contextmanager
def workers(
    problem: Problem, epochs: int, batch_size: int, cache: Cache, processes: int, cluster: Cluster | None = None
) -> Iterator[Workers]:
    """Start what does the runs.

    Args:
        problem: The problem.
        epochs: How often the training rows are gone through.
        batch_size: Rows per step.
        cache: What is done already.
        processes: 1 works in this process; more start as many. Each uses one thread.
        cluster: The cluster to work on instead. Default: none.

    Yields:
        What does the runs. The processes end with the context, at once if an exception ends it.

    Raises:
        LostWorkerError: If a process ends before its time.
    """
    if processes == 1:
        yield Workers(problem, epochs, batch_size, cache, None, 1, cluster)
        return
    before = set(multiprocessing.active_children())
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, spawn, initializer=partial(_begin, packed(problem)))
    try:
        yield Workers(problem, epochs, batch_size, cache, pool, processes)
        pool.shutdown()
    except BrokenProcessPool as error:
        raise LostWorkerError(
            "a process that trains ended before its time, perhaps for want of memory: run again with fewer --jobs; "
            f"{'what was done is in the cache' if cache.folder and not cache.unwritable else 'nothing is kept'}"
        ) from error
    finally:
        for child in set(multiprocessing.active_children()) - before:
            child.terminate()  # a batch may take long, and its result is of no use any more
        pool.shutdown(wait=False, cancel_futures=True)


# The problem of a worker process, which `_begin` sets once instead of sending it along with every batch.
_problem: Problem | None = None


def _begin(problem: bytes) -> None:
    global _problem
    import pickle

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends the others
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _problem = pickle.loads(problem)


def _end_with_parent() -> None:
    """A parent that was killed can't end its processes, and these would wait for work of it for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "the pool has started this process"
    parent.join()
    os._exit(1)


def _train_in_worker(batch: Batch, *arguments: Any) -> list[Curve]:
    assert _problem is not None, "the pool's initializer sets it"
    return _train(_problem, batch, *arguments)


def _train(
    problem: Problem,
    batch: Batch,
    epochs: int,
    batch_size: int,
    test: bool,
    on_epoch: Callable[[int], object] | None = None,
) -> list[Curve]:
    with one_thread():
        return train_together(problem, batch, epochs=epochs, batch_size=batch_size, test=test, on_epoch=on_epoch)
