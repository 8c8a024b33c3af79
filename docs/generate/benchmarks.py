"""The documentation's page of benchmarks over time: ``python -m docs.generate.benchmarks docs``."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
from matplotlib.ticker import LogLocator, NullLocator

from benchmarks.cases import CASES, LIBRARIES, Case
from benchmarks.contenders import CONTENDERS, OURS
from benchmarks.history import HISTORY, Entry, read
from benchmarks.report import SHORT, duration, three_digits
from benchmarks.summary import FLOOR
from rmsprop.files import write_atomically
from rmsprop.lab.drawing import COLOURS, DARK, GREY, empty_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGE = "benchmarks.md"
# Other settings of this package take part in some cases; the page compares it with others.
_NO_PEERS = {one.name for one in CONTENDERS if one.label.startswith("rmsprop")} | {"none"}
PEERS = tuple(dict.fromkeys(one.name for one in CONTENDERS if one.name not in _NO_PEERS))
_COLUMNS, _MARKERS = 3, "os^Dv"
_LOOKS = {FLOOR: (DARK, ":")} | {
    name: (COLOURS[place % len(COLOURS)], "-" if place < len(COLOURS) else "--") for place, name in enumerate(PEERS)
}

_INTRODUCTION = """\
# Benchmarks over time

`make bench` measures a step of this package against each library's own, and appends a line per case to
`benchmarks/history.jsonl`: the day, the machine, the commit, the versions, the median step of every contender, and how
many times as long as ours it takes. The lines are kept for good, and this page draws them, as
[asv](https://asv.readthedocs.io) does for others. Medians of different days are comparable on one machine only, ratios
nearly everywhere: contenders take turns within a run.

In the pictures a line is another way to take the step, and its height how many times as long as ours it takes: at 1
both are equal. The dotted line is the floor, a loop that moves the same bytes. {MARKERS}

Runs, from left to right:

"""
_LOGS = """
## Logs

The whole log of a run, every timing included, is in `benchmarks/results/<date>-<machine>/` as long as a page cites it:

| log in `benchmarks/results` | written by | cited on |
| --- | --- | --- |
| `2026-11-29-amd-epyc-2-cpus` | `make bench` | [speed](speed.md), the README, [Keras](keras.md) |
| `2026-11-29-amd-epyc-2-cpus/tune.txt` | `rmsprop tune` | [learning rate, decay and ε](tune.md) |
| `2026-11-21-amd-epyc-2-cpus/suggestion.txt`, `few_seeds.txt` | `python -m benchmarks.suggestion`, `few_seeds` | the same |
| `2026-11-21-amd-epyc-2-cpus/compare.txt`, `intervals.txt`, `lab.txt` | `rmsprop compare`, `python -m benchmarks.intervals`, `lab` | [comparing optimizers](compare.md) |
| `2026-11-21-amd-epyc-2-cpus/recorder.txt` | `python -m benchmarks.recorder` | [recording and diagnosing](diagnose.md) |
| `2026-11-29-amd-epyc-2-cpus-false-alarms` | `python -m benchmarks.false_alarms` | the same |
| `2026-11-29-amd-epyc-2-cpus-advice`, `2026-11-29-amd-epyc-2-cpus-confusion` | `python -m benchmarks.advice`, `confusion` | the same |
| `2026-11-29-amd-epyc-2-cpus-packed` | `python -m benchmarks --case packed-state --case schedule-free ...` | [PyTorch](torch.md), [without a schedule](schedule-free.md) |
| `2026-11-29-amd-epyc-2-cpus/forgetting.txt` | `python -m benchmarks.forgetting` | [PyTorch](torch.md) |
| `2026-11-29-amd-epyc-2-cpus-low-bits` | `python -m benchmarks.low_bits`, `low_bits_table`, `low_bits_memory`, `in_backward` | the same |
| `2026-11-29-amd-epyc-2-cpus-churn` | `python -m benchmarks.churn` | [from a table to predictions](churn.md) |
| `2026-11-29-amd-epyc-2-cpus-batch-size` | `python -m benchmarks.batch_size` | that of batch sizes |
| `2026-11-29-amd-epyc-2-cpus-clients` | `python -m examples` | [in other programs](clients.md) |
| `2026-11-29-amd-epyc-2-cpus-averages` | `python -m benchmarks.averages`, `average_cost` | [averages of the weights](averaging.md) |
| `2026-11-29-amd-epyc-2-cpus-learning-rates` | `python -m benchmarks.learning_rates` | [learning rates from gradients](learning-rates-from-gradients.md) |
| `2026-11-29-amd-epyc-2-cpus-automatic-rates` | `python -m benchmarks.automatic_rates`, `automatic_rates_table` | [automatic learning rates](automatic-learning-rates.md) |
| `2026-11-29-amd-epyc-2-cpus-engines` | `python -m benchmarks.engines` | [several machines](cluster.md) |
| `2026-11-29-amd-epyc-2-cpus-compare-all` | `rmsprop compare all` | [Adam, SGD, RMSProp, SWA or AdaTune?](adam-sgd-rmsprop.md) |
| `2026-11-29-amd-epyc-2-cpus-sparse` | `python -m benchmarks.sparse`, with `THP_MEM_ALLOC_ENABLE=1` too | [sparse gradients](sparse.md) |
| `2026-11-29-amd-epyc-2-cpus-sparse-features` | `python -m benchmarks.sparse_features` | [sparse features](sparse-features.md) |

Older logs are in the repository's history: `git log --stat -- benchmarks/results`. The source archive holds none.
"""  # noqa: E501


def page(entries: Sequence[Entry]) -> str:
    """Return the page in Markdown.

    Args:
        entries: What the store holds.
    """
    marks = "; ".join(f"`{_MARKERS[place]}` is {name}" for place, name in enumerate(machines(entries)))
    parts = [
        "<!-- Made by docs.generate.benchmarks from benchmarks/history.jsonl. -->\n\n",
        _INTRODUCTION.replace("{MARKERS}", f"Of the markers, {marks}."),
        *(f"{number}. {_said(run)}\n" for number, run in enumerate(runs(entries), 1)),
        *(_section(library, entries) for library in LIBRARIES if _cases(library, entries)),
        _LOGS,
    ]
    return "".join(parts)


def runs(entries: Sequence[Entry]) -> list[tuple[str, str, str]]:
    """Return the runs, in the order in which they were appended.

    Args:
        entries: What the store holds.
    """
    return list(dict.fromkeys(entry.run for entry in entries))


def machines(entries: Sequence[Entry]) -> list[str]:
    """Return the machines, in the order in which they first ran.

    Args:
        entries: What the store holds.
    """
    return list(dict.fromkeys(entry.machine for entry in entries))


def picture(library: str, entries: Sequence[Entry]) -> bytes:
    """Return the picture of a library's cases, a chart each.

    Args:
        library: A key of `LIBRARIES`.
        entries: What the store holds.

    Returns:
        An SVG file, the same for the same entries.
    """
    cases = _cases(library, entries)
    rows = -(-len(cases) // _COLUMNS)

    content = io.BytesIO()
    with empty_figure((10, 0.5 + 2.3 * rows)) as figure, matplotlib.rc_context({"svg.fonttype": "none"}):
        panels = list(figure.subplots(rows, _COLUMNS, squeeze=False).flat)
        for axes, case in zip(panels, cases, strict=False):
            _paint(axes, case, entries)
        for axes in panels[len(cases) :]:
            axes.set_visible(False)
        lines = {line.get_label(): line for axes in panels for line in axes.get_lines() if line.get_label()[0] != "_"}
        figure.legend(lines.values(), lines.keys(), loc="outside upper left", ncols=7, fontsize=9)
        figure.savefig(content, format="svg", metadata={"Date": None, "Identifier": fingerprint(library, entries)})
    return content.getvalue()


def fingerprint(library: str, entries: Sequence[Entry]) -> str:
    """Return a digest of what a library's picture shows; the committed picture carries the one it was drawn from.

    Args:
        library: A key of `LIBRARIES`.
        entries: What the store holds.

    Returns:
        Sixteen hexadecimal digits.
    """
    names = [case.name for case in _cases(library, entries)]
    shown = [runs(entries), [asdict(entry) for entry in entries if entry.case in names]]
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:16]


def _cases(library: str, entries: Sequence[Entry]) -> list[Case]:
    measured = {entry.case for entry in entries if any(peer in entry.times_ours for peer in PEERS)}
    return [case for case in CASES if case.library == library and case.name in measured]


def _said(run: tuple[str, str, str]) -> str:
    date, machine, commit = run
    return f"{date}, commit {commit}, {machine}"


def _section(library: str, entries: Sequence[Entry]) -> str:
    title = LIBRARIES[library]
    head = ["", "rmsprop, newest", "the run before", "fastest other way", "floor"]
    lines = ["", f"## {title}", "", f"![Each case on {title}, from run to run](benchmarks-{library}.svg)", ""]
    lines += [_line(head), _line(["---", *["---:"] * 4])]
    lines += [_line(_cells(case, entries)) for case in _cases(library, entries)]
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(case: Case, entries: Sequence[Entry]) -> list[str]:
    *earlier, newest = (entry for entry in entries if entry.case == case.name)
    before = [duration(entry.seconds[OURS]) for entry in earlier if entry.machine == newest.machine][-1:]
    times, name = min((newest.times_ours[peer], peer) for peer in PEERS if peer in newest.times_ours)
    floor = f"{newest.times_ours[FLOOR]:.2f}" if FLOOR in newest.times_ours else "–"
    peer = f"{SHORT[name]}, {three_digits(times)}×"
    return [case.title, duration(newest.seconds[OURS]), *(before or ["–"]), peer, floor]


def _paint(axes: Axes, case: Case, entries: Sequence[Entry]) -> None:
    order = runs(entries)
    for peer in (FLOOR, *PEERS):
        for machine, marker in zip(machines(entries), _MARKERS, strict=False):
            chosen = [each for each in entries if (each.case, each.machine) == (case.name, machine)]
            points = [(order.index(each.run) + 1, each.times_ours[peer]) for each in chosen if peer in each.times_ours]
            if points:
                colour, style = _LOOKS[peer]
                label = SHORT.get(peer, peer)
                axes.plot(*zip(*points, strict=True), style, color=colour, marker=marker, markersize=4, label=label)
    axes.axhline(1, color=GREY, linewidth=1)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}×")
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_title(textwrap.fill(case.title, 44), fontsize=9, loc="left")
    axes.set_xlim(0.5, len(order) + 0.5)
    axes.set_xticks(range(1, len(order) + 1))


def main(folder: str) -> None:
    """Write the page and its pictures.

    Args:
        folder: Where to.
    """
    entries = read(HISTORY)
    write_atomically(Path(folder, PAGE), page(entries).encode())
    for library in LIBRARIES:
        if _cases(library, entries):
            write_atomically(Path(folder, f"benchmarks-{library}.svg"), picture(library, entries))


if __name__ == "__main__":
    main(*sys.argv[1:])
