import csv
import dataclasses
import io
import json
import math
import re

import pytest
from lab.compare.made_up import comparison
from support import Page

from rmsprop.lab.compare import report, sentences, tables
from rmsprop.lab.compare.analysis import analyse
from rmsprop.lab.compare.results import Comparison
from rmsprop.lab.compare.statistics import Estimate
from rmsprop.lab.folders import COMPARISON, check_folder

ENDS = {"sgd": 0.2, "adam": 0.1, "rmsprop": 0.101, "adagrad": 0.05, "momentum": 0.3}


@pytest.fixture(scope="module")
def known():
    return analyse(comparison(ENDS, lost=[("momentum", 1), ("momentum", 2)]))


@pytest.fixture(scope="module")
def page(known):
    return report.html(known)


def test_the_verdict_can_be_quoted(known):
    assert sentences.headline(known) == (
        "On made-up (tuned with 3 trials in each of 3 studies, 20 seeds): by validation loss, RMSProp is better than "
        "SGD and Momentum, worse than AdaGrad and not distinguishable from Adam. "
        "20 seeds in 3 studies can't settle differences below about 0.004."
    )
    tuned, defaults = sentences.verdicts(known)
    assert tuned.title == "Equal tuning: tuned with 3 trials in each of 3 studies, 20 seeds"
    assert defaults.title == "Default settings: 20 seeds"
    assert re.fullmatch(
        r"By validation loss, AdaGrad is lowest with 0\.0\d+ \(95 % interval 0\.0\d+ to 0\.0\d+\)\. Against RMSProp, "
        r"which has 0\.10\d* \(95 % interval 0\.\d+ to 0\.\d+\), on the same seeds, AdaGrad is better, SGD and "
        r"Momentum are worse and Adam is not distinguishable\. 20 seeds in 3 studies can't settle differences below "
        r"about 0\.00\d\.",
        tuned.paragraphs[0],
    )
    assert tuned.paragraphs[1].startswith("By test accuracy, AdaGrad is highest with 0.99")
    assert re.match(
        r"The target, validation loss at most 0\.\d+ \(Adam's\), is reached in the fewest steps by", tuned.paragraphs[2]
    )
    assert tuned.paragraphs[3] == "2 of 20 runs of Momentum diverged and count as infinitely bad."


@pytest.mark.parametrize(
    ("ends", "lost", "said"),
    [
        ({"rmsprop": 0.1}, (), "by validation loss, RMSProp reaches 0.0996 (95 % interval 0.0945 to 0.1058)."),
        ({"rmsprop": 0.1, "adam": 0.1}, (), "by validation loss, RMSProp is not distinguishable from Adam."),
        (
            {"adam": 0.1, "sgd": 0.1, "adagrad": 0.1, "rmsprop": 0.5, "nesterov": 0.1},
            (),
            "by validation loss, RMSProp is worse than all 4 others.",
        ),
        ({"rmsprop": 0.1, "adam": 0.1}, [("adam", n) for n in range(20)], "is better than Adam."),
    ],
)
def test_the_headline(ends, lost, said):
    assert said in sentences.headline(analyse(comparison(ends, lost=lost, noise=0.05)))


@pytest.mark.parametrize(
    ("seeds", "lost", "said"),
    [
        (4, (), "4 seeds in 3 studies can't settle differences below about 0.07."),
        (40, (), "40 seeds in 3 studies can't settle differences below about 0.08."),
        (4, range(4), ""),  # told
        (4, range(2), "4 seeds in 3 studies can't settle how large a difference is where runs diverged."),
    ],
)
def test_what_so_few_runs_cannot_settle_is_said_with_its_size(seeds, lost, said):
    diverged = [("adam", seed) for seed in lost]
    found = analyse(comparison({"rmsprop": 0.1, "adam": 0.13}, seeds=seeds, lost=diverged, noise=0.5))
    assert said in sentences.headline(found)
    assert said in sentences.verdicts(found)[0].paragraphs[0]
    assert ("can't settle" in sentences.headline(found)) is bool(said)


