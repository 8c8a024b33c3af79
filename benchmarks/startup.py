"""How long fresh processes take to start: the command line and the import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

LIMIT = 0.25  # seconds for `rmsprop --help`
HELP = "rmsprop --help"
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import numpy": [sys.executable, "-c", "import numpy"],
    "import rmsprop": [sys.executable, "-c", "import rmsprop"],
    HELP: [str(Path(sys.executable).with_name("rmsprop")), "--help"],
}


def measure(times: int) -> dict[str, list[float]]:
    """Start every command by turns.

    Args:
        times: How often, after one start that doesn't count (it may write bytecode).

    Returns:
        The seconds of each start, by command.
    """
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for nth in range(times + 1):
        for name, command in COMMANDS.items():
            start = perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            if nth > 0:
                seconds[name].append(perf_counter() - start)
    return seconds


def medians(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Return the median of each command."""
    return {name: median(values) for name, values in seconds.items()}
