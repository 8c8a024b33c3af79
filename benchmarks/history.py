"""What the benchmarks found from run to run: a line of JSON per case, appended to ``history.jsonl``.

The logs of a run, every timing included, are kept while the documentation cites them; these lines are kept for good.
``python -m docs.generate.benchmarks docs`` draws them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.report import Results
from rmsprop.files import write_atomically

HISTORY = Path(__file__).with_name("history.jsonl")
VERSIONS = ("python", "torch", "numpy", "jax", "optax", "keras", "tensorflow")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A case as one run found it.

    Args:
        date: The day, as ``2026-11-29``.
        machine: The processor and how many CPUs there were.
        commit: What was measured.
        versions: Of Python and the libraries.
        case: The case's name.
        seconds: The median of each contender's step, by name.
        times_ours: How many times as long as rmsprop's it takes, within rounds, by name.
    """

    date: str
    machine: str
    commit: str
    versions: Mapping[str, str]
    case: str
    seconds: Mapping[str, float]
    times_ours: Mapping[str, float]

    @property
    def run(self) -> tuple[str, str, str]:
        """Day, machine and commit: the run that found it."""
        return self.date, self.machine, self.commit


def entries(results: Results) -> list[Entry]:
    """Return what is kept of a run.

    Args:
        results: What it found.

    Returns:
        One entry per case.
    """
    about = results.environment
    return [
        Entry(
            date=about["date"],
            machine=f"{about['cpu']}, {about['cpus']} CPUs",
            commit=about["commit"],
            versions={name: about[name] for name in VERSIONS if name in about},
            case=name,
            seconds={row.contender: row.median for row in summary["rows"]},
            times_ours={row.contender: row.times_ours for row in summary["rows"]},
        )
        for name, summary in results.summaries.items()
    ]


def append(found: Iterable[Entry], path: Path) -> None:
    """Append entries to the store.

    Args:
        found: The entries.
        path: The store.
    """
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    lines = [json.dumps(asdict(entry), ensure_ascii=False) + "\n" for entry in found]
    write_atomically(path, (before + "".join(lines)).encode())


def read(path: Path) -> Sequence[Entry]:
    """Read the store.

    Args:
        path: The store.

    Returns:
        All entries, in the order in which they were appended.
    """
    return [Entry(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
