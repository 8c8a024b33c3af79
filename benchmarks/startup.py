"""How long fresh processes take to start: the command line and the imports."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from time import perf_counter
from typing import NamedTuple

from benchmarks.goals import Goal

NAME = "start-up"
LIMIT = 0.25  # seconds for `rmsprop --help`
BEYOND_TORCH = 0.15  # seconds of processor time for `import rmsprop.torch`, beyond those of `import torch`
HELP, TORCH, OURS = "rmsprop --help", "import torch", "import rmsprop.torch"
QUICK = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import numpy": [sys.executable, "-c", "import numpy"],
    "import rmsprop": [sys.executable, "-c", "import rmsprop"],
    HELP: [str(Path(sys.executable).with_name("rmsprop")), "--help"],
}
SLOW = {TORCH: [sys.executable, "-c", TORCH], OURS: [sys.executable, "-c", OURS]}


class Start(NamedTuple):
    """What one start took, in seconds.

    Args:
        wall: By the wall clock.
        processor: Of processor time.
    """

    wall: float
    processor: float


def measure(times: int) -> dict[str, list[Start]]:
    """Start every command by turns.

    Args:
        times: How often, after one start that doesn't count (it may write bytecode); those that load torch a third of
            that.

    Returns:
        What each start took, by command.
    """
    return {**_by_turns(QUICK, times), **_by_turns(SLOW, max(times // 3, 1))}


def _by_turns(commands: Mapping[str, Sequence[str]], times: int) -> dict[str, list[Start]]:
    turns = [{name: _start(command) for name, command in commands.items()} for _ in range(times + 1)]
    return {name: [turn[name] for turn in turns[1:]] for name in commands}


def _start(command: Sequence[str]) -> Start:
    before, start = getrusage(RUSAGE_CHILDREN), perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    wall, after = perf_counter() - start, getrusage(RUSAGE_CHILDREN)
    return Start(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def medians(starts: Mapping[str, Sequence[Start]]) -> dict[str, Start]:
    """Return the medians of each command."""
    return {name: Start(*map(median, zip(*taken, strict=True))) for name, taken in starts.items()}


def goals(starts: Mapping[str, Sequence[Start]]) -> list[Goal]:
    """Return what starting has to reach."""
    if not starts:
        return []
    typical = medians(starts)
    beyond = median(ours.processor - torchs.processor for ours, torchs in zip(starts[OURS], starts[TORCH], strict=True))
    return [
        Goal(NAME, f"s, {HELP}", LIMIT, typical[HELP].wall, at_least=False),
        Goal(OURS, f"s, processor, − {TORCH}", BEYOND_TORCH, beyond, at_least=False),
    ]
