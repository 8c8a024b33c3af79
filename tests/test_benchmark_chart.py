"""The chart of speeds says one thing: bars, numbers, whiskers and the page come from the same quotients."""

import json
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from benchmarks import chart, redraw, report
from benchmarks.contenders import OURS
from benchmarks.report import three_digits

FOLDER = max(
    path.parent
    for path in (Path(__file__).parents[1] / "benchmarks" / "results").glob("*/results.json")
    if path.with_name("chart.png").exists()
)


@pytest.fixture(scope="module")
def results():
    return redraw.read(FOLDER)


def test_what_is_stored_is_what_the_timings_say(results):
    assert report.to_json(results) == (FOLDER / "results.json").read_text(encoding="utf-8")
    assert report.to_markdown(results) == (FOLDER / "summary.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["one-tensor", "resnet", "narrow-resnet", "many", "mlp", "all-options"])
def test_a_bar_is_as_long_as_its_number_says(results, name):
    axes = Figure().add_subplot()
    chart.times(axes, results.summaries[name]["rows"], "a case")
    rows = {row.contender: row for row in results.summaries[name]["rows"]}
    lengths = [bar.get_width() for bar in axes.patches]
    assert lengths[0] == rows[OURS].times_ours == rows[OURS].times_low == rows[OURS].times_high == 1
    assert [note.get_text() for note in axes.texts] == ["1", *(f"{three_digits(length)}×" for length in lengths[1:])]
    for row in rows.values():
        assert row.times_low <= row.times_ours <= row.times_high
    if "floor" in rows:
        assert axes.get_xlabel() == f"dashed: floor, {rows['floor'].times_ours:.2f}"
        assert axes.lines[-1].get_xdata()[0] == rows["floor"].times_ours


def test_the_page_names_the_quotients(results):
    stored = json.loads((FOLDER / "results.json").read_text(encoding="utf-8"))
    row = next(row for row in stored["cases"]["resnet"]["seconds_per_step"] if row["contender"] == "for-loop")
    assert f"{three_digits(row['times_ours'])}×" in report.to_markdown(results)
