"""The versions that everything is tested with: the newest that fit together, as pip finds them.

Run as ``python -m release.constraints``. Lines of constraints.txt with a comment stay as they are, and bind the others.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from release.platforms import ROOT

PINS = ROOT / "constraints.txt"
HEAD = "# What the tests passed with. Applied to installs and to build environments alike (see the Makefile).\n"
WANTED = [".[test,clients,lint,docs,release]", "cmake", "ninja", "pytest-xdist"]


def main() -> None:
    """Find the versions and write them down."""
    lines = PINS.read_text(encoding="utf-8").splitlines()
    PINS.write_text(pinned(resolved(held(lines)), held(lines)), encoding="utf-8")


def held(lines: list[str]) -> list[str]:
    """Return the pins with a comment, which says why they are not the newest.

    Args:
        lines: Of constraints.txt.

    Examples:
        >>> held(["numpy==2.4.6", "torch==2.13.0  # the machines have it"])
        ['torch==2.13.0  # the machines have it']
    """
    return [line for line in lines if re.match(r"[^#\s]+\s+#", line)]


def resolved(holding: list[str]) -> dict[str, str]:
    """Ask pip for the newest versions, and install nothing.

    Args:
        holding: Pins that stay.

    Returns:
        Name -> version.
    """
    with tempfile.TemporaryDirectory() as folder:
        pins, report = Path(folder, "pins.txt"), Path(folder, "report.json")
        pins.write_text("\n".join(holding))
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
        environment = {key: value for key, value in os.environ.items() if not key.endswith("_CONSTRAINT")}
        command += ["--report", str(report), "--constraint", str(pins), *WANTED]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
        rows = json.loads(report.read_text())["install"]
    found = {row["metadata"]["name"]: row["metadata"]["version"] for row in rows}
    return {name: version for name, version in found.items() if name != "rmsprop"}


def pinned(found: dict[str, str], holding: list[str]) -> str:
    """Return the text of constraints.txt.

    Args:
        found: Name -> version.
        holding: Lines that stay.

    Examples:
        >>> print(pinned({"b": "2", "a": "1", "c": "4"}, ["c==3  # why"]), end="")
        # What the tests passed with. Applied to installs and to build environments alike (see the Makefile).
        a==1
        b==2
        c==3  # why
    """
    names = {re.split("[=<>~!]", line)[0].lower() for line in holding}
    lines = [f"{name}=={version}" for name, version in found.items() if name.lower() not in names]
    return HEAD + "\n".join(sorted([*lines, *holding], key=str.lower)) + "\n"


if __name__ == "__main__":
    main()
