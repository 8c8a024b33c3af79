"""Runs that are done already, each found by a hash of everything that defines it."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

import rmsprop
from rmsprop.files import write_atomically
from rmsprop.lab.batched import Curve, Job
from rmsprop.lab.compare.results import curve_as_dict, curve_from
from rmsprop.lab.problems.conventions import one_thread
from rmsprop.lab.problems.problem import Problem

# To be raised whenever `rmsprop.lab.batched` computes something else, so that what it computed before isn't taken.
_ENGINE = 1
_Content = TypeVar("_Content")
# Rows on which a problem's model, loss and gradient are compared with those of a cached run.
_PROBE = 8


def default_folder() -> Path:
    """Return where runs are kept unless told otherwise: a folder of the user's, because a hash is the same everywhere.

    Returns:
        ``$RMSPROP_CACHE`` if that is set, else ``rmsprop/runs`` in the system's folder for caches.
    """
    if chosen := os.environ.get("RMSPROP_CACHE"):
        return Path(chosen)
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "rmsprop" / "runs"


def can_be_written(folder: Path) -> bool:
    """Whether runs can be kept in a folder, which need not be there yet.

    Args:
        folder: The folder.

    Returns:
        The answer; a disk that is full is not seen.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def versions() -> dict[str, str]:
    """Return the versions that a comparison runs with; all but Python's decide what it computes."""
    return {
        "rmsprop": rmsprop.__version__,
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def machine() -> dict[str, str]:
    """Return what decides, beside the versions, how long a step takes."""
    return {
        "node": platform.node(),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
    }


def identity(problem: Problem, epochs: int, batch_size: int) -> dict[str, Any]:
    """Return everything that the runs of a problem have in common and that decides what they compute.

    The data count by a hash of their bytes. Model, loss and metric count by their source where there is one, by the
    model's layers, and by what they do: outputs, objective, gradient and metric of a fresh model on a few rows.

    Args:
        problem: The problem.
        epochs: How often the training rows are gone through.
        batch_size: Rows per step.

    Returns:
        Plain values for JSON.
    """
    functions: dict[str, Callable[..., object]] = {
        "model": problem.make_model,
        "loss": problem.loss,
        "metric": problem.metric.of,
    }
    model = problem.model(0)
    return {
        "engine": _ENGINE,
        "versions": {name: version for name, version in versions().items() if name != "python"},
        "problem": problem.name,
        "data": problem.fingerprint(),
        "model": repr(model),
        "behaviour": _behaviour(problem, model),
        "source": {name: _source(function) for name, function in functions.items()},
        "l2": problem.l2,
        "epochs": epochs,
        "batch_size": batch_size,
    }


def _behaviour(problem: Problem, model: torch.nn.Module) -> str:
    x, y = problem.train.x[:_PROBE], problem.train.y[:_PROBE]
    parameters = [p for p in model.parameters() if p.requires_grad]
    with one_thread():  # machines with more cores than one another share a folder
        outputs = model(x)
        objective = problem.objective(model.parameters(), outputs, y)
        gradients = torch.autograd.grad(objective, parameters, allow_unused=True)
        metric = problem.metric.of(outputs.detach(), y)
    tensors = [*parameters, outputs, objective, *(g for g in gradients if g is not None), metric]
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().to_dense().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _source(function: Callable[..., object]) -> str | None:
    try:
        return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()
    except (OSError, TypeError):  # written in C, or typed in at a prompt
        return None


class Cache:
    """The runs of one problem that are done already, in a folder that any number of processes may share.

    Each run is a file of its own, written whole; nothing is ever changed in place. A file that is damaged counts as
    none, and is written again. Where the folder can't be written in, what it has is read, and what is new is kept for
    the life of the object: a full disk doesn't lose a comparison.

    Args:
        folder: Where runs are kept; None keeps them for the life of the object only.
        common: What `identity` returned.
        fresh: Take nothing from the folder, and replace what is there. Default False.
    """

    def __init__(self, folder: Path | None, common: Mapping[str, Any], *, fresh: bool = False) -> None:
        self.folder, self.fresh = folder, fresh
        self.damaged = 0
        self.unwritable = ""  # why nothing could be written
        self.common = common
        self._known: dict[str, Curve] = {}

    def seconds(self, optimizers: Sequence[str], measure: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Return what a step of each optimizer takes, measured once on each machine.

        Args:
            optimizers: Their names. Those that are compared are measured side by side, so each set is by itself.
            measure: Measures them, if that isn't done already.

        Returns:
            Seconds by name.
        """
        defined = {**self.common, "seconds_per_step": sorted(optimizers), "machine": machine()}
        file = f"{hashlib.sha256(_canonical(defined).encode()).hexdigest()}.seconds"
        found = self._read(file, lambda content: {name: float(content["seconds"][name]) for name in optimizers})
        if found is None:
            found = measure()
            self._write(file, {"seconds": found})
        return found

    def key(self, job: Job, *, test: bool) -> str:
        """Return the hash of everything that defines a run.

        Args:
            job: The run.
            test: Whether it is judged on the test rows.

        Returns:
            64 hexadecimal digits.
        """
        return hashlib.sha256(_canonical({**self.common, "job": asdict(job), "test": test}).encode()).hexdigest()

    def get(self, job: Job, *, test: bool) -> Curve | None:
        """Return what came of a run, if it is done already.

        Args:
            job: The run.
            test: Whether it is judged on the test rows.

        Returns:
            Its curve, or None.
        """
        key = self.key(job, test=test)
        if key not in self._known and (curve := self._read(f"{key}.json", _curve)) is not None:
            self._known[key] = curve
        return self._known.get(key)

    def put(self, job: Job, curve: Curve, *, test: bool) -> None:
        """Keep what came of a run.

        Args:
            job: The run.
            curve: What came of it.
            test: Whether it was judged on the test rows.
        """
        self.know(job, curve, test=test)
        self._write(f"{self.key(job, test=test)}.json", {"job": asdict(job), "curve": curve_as_dict(curve)})

    def know(self, job: Job, curve: Curve, *, test: bool) -> None:
        """Keep what came of a run for the life of the object, as somebody else has put it into the folder.

        Args:
            job: The run.
            curve: What came of it.
            test: Whether it was judged on the test rows.
        """
        self._known[self.key(job, test=test)] = curve

    def get_together(self, jobs: Sequence[Job]) -> list[Curve] | None:
        """Return what came of runs that were trained together, which decides the last bits of each.

        Args:
            jobs: All of them, in their order. They aren't judged on the test rows.

        Returns:
            Their curves, or None.
        """
        return self._read(self._file_of(jobs), lambda content: [curve_from(curve) for curve in content["curves"]])

    def put_together(self, jobs: Sequence[Job], curves: Sequence[Curve]) -> None:
        """Keep what came of runs that were trained together.

        Args:
            jobs: All of them, in their order.
            curves: What came of each.
        """
        self._write(self._file_of(jobs), {"curves": [curve_as_dict(curve) for curve in curves]})

    def _file_of(self, jobs: Sequence[Job]) -> str:
        defined = {**self.common, "threads": torch.get_num_threads(), "together": [asdict(job) for job in jobs]}
        return f"{hashlib.sha256(_canonical(defined).encode()).hexdigest()}.json"

    def notes(self) -> list[str]:
        """Return what a person should know about it, a sentence each."""
        said = []
        if self.damaged:
            files = "1 damaged file" if self.damaged == 1 else f"{self.damaged} damaged files"
            said.append(f"{files} in the cache had to be computed again.")
        if self.unwritable:
            said.append(
                f"The cache {self.folder} can't be written ({self.unwritable}): a temporary one, in memory, was used, "
                "and the same command begins anew. RMSPROP_CACHE names another folder."
            )
        return said

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        if self.folder is None or self.unwritable:
            return
        path = self._path(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, _canonical({**content, "checksum": _checksum(content)}).encode())
        except OSError as error:
            self.unwritable = error.strerror or str(error)

    def _path(self, name: str) -> Path:
        assert self.folder is not None
        return self.folder / name[:2] / name

    def _read(self, name: str, parsed: Callable[[Any], _Content]) -> _Content | None:
        if self.folder is None or self.fresh:
            return None
        try:
            content = json.loads(self._path(name).read_bytes())
            if content.pop("checksum") != _checksum(content):
                raise ValueError("its content isn't what was written")
            return parsed(content)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError):
            self.damaged += 1
            return None


def _curve(content: Mapping[str, Any]) -> Curve:
    return curve_from(content["curve"])


def _canonical(values: Mapping[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(_canonical(content).encode()).hexdigest()