@pytest.mark.parametrize(("adam", "studies", "doubted"), [(0.5, 2, True), (0.5, 3, False), (0.1, 2, False)])
def test_a_difference_that_two_studies_found_is_doubted_in_the_same_breath(adam, studies, doubted):
    found = comparison({"rmsprop": 0.1, "adam": adam}, noise=0.05)
    few = dataclasses.replace(found, budget=dataclasses.replace(found.budget, studies=studies))
    doubt = (
        "Beware: with 2 studies, 12\u00a0% to 38\u00a0% of comparisons between equals call one of them better, with 3 "
        "(--budget standard) 4\u00a0% to 18\u00a0%."
    )
    assert sentences.headline(analyse(few)).endswith(doubt) == doubted


@pytest.mark.parametrize(
    ("epochs", "steps", "said"), [(1, 141, "1 epoch of 141 steps"), (60, 1, "60 epochs of 1 step")]
)
def test_one_of_a_kind_is_singular(known, epochs, steps, said):
    facts = dataclasses.replace(known.comparison.facts, epochs=epochs, steps_per_epoch=steps)
    text = report.markdown(dataclasses.replace(known, comparison=dataclasses.replace(known.comparison, facts=facts)))
    assert f"; {said}, 12 rows each." in text
    assert f" for {said} at batch size 12" in text


def test_a_paragraph_for_a_paper_is_in_both_reports(known, page):
    facts = known.comparison.facts
    said = (
        f"We trained made-up ({facts.rows[0]} training, {facts.rows[1]} validation and {facts.rows[2]} test rows, "
        f"{facts.parameters} parameters) with SGD, Adam, RMSProp, AdaGrad, Momentum for {facts.epochs} epochs of "
        f"{facts.steps_per_epoch} steps at batch size {facts.batch_size} (equal tuning: tuned with 3 trials in each of "
        "3 studies, 20 seeds; default settings: 20 seeds). Settings of RMSProp: "
    )
    text = report.markdown(known)
    assert said in text
    assert said in " ".join(" ".join(Page(page).text).split())
    call = known.runs("defaults", "rmsprop")[0].choice.call
    assert f"{call} (default settings, seeds 0 to 19)" in text.split("## For a paper")[1].split("## Settings")[0]


def test_equal_values_rank_nobody():
    found = analyse(comparison({"rmsprop": 0.1, "adam": 0.1, "sgd": 0.2}, noise=0.0))
    assert (
        sentences.verdicts(found)[0]
        .paragraphs[0]
        .startswith(
            "By validation loss, the lowest, 0.1, is shared by RMSProp and Adam. Against RMSProp on the same seeds,"
        )
    )


def test_values_of_a_column_have_the_same_decimals(known):
    for ranking in known.rankings[:2]:
        shown = [tables.value(ranking, standing).partition(".")[2] for standing in ranking.standings]
        assert len(set(map(len, shown))) == 1


def test_steps_that_nobody_needed_are_not_drawn():
    ends = {"rmsprop": 0.1, "sgd": 0.2}
    reached = [picture.name for picture in report.pictures(analyse(comparison(ends)))]
    never = [picture.name for picture in report.pictures(analyse(comparison(ends, optimum=-5.0)))]
    assert "difference-steps" in reached
    assert "difference-steps" not in never


def test_when_nothing_can_be_said_that_is_said():
    everything = [(name, seed) for name in ("rmsprop", "adam") for seed in range(20)]
    lost = analyse(comparison({"rmsprop": 0.1, "adam": 0.1}, lost=everything))
    tuned = sentences.verdicts(lost)[0].paragraphs
    assert tuned[0] == "By validation loss nothing can be said: over a quarter of everyone's runs diverged."
    assert "There is no target: it is set by sgd, momentum, nesterov or adam" in sentences.method(lost)[-1]


