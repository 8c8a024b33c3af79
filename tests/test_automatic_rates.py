"""The page on automatic learning rates says what the trainings say."""

from pathlib import Path

import pytest

from benchmarks.automatic_candidates import BASELINE, CANDIDATES, ON_DATA
from benchmarks.automatic_rates import CALIBRATION, REPORTED, read
from benchmarks.automatic_rates_table import AUTOMATIC, calibration, lost, problems, summaries, summary, table

ROOT = Path(__file__).parents[1]
FOLDER = max((ROOT / "benchmarks" / "results").glob("*-automatic-rates"))
PAGE = (ROOT / "docs" / "automatic-learning-rates.md").read_text(encoding="utf-8")
LOG = (FOLDER / "automatic_rates.txt").read_text(encoding="utf-8").splitlines()
LINES = read(FOLDER / "runs.jsonl")


def test_every_training_is_there_once():
    done = {(one["problem"], one["candidate"], one["seed"], one["lr"]) for one in LINES}
    assert len(done) == len(LINES)
    for problem in problems(LINES):
        units = [[one for one in LINES if (one["problem"], one["candidate"]) == (problem, name)] for name in CANDIDATES]
        assert {tuple(sorted(one["seed"] for one in unit)) for unit in units} <= {REPORTED, REPORTED[:1]}
        assert {one["problem"] for one in LINES if one["candidate"] == CALIBRATION} > {problem}


@pytest.mark.parametrize("against", [BASELINE, ON_DATA])
def test_the_log_is_what_the_trainings_say(against):
    assert {*calibration(LINES), *lost(LINES), *summary(LINES, against)} <= {*LOG}
    assert {*summary(LINES, against, "last"), *table(LINES, against)} <= {*LOG}


def test_the_page_quotes_the_log():
    quoted = [line for line in PAGE.split("## What was measured")[1].splitlines() if line.startswith("| ")]
    assert len(quoted) > len(problems(LINES)) + len(AUTOMATIC)
    assert [line for line in quoted if line not in LOG] == []


@pytest.mark.parametrize("which", ["best", "last"])
def test_none_wins_and_none_ships(which):
    assert [name for name, one in summaries(LINES, which=which).items() if one.wins] == []
    assert 'no `lr="auto"`' in PAGE
