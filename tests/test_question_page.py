"""docs/adam-sgd-rmsprop.md: it is what its data say, computed again by others."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import trim_mean

from docs.generate import question
from rmsprop.lab.compare.survey.costs import PROBLEMS, QUESTION, TOWARDS_ADAM

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / question.PAGE).read_text(encoding="utf-8")
RUNS = list(csv.DictReader((question.data() / "all-runs.csv").read_text(encoding="utf-8").splitlines()))
SEEDS = 20
# What the page calls some of the optimizers, and where a loss isn't the validation loss.
NAMES = {"RMSProp": "rmsprop", "Adam": "adam", "SGD": "sgd", "RMSProp + MARTHE": "rmsprop-marthe"}
LOSS = {"logistic": "gap"}


def costs(problem, track, name, key):
    rows = [row for row in RUNS if (row["problem"], row["track"], row["optimizer"]) == (problem, track, name)]
    return np.array([float(row[key]) for row in rows])


def table(after, nth=0):
    """The rows of a table of the page, by their first cell: the nth one after a heading."""
    blocks = re.findall(r"(?:^\|.*\n)+", PAGE[PAGE.index(after) :], flags=re.MULTILINE)
    lines = blocks[nth].splitlines()
    cells = [[cell.strip("\N{NO-BREAK SPACE} ") for cell in line.strip("|\n").split("|")] for line in lines]
    assert cells[0] == ["optimizer", *PROBLEMS]
    return {row[0]: row[1:] for row in cells[2:]}


def test_the_page_is_generated():
    assert question.page(question.data()) == PAGE


def test_all_runs_are_there():
    assert len(RUNS) == len(PROBLEMS) * 2 * len((*QUESTION, *TOWARDS_ADAM)) * SEEDS


@pytest.mark.parametrize(("track", "heading"), [("tuned", "## Equal tuning"), ("defaults", "## Default settings")])
def test_means_are_those_of_the_runs(track, heading):
    """The mean of the middle half as SciPy computes it; of three digits, half of the last is at most 0.5 %."""
    rows = table(heading)
    for label, name in NAMES.items():
        for problem, cell in zip(PROBLEMS, rows[label], strict=True):
            values = costs(problem, track, name, LOSS.get(problem, "loss"))
            shown = cell.split()[0]
            if shown == "∞":
                assert np.isinf(np.sort(values)[5:15]).any()
            else:
                assert float(shown) == pytest.approx(trim_mean(values, 0.25), rel=0.005)


def test_evaluations_are_those_of_the_runs():
    rows = table("Gradient evaluations to the target:")
    for label, name in NAMES.items():
        for problem, cell in zip(PROBLEMS, rows[label], strict=True):
            half = np.sort(costs(problem, "tuned", name, "evaluations"))[9]  # the tenth of 20 runs
            assert cell.split()[0] == (f"{half:.0f}" if np.isfinite(half) else "-")


def test_signs_are_what_the_differences_allow():
    """The interval of three studies goes from the least draw to the largest; in some a study is drawn three times."""
    rows, seeds = table("## Equal tuning"), np.arange(SEEDS)
    for label, name in NAMES.items():
        for problem, cell in zip(PROBLEMS, rows[label], strict=True):
            theirs, own = (costs(problem, "tuned", who, LOSS.get(problem, "loss")) for who in (name, "rmsprop"))
            if not np.isfinite([theirs, own]).all() or name == "rmsprop":
                continue
            difference = theirs - own
            by_study = [trim_mean(difference[seeds % 3 == study], 0.25) for study in range(3)]
            if cell.endswith("+"):
                assert max(by_study) < 0, (problem, name)
            elif cell.endswith("−"):
                assert min(by_study) > 0, (problem, name)
            else:
                assert not (difference < 0).all(), (problem, name)
                assert not (difference > 0).all(), (problem, name)
