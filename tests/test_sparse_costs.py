"""The costs on the page of sparse gradients are those of the log of `benchmarks.sparse`."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "sparse.md").read_text(encoding="utf-8")
LOGS = ROOT / "benchmarks" / "results" / "2026-11-29-amd-epyc-2-cpus-sparse"
COLUMNS = {
    "bytes touched": "bytes touched, C++",
    "`rmsprop`": "rmsprop",
    '`sparse="rowwise"`': "rmsprop, one average per row",
    "FBGEMM, one average per row": "FBGEMM, one average per row",
    "momentum, with `prepare`": "rmsprop, momentum, prepared",
    "`torch.optim.SparseAdam`": "torch SparseAdam",
    "the dense step": "rmsprop, dense gradient",
}


def measured(name):
    """The milliseconds of processor time in a log: (how, rows of the table) -> contender -> as printed."""
    tables = re.split(r"\n(?=[\d,]+ rows of )", (LOGS / name).read_text(encoding="utf-8"))[1:]
    heads = [re.match(r"([\d,]+) rows of .* a step, (by turns|alone):", table).groups() for table in tables]
    lines = [[line for line in table.splitlines() if line.startswith("  ")] for table in tables]
    return {
        (how, rows): {line[2:34].strip(): line[34:].split()[1] for line in those}
        for (rows, how), those in zip(heads, lines, strict=True)
    }


@pytest.mark.parametrize("rows", ["10,000", "100,000", "1,000,000", "10,000,000"])
@pytest.mark.parametrize("how", ["by turns", "alone"])
def test_costs_are_those_of_the_log(how, rows):
    table = re.findall(r"(?:^\|.*\n)+", PAGE.split("## What it costs")[1], re.MULTILINE)[how == "alone"]
    heads, *body = (line.strip("| ").split(" | ") for line in table.splitlines())
    (cells,) = (cells for cells in body if cells[0] == rows)
    found = measured("rows.txt")[how, rows]
    assert cells[1:] == [found.get(COLUMNS[head], "–") for head in heads[1:]]


def factors(how, name, other, *sizes):
    """The least and the largest quotient of two contenders' times."""
    tables = [table for (one, rows), table in measured("rows.txt").items() if one == how and rows in (sizes or [rows])]
    found = [float(table[name]) / float(table[other]) for table in tables]
    return min(found), max(found)


def test_factors_are_those_of_the_log():
    by_turns, alone = (factors(how, "rmsprop", "bytes touched, C++") for how in ("by turns", "alone"))
    said = "takes {:.1f} to {:.1f} times as long when all take turns, and {:.1f} to {:.1f} times when alone"
    assert said.format(*by_turns, *alone) in PAGE
    dense = [
        factors(how, "rmsprop, dense gradient", name, "1,000,000")[0]
        for name in ("rmsprop", "bytes touched, C++")
        for how in ("by turns", "alone")
    ]
    assert "takes {:.0f} times as long by turns and {:.0f} times alone".format(*dense[:2]) in PAGE
    assert "takes only {:.0f} and {:.0f} times as long as the loop".format(*dense[2:]) in PAGE


@pytest.mark.parametrize(
    ("how", "name", "factor"),
    [("by turns", "rmsprop", 1), ("alone", "rmsprop", 2), ("alone", "bytes touched, C++", 2)],
)
def test_ten_times_as_many_rows_cost_what_the_page_says(how, name, factor):
    million, ten = (float(measured("rows.txt")[how, rows][name]) for rows in ("1,000,000", "10,000,000"))
    assert round(ten / million) == factor
    assert "the cost hardly changes by turns; alone it doubles, and so does the loop's" in PAGE


def test_huge_pages_took_as_long_as_the_page_says():
    before, after = (measured(name)["by turns", "1,000,000"]["rmsprop"] for name in ("rows.txt", "huge-pages.txt"))
    assert f"({before} → {after} ms for a million" in PAGE
