"""A survey: what it says of made-up comparisons whose outcome is known, and its files."""

import csv
import io
import math
from dataclasses import replace

import numpy as np
import pytest
from lab.compare.made_up import comparison

from rmsprop.lab.compare.analysis import analyse
from rmsprop.lab.compare.survey import files, report, sentences, tables
from rmsprop.lab.compare.survey.costs import EVALUATIONS, PROBLEMS, QUESTION, TOWARDS_ADAM, costs_of
from rmsprop.lab.optimizers import row
from rmsprop.lab.problems.defaults import PROBLEMS as BUILT_IN

ENDS = {"rmsprop": 0.2, "adam": 0.1, "sgd": 0.4, "rmsprop-marthe": 0.2}
# Half-way, all the way, beyond, and not at all.
TOWARDS = {
    "rmsprop-bias-correction": 0.15,
    "rmsprop-averaged-momentum": 0.1,
    "rmsprop-laprop": 0.05,
    "rmsprop-corrected-momentum": 0.2,
    "rmsprop-sf": 0.4,
}


def problem(name, ends, **more):
    made = comparison(ends, **more)
    evaluations = {optimizer: row(optimizer).evaluations for optimizer in ends}
    return analyse(replace(made, facts=replace(made.facts, problem=name), evaluations=evaluations))


@pytest.fixture(scope="module")
def analyses():
    close = {**ENDS, "adam": 0.2}
    return [
        problem("one", ENDS | TOWARDS),
        problem("two", close | TOWARDS),
        problem("solved", ENDS | TOWARDS, optimum=0.0),
    ]


@pytest.fixture(scope="module")
def found(analyses):
    return [costs_of(analysis) for analysis in analyses]


def test_the_question_names_what_there_is():
    assert set(PROBLEMS) <= set(BUILT_IN)
    assert len(PROBLEMS) >= 6
    for name in (*QUESTION, *TOWARDS_ADAM):
        row(name)


def test_who_is_told_from_whom_by_loss(found):
    headline = sentences.headline(found, "tuned")
    assert headline.startswith(
        "Of 3 problems, equally tuned, by loss against RMSProp: Adam is better on 2 and worse on 0"
    )
    assert "SGD is better on 0 and worse on 3" in headline
    assert "RMSProp + MARTHE is better on 0 and worse on 0" in headline
    adam = sentences.answers(found, "tuned")[0]
    assert adam.startswith("Adam, against RMSProp: by loss")
    assert "better on one and solved, not distinguishable on 1" in adam


def test_signs_stand_behind_what_is_told_apart(found):
    names = sentences.asked(found)
    table = tables.standings(found, "tuned", tables.LOSS, names, "rmsprop")
    assert table.headings == ("optimizer", "one", "two", "solved")
    signs = {cells[0]: [cell[-2:] for cell in cells[1:]] for cells in table.rows}
    none = tables.SIGNS[None]
    assert signs["Adam"] == [" +", none, " +"]
    assert signs["SGD"] == [" −", " −", " −"]
    assert signs["RMSProp"] == signs["RMSProp + MARTHE"] == [none, none, none]
    assert "LaProp" not in signs


@pytest.mark.parametrize(
    ("label", "what"),
    [
        ("RMSProp + bias correction", "better than RMSProp, but worse than Adam"),
        ("RMSProp + averaged momentum", "closes the gap: better than RMSProp, and not told from Adam"),
        ("LaProp", "closes the gap, and is better than Adam"),
        ("RMSProp + corrected momentum", "not told from RMSProp, and worse than Adam"),
        ("Schedule-free RMSProp", "worse than RMSProp"),
    ],
)
def test_what_closes_the_gap_to_adam(found, label, what):
    said = sentences.gap(found, "tuned")
    assert {sentence.partition(",")[0] for sentence in said} == {"one", "solved"}  # there is none on "two"
    assert f"{label}: {what}" in said[0].replace(". ", "; ").rstrip(".").split("; ")[1:]


def test_no_gap_is_no_question(found):
    said = sentences.gap([found[1]], "tuned")
    assert said == (
        "By loss and gradient evaluations to the target Adam is told to be better than RMSProp on none of 1 problems.",
    )
    assert sentences.gap([costs_of(problem("bare", ENDS))], "tuned") == ()


def test_evaluations_count_what_a_step_takes(analyses, found):
    for analysis, costs in zip(analyses, found, strict=True):
        for name in ("adam", "rmsprop-marthe"):
            steps = analysis.ranking("tuned", "steps").of(name).costs
            np.testing.assert_array_equal(costs.costs["tuned", EVALUATIONS][name], steps * row(name).evaluations)
    assert row("rmsprop-marthe").evaluations == 4
    assert "but RMSProp + MARTHE 4." in " ".join(sentences.method(found))


def test_files_hold_all_that_the_page_says(found):
    again = files.read(files.facts_json(found), files.runs_csv(found))
    assert report.markdown(again) == report.markdown(found)
    rows = list(csv.DictReader(io.StringIO(files.runs_csv(found))))
    assert len(rows) == sum(len(costs.labels) * 2 * 20 for costs in found)


def test_a_divergence_goes_through_the_files():
    lost = [costs_of(problem("solved", ENDS, lost=[("rmsprop", seed) for seed in range(20)]))]
    (again,) = files.read(files.facts_json(lost), files.runs_csv(lost))
    assert all(map(math.isinf, again.costs["tuned", "loss"]["rmsprop"]))
    assert "∞" in report.markdown([again])


def test_the_page_loads_nothing_and_shows_learning_rates(analyses, tmp_path):
    report.write(analyses[:1], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*report.SURVEY.files}
    page = (tmp_path / report.HTML).read_text(encoding="utf-8")
    assert "one: Learning rate, equal tuning" in page
    assert 'src="http' not in page
    assert "<link" not in page
