"""What the numbers were measured on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

import rmsprop
from rmsprop import native


def describe() -> dict[str, str | int | float]:
    """Return machine, software and load as they are now; the keys say what."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "cpu": _cpu(),
        "cpus": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "instruction set": native.instruction_set(),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "transparent huge pages": _transparent_huge_pages(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numpy", "jax", "optax", "keras", "tensorflow")},
        "rmsprop": rmsprop.__version__,
        "commit": _commit(),
        "load before": load(),
    }


def load() -> float:
    """Return how many processes wanted a CPU in the last minute; above 1 before the start, others disturb."""
    return round(os.getloadavg()[0], 2)


def machine() -> str:
    """Return a short name of the machine for a folder: ``amd-epyc-2-cpus``."""
    return re.sub(r"[^a-z0-9]+", "-", f"{_cpu()} {os.cpu_count()} cpus".lower()).strip("-")


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    names = re.findall(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else []
    return names[0] if names else platform.machine()


def _transparent_huge_pages() -> str:
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    chosen = re.search(r"\[(\w+)\]", setting.read_text()) if setting.exists() else None
    return chosen[1] if chosen else "unknown"


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
