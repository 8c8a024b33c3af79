"""The most memory that steps need beyond parameters, gradients and state, each contender in a fresh process.

``python -m benchmarks.memory CASE CONTENDER [quick]`` is that process; it needs Linux's /proc.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.cases import CASES, Case
from benchmarks.contenders import COMPOSITE, CONTENDERS, OURS, Contender, entering
from benchmarks.entry import THREADS, Located
from benchmarks.goals import Goal

ROOT = Path(__file__).parents[1]
CASES_MEASURED = ("one-tensor", "resnet", "all-options", "numpy")
BY_NAME = {case.name: case for case in CASES}
STEPS = 3


def measure(cases: Sequence[Case], contenders: Sequence[Contender], quick: bool) -> Iterator[dict[str, object]]:
    """Measure each contender in those of some cases that are in `CASES_MEASURED`.

    A compiled step is left out: the compiler itself takes hundreds of megabytes.

    Args:
        cases: In what.
        contenders: Who.
        quick: Only two of them, in a size that takes no time.

    Yields:
        ``case``, ``contender``, ``tensors`` (bytes of parameters, gradients and state) and ``beyond`` (bytes that the
        process took beyond them at its peak).
    """
    for name in (case.name for case in cases if case.name in CASES_MEASURED):
        for contender in entering(contenders, BY_NAME[name])[: 2 if quick else None]:
            if not contender.compiled:
                command = [sys.executable, "-m", "benchmarks.memory", name, contender.name, *["quick"] * quick]
                output = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
                yield {"case": name, "contender": contender.name, **json.loads(output)}


def goals(used: Sequence[Mapping[str, Any]]) -> list[Goal]:
    """Return what memory has to reach: next to nothing is needed, by plain operations the size of a parameter."""
    if not used:
        return []
    beyond = max(found["beyond"] for found in used if found["contender"] == OURS) / 1e6
    composite = (found for found in used if found["contender"] == COMPOSITE)
    return [
        Goal("memory", "MB beyond the tensors", 1.0, beyond, at_least=False),
        *(_of_the_largest(BY_NAME[found["case"]], found["beyond"]) for found in composite),
    ]


def _of_the_largest(case: Case, beyond: int) -> Goal:
    return Goal(case.heading, f"{COMPOSITE}'s memory / largest", 1.0, beyond / case.largest_bytes, at_least=False)


def _beyond_tensors(case: Case, contender: Contender) -> dict[str, int]:
    """Take steps in this process and return what `measure` yields of it."""
    _take_steps(contender, replace(case, shapes=((100_000,),)))  # threads and libraries are there from now on
    before = _status_bytes("VmRSS")
    entry = _take_steps(contender, case)
    tensors = sum(array.nbytes for arrays in entry.arrays() for array in arrays)
    return {"tensors": tensors, "beyond": _status_bytes("VmHWM") - before - tensors}


def _take_steps(contender: Contender, case: Case) -> Located:
    entry = contender.enter(case)
    for _ in range(STEPS):
        entry.step()
    return entry


def _status_bytes(name: str) -> int:
    """Return a number of this process's status: VmRSS is what it has in memory, VmHWM the most it ever had."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    case_name, contender_name, *is_quick = sys.argv[1:]
    chosen = BY_NAME[case_name]
    who = next(row for row in entering(CONTENDERS, chosen) if row.name == contender_name)
    torch.set_num_threads(THREADS)
    print(json.dumps(_beyond_tensors(chosen.quick() if is_quick else chosen, who)))
