"""What a worker of a cluster does: it trains a batch, and keeps the result in the folder that all of them share."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from rmsprop.lab.batched import Curve, Job, train_together
from rmsprop.lab.compare.cache import Cache, identity, versions
from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.problem import Problem

# What must be equal for a run to have the same bits; of a function's source a worker may know nothing.
_SAME = ("engine", "data", "model", "behaviour")


@dataclass(frozen=True, kw_only=True)
class Work:
    """A batch of runs to train, and where what is needed for it lies.

    Args:
        problem: The file of the pickled problem.
        digest: Its SHA-256. Nothing else is unpickled.
        folder: Where results are kept.
        common: What `identity` returned where the work was given out.
        fresh: Train what is kept already, too.
        batch: The runs.
        epochs: How often the training rows are gone through.
        batch_size: Rows per step.
        test: Judge them on the test rows.
        together: Keep them as a whole, and not one by one.
    """

    problem: Path
    digest: str
    folder: Path
    common: Mapping[str, Any]
    fresh: bool
    batch: Sequence[Job]
    epochs: int
    batch_size: int
    test: bool
    together: bool


def perform(theirs: Mapping[str, str], packed: bytes) -> list[Curve]:
    """Do some work, and keep what comes of it. This runs on a worker, whose torch is left with one thread.

    Args:
        theirs: The versions where the work was given out. They are compared first: others may pickle differently.
        packed: The pickled `Work`.

    Returns:
        The curve of each run.

    Raises:
        InputError: If the worker isn't like the machine that gave out the work, or can't reach the folder.
    """
    _check_versions(theirs)
    _check_threads()
    torch.set_num_threads(1)
    work: Work = pickle.loads(packed)
    problem = _problem(work.problem, work.digest)
    _check_identity(work, problem)
    cache = Cache(work.folder, work.common, fresh=work.fresh)
    if (curves := _kept(work, cache)) is not None:
        return curves
    curves = train_together(problem, work.batch, epochs=work.epochs, batch_size=work.batch_size, test=work.test)
    _keep(work, cache, curves)
    return curves


def _name() -> str:
    from distributed import get_worker

    return f"the worker {get_worker().address}"


def _check_versions(theirs: Mapping[str, str]) -> None:
    ours = versions()
    for name, there in theirs.items():
        here, there = (_minor(v) if name == "python" else v for v in (ours[name], there))
        if here != there:
            raise InputError(
                f"{_name()} has {name} {here}, and {there} gave it work: have one version everywhere, "
                "or runs would not be the same"
            )


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])


def _check_threads() -> None:
    """Runs draw from torch's random state, of which a process has one."""
    from distributed import get_worker

    worker = get_worker()
    if worker.state.nthreads != 1:
        raise InputError(
            f"{_name()} does {worker.state.nthreads} tasks at once in one process, but a run needs a process for "
            "itself: start workers with --nthreads 1, and as many as there are cores with --nworkers -1"
        )


@lru_cache(maxsize=1)
def _problem(file: Path, digest: str) -> Problem:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(
            f"{_name()} can't read in {file.parent} ({error.strerror}), where results are kept: share that folder with "
            "all workers under the same path, or name one that is shared by RMSPROP_CACHE"
        ) from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise InputError(f"{_name()} found another file than was sent at {file}: give the same command again")
    try:
        problem: Problem = pickle.loads(content)
    except ImportError as error:
        raise InputError(
            f"{_name()} can't load the problem ({error}): install that module there, or name its folder in the "
            "worker's PYTHONPATH"
        ) from None
    return problem


def _check_identity(work: Work, problem: Problem) -> None:
    ours = identity(problem, work.epochs, work.batch_size)
    if others := [name for name in _SAME if ours[name] != work.common[name]]:
        raise InputError(
            f"{_name()} computes something else for {problem.name} than the machine that gave it work "
            f"({', '.join(others)}): take workers with the same kind of processor and the same code"
        )


def _kept(work: Work, cache: Cache) -> list[Curve] | None:
    """Return what another worker has done before, such as one that was killed as it sent the result."""
    if work.together:
        return cache.get_together(work.batch)
    found = [curve for job in work.batch if (curve := cache.get(job, test=work.test)) is not None]
    return found if len(found) == len(work.batch) else None


def _keep(work: Work, cache: Cache, curves: Sequence[Curve]) -> None:
    if work.together:
        cache.put_together(work.batch, curves)
    else:
        for job, curve in zip(work.batch, curves, strict=True):
            cache.put(job, curve, test=work.test)
    if cache.unwritable:
        raise InputError(
            f"{_name()} can't write in {work.folder} ({cache.unwritable}), where results are kept: let it, "
            "or name another folder by RMSPROP_CACHE"
        )
