"""The costs on the page of sparse gradients are those of the log of `benchmarks.sparse`."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "sparse.md").read_text(encoding="utf-8")
LOGS = ROOT / "benchmarks" / "results" / "2026-11-29-amd-epyc-2-cpus-sparse"
COLUMNS = {
    "bytes touched": "bytes touched",
    "`rmsprop`": "rmsprop",
    '`sparse="rowwise"`': "rmsprop, one average per row",
    "FBGEMM, one average per row": "FBGEMM, one average per row",
    "momentum, with `prepare`": "rmsprop, momentum, prepared",
    "`torch.optim.SparseAdam`": "torch SparseAdam",
    "the dense step": "rmsprop, dense gradient",
}


def measured(name):
    """The milliseconds of processor time in a log: rows of the table -> contender -> as printed."""
    tables = re.split(r"\n(?=[\d,]+ rows of )", (LOGS / name).read_text(encoding="utf-8"))[1:]
    lines = {table.split()[0]: [line for line in table.splitlines() if line.startswith("  ")] for table in tables}
    return {rows: {line[2:34].strip(): line[34:].split()[1] for line in those} for rows, those in lines.items()}


@pytest.mark.parametrize("rows", ["10,000", "100,000", "1,000,000", "10,000,000"])
def test_costs_are_those_of_the_log(rows):
    heads, *body = (
        line.strip("| ").split(" | ") for line in PAGE.split("## What it costs")[1].splitlines() if "|" in line
    )
    (cells,) = (cells for cells in body if cells[0] == rows)
    found = measured("rows.txt")[rows]
    assert cells[1:] == [found.get(COLUMNS[head], "–") for head in heads[1:]]


def test_huge_pages_took_as_long_as_the_page_says():
    before, after = (measured(name)["1,000,000"]["rmsprop"] for name in ("rows.txt", "huge-pages.txt"))
    assert f"({before} → {after} ms for a million" in PAGE
