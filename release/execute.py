"""A wheel as pip installs it, timed; the tests of the kernel against that of this platform, in an empty environment."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

from release.platforms import ROOT


def install(wheel: Path, folder: Path) -> tuple[Path, float]:
    """Install a wheel and what it needs into an empty environment.

    Args:
        wheel: The wheel.
        folder: Where the environment is made.

    Returns:
        Its Python, and how many seconds the installation took.
    """
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    begin = time.perf_counter()
    subprocess.run([python, "-m", "pip", "install", "--quiet", wheel], check=True)
    return python, time.perf_counter() - begin


def install_elsewhere(wheel: Path, platform: str, folder: Path) -> float:
    """Install a wheel, and nothing that it needs, as pip does on the platform that it is for.

    Args:
        wheel: The wheel.
        platform: The platform's tag.
        folder: An empty folder, where its files go.

    Returns:
        How many seconds it took.
    """
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--platform", platform, "--target", str(folder)]
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", "pip", "install", *options, wheel], check=True)
    return time.perf_counter() - begin


def tested(python: Path, tests: str, chosen: str) -> str:
    """Run tests against an installed wheel.

    Args:
        python: The Python that it is installed in. What else the tests need is lent by this one's environment.
        tests: A file of tests, below ``tests/``.
        chosen: Which of them, in pytest's words.

    Returns:
        pytest's last line.
    """
    lent = Path(sysconfig.get_path("purelib", vars={"base": str(python.parents[1])})) / "lent.pth"
    lent.write_text(sysconfig.get_path("purelib"))
    options = ["-q", "-p", "no:cacheprovider", "-k", chosen]
    run = subprocess.run(
        [python, "-m", "pytest", *options, str(ROOT / "tests" / tests)], cwd=ROOT, capture_output=True, text=True
    )
    if run.returncode:
        raise SystemExit(f"error: {tests} failed:\n{run.stdout}\n{run.stderr}")
    return run.stdout.splitlines()[-1]