def test_without_noise_it_is_said_in_words_and_not_shown_as_certainty():
    found = analyse(comparison({"rmsprop": 0.1, "adam": 0.2}, noise=0.0))
    tuned, defaults = sentences.verdicts(found)
    assert tuned.paragraphs[0].startswith(
        "By validation loss, RMSProp is lowest with 0.1 (95 % interval without width)"
    )
    assert tuned.paragraphs[-1].startswith("All seeds of a study give the same run")
    assert "20 runs are worth 3 tuning studies" in tuned.paragraphs[-1]
    assert defaults.paragraphs[-1].startswith("All 20 seeds give the same run")
    assert {row[2] for track in found.tracks for row in tables.summary(found, track).rows} == {"no width"}


def test_how_it_was_done_says_what_is_corrected_for(known):
    text = " ".join(sentences.method(known))
    assert "98.8 % each (4 comparisons, Bonferroni)" in text
    assert "interquartile mean" in text
    assert "never left out" in text


def test_the_summary_has_a_row_for_each_and_counts_the_lost(known):
    table = tables.summary(known, "tuned")
    assert table.headings[-1] == "diverged"
    rows = {row[0]: row for row in table.rows}
    assert list(rows) == ["SGD", "Adam", "RMSProp", "AdaGrad", "Momentum"]
    assert rows["Momentum"][-1] == "2/20"
    assert rows["SGD"][3:] == ("worse", rows["SGD"][4], "0\N{NO-BREAK SPACE}%", "-", "")
    assert rows["RMSProp"][3] == "the reference"


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.0684996, 0.0914722, "0.068 to 0.091"),
        (17.0, 170.0, "17 to 170"),
        (1.0, 1.0, "1 to 1"),
        (12.17, math.inf, "12.17 to ∞"),
        (-math.inf, 0.5, "−∞ to 0.5"),
        (1e-14, 2e-14, "1e−14 to 2e−14"),
    ],
)
def test_numbers_are_as_precise_as_their_interval(low, high, said):
    assert tables.span(low, high) == said


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (-0.0020676, -0.0000047, "−0.0021 to −0.000005"),
        (-0.0, 0.0042, "0.0000 to +0.0042"),
        (-0.0056, -5e-17, "−0.0056 to 0.0000"),
    ],
)
def test_an_end_near_0_says_on_which_side_it_is_and_0_has_no_sign(low, high, said):
    assert tables.span(low, high, sign=True) == said


def test_a_number_that_is_0_in_its_digits_has_no_sign():
    assert tables.number(-0.00001, 4, sign=True) == tables.number(0.00001, 4, sign=True) == "0.0000"
    assert tables.number(-0.0, None) == tables.number(0.0, None, sign=True) == "0"


def test_an_interval_that_rounding_alone_makes_wide_has_no_width(known):
    point = Estimate(9.628, 9.628, math.nextafter(9.628, 10.0), 0.95)
    assert tables.interval(known.rankings[0], point) == "no width"


def test_the_page_loads_nothing(page):
    found = Page(page)
    assert not {"script", "link", "img", "iframe", "object"} & set(found.tags)
    assert all(link.startswith("#") for link in found.links)
    assert not re.search(r"url\((?!#)|@import", page)


def test_every_figure_is_there_with_a_caption_and_ids_of_its_own(page):
    found = Page(page)
    # Losses of two tracks, time to target, differences by three measures, sensitivity, best of k.
    assert found.tags.count("figure") == found.tags.count("figcaption") == found.tags.count("svg") == 8
    assert len(found.ids) == len(set(found.ids))
    assert {link[1:] for link in found.links} <= set(found.ids)
    assert len(page) < 900_000


def test_the_page_tells_words_tables_settings_and_notes(known, page):
    text = " ".join(" ".join(Page(page).text).split())
    assert sentences.headline(known) in text
    for verdict in sentences.verdicts(known):
        assert all(paragraph in text for paragraph in verdict.paragraphs)
    assert "torch.optim.Adam(params, lr=0.001, betas=(0.9, 0.999), eps=1e-08) 0 to 19" in text
    assert "widened <once>" in text
    assert "Interquartile" in text or "interquartile range" in text


