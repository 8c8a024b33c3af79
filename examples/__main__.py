"""All examples in turn: ``python -m examples`` keeps what they measured, and writes the page of clients from it."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

from benchmarks.environment import describe, machine
from examples.page import page
from examples.running import FOLDER, NAMES, run
from rmsprop.files import write_atomically

ROOT = FOLDER.parent


def main() -> None:
    """Run them, and write down what they measured, each as soon as it is known."""
    environment = describe()
    found: dict[str, Any] = {}
    folder = ROOT / "benchmarks" / "results" / f"{environment['date']}-{machine()}-clients"
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        found[name] = dataclasses.asdict(run(name))
        print(json.dumps({name: found[name]}), file=sys.stderr)
        log = {"environment": environment, "examples": found}
        write_atomically(folder / "clients.json", f"{json.dumps(log, indent=1)}\n".encode())
        write_atomically(ROOT / "docs" / "clients.md", page(log).encode())


if __name__ == "__main__":
    main()
