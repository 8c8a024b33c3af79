"""All attacks at length, as ``python -m attack MINUTES`` in tests/: a table of what was tried and what was found.

Readers and optimizers get what time is left after 30 stops of each command; a row of the table stands as soon as it is
known. An attack that breaks down is a finding too. Ends with 1 if anything was found.
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
    """Run an attack in a process of its own; return its lines, and how it broke down if it did."""
    done = subprocess.run([sys.executable, "-m", module, *map(str, arguments)], capture_output=True, text=True)
    broken = [f"{module} {arguments} ended with {done.returncode}: {done.stderr[-3000:]}"] if done.returncode else []
    return [json.loads(line) for line in done.stdout.splitlines()], broken


def machine(name, seconds):
    """Drive an optimizer for some time; return how often, and what was found."""
    end, count = time.monotonic() + seconds, 0
    while not count or time.monotonic() < end:  # whatever is left of the time
        try:
            run_state_machine_as_test(
                MACHINES[name], settings=settings(max_examples=EXAMPLES, derandomize=False, deadline=None)
            )
        except Exception:
            return count, [traceback.format_exc(limit=-5)]
        count += EXAMPLES
    return count, []


def rows(end):
    """Yield what was attacked, how often, and what was found, until some moment."""
    lines, broken = run("attack.c_interface", 200_000, time.time_ns() % 2**32)
    yield "C interface", sum(row["inputs"] for row in lines), broken
    for work in WORKS:
        lines, broken = run("attack.kills", STOPS, time.time_ns() % 2**32, work)
        yield (
            f"stopped: {work}",
            sum(row["stopped"] for row in lines),
            broken + [each for row in lines for each in row["found"]],
        )
    for name in MACHINES:
        yield name, *machine(name, (end - time.monotonic()) / 8)
    for name, (count, found) in readers(end).items():
        yield f"reader: {name}", count, found


def readers(end):
    """Attack readers in turn until some moment; return reader -> how often, and what was found."""
    kept = Path(tempfile.mkdtemp(prefix="attack-"))
    results = dict[str, tuple[int, list]]()
    while not results or time.monotonic() < end:
        for category in CATEGORIES:
            lines, broken = run("attack.fuzz", category, INPUTS, time.time_ns() % 2**32, kept)
            for row in [*lines, *({"reader": category, "inputs": 0, "found": broken} for _ in broken)]:
                count, found = results.get(row["reader"], (0, []))
                results[row["reader"]] = count + row["inputs"], found + row["found"]
    return results


def main(minutes):
    """Attack for some time; print a table, and what was found."""
    wrong = []
    for name, count, found in rows(time.monotonic() + 60 * minutes):
        print(f"{name:32} {count:10,} {len(found):5}", flush=True)
        wrong += [f"{name}: {each}" for each in found]
    for each in wrong:
        print(f"\n{each}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
