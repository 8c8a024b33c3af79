"""The tests that need a GPU, run before anything is measured there."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from rmsprop.files import write_atomically

ROOT = Path(__file__).parents[2]
LOG = "tests.log"
TESTS = ("tests/torch/gpu", "-k", "cuda or streams")


def run_tests(folder: Path, tests: tuple[str, ...] = TESTS) -> tuple[bool, str]:
    """Run the tests of the kernel on the GPU, and write what pytest says to `LOG`.

    Args:
        folder: Where to write it.
        tests: What pytest is told to run. Default: all that needs a GPU.

    Returns:
        Whether none failed, and what is to be said of it.
    """
    if find_spec("pytest") is None:
        return True, "not run, because pytest is not installed: pip install 'rmsprop[test]'"
    command = [sys.executable, "-m", "pytest", "-v", "--color=no", *tests]
    ran = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    write_atomically(folder / LOG, f"$ pytest {' '.join(map(repr, command[3:]))}\n{ran.stdout}".encode())
    last = ran.stdout.strip().rpartition("\n")[2]
    return ran.returncode == 0, f"{re.sub(r'^=+ | =+$', '', last)} ({LOG})"