def test_markdown_has_the_same_words_and_even_tables(known):
    text = report.markdown(known)
    assert sentences.headline(known) in text
    assert all(paragraph in text for verdict in sentences.verdicts(known) for paragraph in verdict.paragraphs)
    block = next(part for part in text.split("\n\n") if part.startswith("| optimizer"))
    lines = block.splitlines()
    assert len(lines) == 2 + len(ENDS)
    assert len({len(line) for line in lines}) == 1
    assert re.fullmatch(r"(\| -+:? )+\|", lines[1])


def test_a_row_per_run_holds_everything_that_defines_it(known):
    rows = list(csv.DictReader(io.StringIO(report.runs_csv(known))))
    assert len(rows) == 2 * len(ENDS) * 20
    lost = [row for row in rows if row["diverged_at"]]
    assert {(row["optimizer"], row["seed"], row["diverged_at"]) for row in lost} == {
        ("momentum", "1", "17"),
        ("momentum", "2", "17"),
    }
    assert {row["best_validation"] for row in lost} == {"inf"}
    assert {row["steps_to_target"] for row in lost} == {"inf"}
    adam = next(row for row in rows if row["optimizer"] == "adam")
    assert (adam["lr"], adam["beta2"], adam["alpha"], adam["study"]) == ("0.001", "0.999", "", "0")
    assert float(adam["test_accuracy"]) == pytest.approx(0.99, abs=0.005)


def test_a_row_per_trial(known):
    rows = list(csv.DictReader(io.StringIO(report.trials_csv(known))))
    assert len(rows) == len(ENDS) * 3 * 3
    assert sum(row["best_validation"] == "inf" for row in rows) == len(ENDS) * 3


def test_the_files_can_be_read_again(known, tmp_path):
    folder = tmp_path / "a" / "b"
    report.write(known, folder)
    assert {path.name for path in folder.iterdir()} == {
        "report.html",
        "report.md",
        "runs.csv",
        "trials.csv",
        "result.json",
        "loss.png",
        "differences.png",
    }
    again = analyse(Comparison.from_dict(json.loads((folder / "result.json").read_text())))
    assert sentences.verdicts(again) == sentences.verdicts(known)
    check_folder(folder, COMPARISON)


@pytest.mark.parametrize(
    ("ends", "more"),
    [
        ({"rmsprop": 0.1}, {}),
        ({"rmsprop": 0.1, "adagrad": 0.2}, {"seeds": 1}),
        ({"rmsprop": 1e-7, "sgd": 1e-3}, {"optimum": 0.5}),
        ({"rmsprop": 0.1, "sgd": 0.2}, {"trials": ()}),
        ({"rmsprop": 0.1, "sgd": 0.2}, {"lost": [(name, n) for n in range(20) for name in ("sgd", "rmsprop")]}),
        ({"rmsprop": 0.1, "sgd": 0.1}, {"noise": 0.0}),
        ({"rmsprop-keras": 0.1, "adam+swa": 0.1}, {"reference": "rmsprop-keras", "tracks": ("defaults",)}),
        (dict.fromkeys(("sgd", "momentum", "nesterov", "adagrad", "adadelta", "adam", "adam+swa", "rmsprop"), 0.1), {}),
    ],
    ids=["alone", "one seed", "optimum", "untuned", "all lost", "no noise", "another reference", "eight"],
)
def test_every_kind_of_comparison_is_drawn_without_a_warning(ends, more):
    found = analyse(comparison(ends, **more))
    text = report.html(found)
    assert "nan" not in re.sub(r'd="[^"]*"', "", " ".join(Page(text).text).lower()).split()
    assert Page(text).tags.count("figure") >= 3
    assert report.markdown(found)
