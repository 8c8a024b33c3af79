import re

import numpy as np
import polars as pl
import pytest
from PIL import Image
from support import Page

from rmsprop.lab.train.folder import FIGURE, REPORT
from rmsprop.lab.train.runs import begin
from rmsprop.lab.train.sentences import statements


def report(folder, given, lost=None):
    with begin(given, folder) as run:
        try:
            list(run.train())
        except Exception as error:
            lost = error
        result = run.finish(lost)
    return result, (folder / REPORT).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits")
    return folder, *report(folder, {"problem": "digits", "epochs": 4})


def test_the_report_loads_nothing(digits):
    page = Page(digits[2])
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert page.links
    assert all(link.startswith("#") for link in page.links)
    assert not re.search(r"url\((?!#)|@import", digits[2])


def test_every_figure_is_there_with_a_caption_and_ids_of_its_own(digits):
    page = Page(digits[2])
    assert page.tags.count("figure") == page.tags.count("figcaption") == page.tags.count("svg") == 6
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links} <= set(page.ids)


def test_the_report_tells_the_verdict_the_scores_and_the_settings(digits):
    _, result, text = digits
    words = " ".join(" ".join(Page(text).text).split())
    assert statements(result)[0].evidence in words
    assert "test, always '3'" in words
    assert f"{result.scores['test'][1]:.4g}" in words
    assert "--lr 0.003" in words
    assert "pixel_0_0" in words
    assert "8.8 epochs of 34 steps" in words


def test_a_paragraph_for_a_paper_holds_what_defines_the_run(digits):
    _, result, text = digits
    words = " ".join(" ".join(Page(text).text).split())
    assert (
        "with RMSProp (dialect torch), as implemented in rmsprop "
        f"{result.versions['rmsprop']} on PyTorch {result.versions['torch']}, with decay ρ = 0.99 and ε = 1e-08 "
        "outside the square root. It starts from v₀ = 0, and a step with the gradient g is: g ← g + 0.001·θ; "
        "v ← 0.99·v + 0.01·g²; θ ← θ − lr·g / (√v + 1e-8). The learning rate lr: "
    ) in words
    assert "Training took 4 of 4 epochs of 34 steps, with batch size 32 and seed 0. The weights of epoch" in words


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dialect": "keras", "momentum": 0.9}, "b ← 0.9·b + lr·g / √(v + 1e-7); θ ← θ − b."),
        ({"dialect": "keras", "lr": 0.01}, "ε = 1e-07 inside the square root"),
        ({"schedule": "schedule-free"}, "with schedule-free RMSProp (dialect torch)"),
    ],
    ids=str,
)
def test_the_paragraph_follows_the_settings(tmp_path, given, said):
    _, text = report(tmp_path, {"problem": "linear", "epochs": 2, **given})
    words = " ".join(" ".join(Page(text).text).split())
    assert said in words
    assert ("a step with the gradient g is" in words) == ("schedule" not in given)


def test_the_figure_is_legible(digits):
    with Image.open(digits[0] / FIGURE) as image:
        assert image.format == "PNG"
        assert image.width >= 1000


def test_a_report_of_a_run_that_diverged_at_once(tmp_path):
    result, text = report(tmp_path, {"problem": "linear", "lr": 3.0})
    assert result.curves.lost.step == 2
    assert Page(text).tags.count("svg") == 2
    assert "diverged at step 2" in text


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_a_decay_without_a_window_has_no_figure_of_it(tmp_path, decay):
    _, text = report(tmp_path, {"problem": "linear", "lr": 1e-4, "epochs": 2, "decay": decay, "dialect": "tensorflow1"})
    assert Page(text).tags.count("svg") == 4


def test_names_from_the_table_are_text(tmp_path):
    nasty, target = "<script> & [red]", "y<b>$\\frac$"
    x = np.arange(40.0)
    pl.DataFrame({nasty: x, target: 2 * x + 0.5}).write_csv(tmp_path / "t.csv")
    given = {"problem": str(tmp_path / "t.csv"), "target": target, "model": "linear", "epochs": 2}
    result, text = report(tmp_path / "run", given)
    assert not {"script", "b"} & set(Page(text).tags)
    assert result.line in "".join(Page(text).text)


def test_steps_of_zero_and_signs_that_the_font_lacks_are_drawn_without_a_warning(tmp_path):
    pl.DataFrame({"x": np.arange(40.0), "目": np.arange(40.0) / 3}).write_csv(tmp_path / "t.csv")
    given = {"problem": str(tmp_path / "t.csv"), "target": "目", "epochs": 2, "eps": 1e300, "hidden": (2,) * 12}
    _, text = report(tmp_path / "run", given)
    assert Page(text).tags.count("svg") == 5


# Words that the report of a problem must have, and how many figures.
KINDS = {
    "bowl": ("0.1x² + 2y², the bowl of Dive into Deep Learning, trained with RMSProp for 2 of 2 epochs of 1 step.", 5),
    "bowl-noisy": ("distance (units of x and y)", 5),
    "logistic": ("none is held out: what is judged is the optimizer", 7),
    "english": ("The next character of English text", 6),
    "cartpole": ("length (steps)", 5),
    "ratings": ("rmse (stars)", 5),
    "digits-cnn": ("Classification of digit from 64 inputs and 1797 rows", 6),
}


@pytest.mark.parametrize(("name", "words", "figures"), [(name, *row) for name, row in KINDS.items()], ids=KINDS)
def test_the_report_of_each_kind_of_problem(tmp_path, name, words, figures):
    result, text = report(tmp_path, {"problem": name, "epochs": 2})
    said = " ".join(" ".join(Page(text).text).split())
    assert words in said
    assert Page(text).tags.count("svg") == figures
    assert ("validation" in said) == result.problem.holds_out
    assert ("test rows were read once" in said) == result.problem.holds_out
    assert ("above the optimum" in said) == (result.problem.optimum is not None)
