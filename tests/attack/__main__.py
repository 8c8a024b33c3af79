"""All attacks at length, as ``python -m attack MINUTES`` in tests/: a table of what was tried and what was found.

Readers and optimizers get what time is left after 30 stops of each command; ends with 1 if anything was found.
"""

import json
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from attack.kills import WORKS
from attack.machines import MACHINES
from attack.readers import CATEGORIES
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

STOPS, INPUTS, EXAMPLES = 30, 2_000, 300


def run(module, *arguments):
    """Run an attack in a process of its own; return its lines."""
    done = subprocess.run([sys.executable, "-m", module, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"error: {module} {arguments} ended with {done.returncode}: {done.stderr[-3000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def machine(name, seconds):
    """Drive an optimizer for some time; return how often, and what was found."""
    end, count = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        try:
            run_state_machine_as_test(
                MACHINES[name], settings=settings(max_examples=EXAMPLES, derandomize=False, deadline=None)
            )
        except Exception:
            return count, [traceback.format_exc(limit=-5)]
        count += EXAMPLES
    return count, []


def main(minutes):
    """Attack for some time; print a table."""
    end, rows = time.monotonic() + 60 * minutes, []
    for row in run("attack.c_interface", 200_000, time.time_ns() % 2**32):
        rows.append(("C interface", row["inputs"], []))
    for work in WORKS:
        for row in run("attack.kills", STOPS, time.time_ns() % 2**32, work):
            rows.append((f"stopped: {work}", row["stopped"], row["found"]))
    for name in MACHINES:
        rows.append((name, *machine(name, (end - time.monotonic()) / 8)))
    kept = Path(tempfile.mkdtemp(prefix="attack-"))
    counts, found = dict[str, int](), dict[str, list]()
    while not counts or time.monotonic() < end:
        for category in CATEGORIES:
            for row in run("attack.fuzz", category, INPUTS, time.time_ns() % 2**32, kept):
                counts[row["reader"]] = counts.get(row["reader"], 0) + row["inputs"]
                found.setdefault(row["reader"], []).extend(row["found"])
    rows += [(f"reader: {name}", count, found[name]) for name, count in counts.items()]
    for name, count, wrong in rows:
        print(f"{name:32} {count:10,} {len(wrong):5}")
    for name, _, wrong in rows:
        for each in wrong:
            print(f"\n{name}: {each}")
    return any(wrong for _, _, wrong in rows)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
