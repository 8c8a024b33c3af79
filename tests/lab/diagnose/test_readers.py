"""Histories of all kinds, as programs write them."""

import csv
import json
import math
import shutil

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from rmsprop.cli.group import rmsprop
from rmsprop.lab.diagnose.finding import Diagnosis
from rmsprop.lab.diagnose.history import History, Series, Statistics
from rmsprop.lab.diagnose.pictures import pictures
from rmsprop.lab.diagnose.readers import histories
from rmsprop.lab.diagnose.rules import diagnose
from rmsprop.lab.diagnose.warm_up import warm_up
from rmsprop.lab.drawing import draw_figure
from rmsprop.lab.errors import InputError

FALLING = [2.0 / n for n in range(1, 13)]
RISING = [2.0, 1.2, 1.0, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7]


def kinds(diagnosis: Diagnosis) -> list[str]:
    return [finding.headline for finding in diagnosis.findings]


def write(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


TABLES = {
    "keras": (["epoch", "accuracy", "loss", "val_accuracy", "val_loss"], lambda n, a, b: [n, 0.5, a, 0.5, b]),
    "plain": (["epoch", "train_loss", "val_loss", "lr"], lambda n, a, b: [n, a, b, 0.001]),
    "slashes": (["epoch", "train/loss", "eval/loss", "learning_rate"], lambda n, a, b: [n, a, b, 0.001]),
    "words": (["Epoch", "Training Loss", "Validation Loss"], lambda n, a, b: [n, a, b]),
    "fastai": (["epoch", "train_loss", "valid_loss", "accuracy", "time"], lambda n, a, b: [n, a, b, 0.5, "00:01"]),
    "several": (
        ["epoch", "step", "train_loss_step", "train_loss_epoch", "val_loss"],
        lambda n, a, b: [n, n, 3.0, a, b],
    ),
}


@pytest.mark.parametrize(("header", "row"), TABLES.values(), ids=TABLES)
def test_columns_are_told_by_their_names(tmp_path, header, row):
    rows = [row(n, a, b) for n, (a, b) in enumerate(zip(FALLING, RISING, strict=True))]
    history = histories(write(tmp_path / "log.csv", header, rows))[0]
    assert history.train.values == tuple(FALLING)
    assert history.validation.values == tuple(RISING)
    assert "overfitting since" in kinds(diagnose(history))[0]


def test_rows_that_hold_only_some_of_the_numbers_are_put_together(tmp_path):
    rows = [row for n, (a, b) in enumerate(zip(FALLING, RISING, strict=True)) for row in ([n, a, ""], [n, "", b])]
    history = histories(write(tmp_path / "metrics.csv", ["step", "train_loss", "val_loss"], rows))[0]
    assert (len(history.train), len(history.validation)) == (12, 12)
    assert "overfitting since step 3" in kinds(diagnose(history))


@pytest.mark.parametrize(
    ("header", "options", "message"),
    [
        (
            ["epoch", "error_rate"],
            {},
            "has no column that looks like a training loss: name one of epoch, error_rate by --loss",
        ),
        (["a_loss", "b_loss"], {}, "has several that may be the training loss: name one of a_loss, b_loss by --loss"),
        (["loss", "val_loss_a", "val_loss_b"], {}, "name one of val_loss_a, val_loss_b by --validation"),
        (["loss"], {"loss": "cost"}, "--loss 'cost' is not in"),
        (["loss", "a"], {"validation": "b"}, "--validation 'b' is not in"),
    ],
)
def test_what_can_be_meant_in_two_ways_is_asked_for(tmp_path, header, options, message):
    path = write(tmp_path / "log.csv", header, [[1.0] * len(header)] * 3)
    with pytest.raises(InputError, match=message):
        histories(path, **options)


def test_a_named_column_wins(tmp_path):
    rows = [[n, a, b] for n, (a, b) in enumerate(zip(FALLING, RISING, strict=True))]
    path = write(tmp_path / "log.csv", ["epoch", "a_loss", "b_loss"], rows)
    history = histories(path, loss="a_loss", validation="b_loss")[0]
    assert history.validation.values == tuple(RISING)


def test_a_half_written_line_and_a_word_among_numbers(tmp_path):
    path = write(tmp_path / "log.csv", ["step", "loss"], [[n, loss] for n, loss in enumerate(FALLING)])
    with path.open("a") as file:
        file.write("12")
    assert len(histories(path)[0].train) == 12
    path.write_text("step,loss\n1,2.0\n2,hello\n")
    with pytest.raises(InputError, match="row 2 has 'hello' where a number is needed"):
        histories(path)


@pytest.mark.parametrize("content", [b"", b"\x89PNG\xff\xfe", b"step,loss\n"])
def test_files_of_other_kinds_are_refused(tmp_path, content):
    path = tmp_path / "log.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"log\.csv (is empty|is not text|has one line only)"):
        histories(path)


def test_folders_without_a_history_and_missing_paths_are_refused(tmp_path):
    with pytest.raises(InputError, match="holds no history"):
        histories(tmp_path)
    with pytest.raises(InputError, match="there is no"):
        histories(tmp_path / "none")


@pytest.mark.parametrize("layout", ["flat", "parts"])
def test_tensorboard_events_are_read(tmp_path, layout):
    from torch.utils.tensorboard import SummaryWriter

    if layout == "flat":
        tags = {"loss/train": (tmp_path, FALLING), "loss/validation": (tmp_path, RISING)}
    else:
        tags = {"epoch_loss": (tmp_path / "train", FALLING), "epoch_loss ": (tmp_path / "validation", RISING)}
    for tag, (folder, values) in tags.items():
        with SummaryWriter(str(folder)) as writer:
            for step, value in enumerate(values):
                writer.add_scalar(tag.strip(), value, step)
    history = histories(tmp_path)[0]
    assert history.train.values == pytest.approx(FALLING)
    assert history.validation.values == pytest.approx(RISING)
    assert "overfitting" in kinds(diagnose(history))[0]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three runs of rmsprop train: one that is well, one whose steps are too small, one that diverged."""
    folder = tmp_path_factory.mktemp("runs")
    torch.set_num_threads(1)
    for name, options in {
        "lost": ["--lr", "3"],
        "slow": ["--lr", "1e-6"],
        "well": [],
    }.items():
        CliRunner().invoke(rmsprop, ["train", "linear", *options, "--out", str(folder / name), "--json"])
    (folder / "notes.txt").write_text("not a run")
    return folder


def test_a_folder_of_runs_is_a_diagnosis_of_each(runs):
    found = {history.name: diagnose(history) for history in histories(runs)}
    assert list(found) == ["lost", "slow", "well"]
    assert kinds(found["lost"]) == ["diverged at epoch 1"]
    assert kinds(found["slow"]) == ["learning rate too low"]
    assert "--lr 1e-05" in found["slow"].findings[0].remedy
    assert found["well"].healthy
    assert kinds(found["well"]) == ["converged"]  # of the whole run: since when depends on how near is near


def test_one_run_may_be_given_as_its_folder_or_its_history(runs):
    for path in (runs / "well", runs / "well" / "history.csv"):
        history = histories(path)[0]
        assert (history.unit, len(history.train), history.group["decay"]) == ("epoch", 100, 0.99)


@pytest.mark.parametrize("name", ["well", "slow"])
def test_a_run_is_judged_by_the_numbers_that_it_judged_itself_by(runs, name):
    history = histories(runs / name)[0]
    own = CliRunner().invoke(rmsprop, ["train", "linear", "--out", str(runs / name), "--resume", "--json"])
    evidence = json.loads(own.stdout)["verdicts"][0]["evidence"]
    assert math.isfinite(history.constant_loss)
    assert evidence in [finding.evidence for finding in diagnose(history).findings]


def test_a_run_that_was_given_up_is_told_from_its_result(runs, tmp_path):
    shutil.copytree(runs / "lost", tmp_path / "lost")
    (tmp_path / "lost" / "report.html").unlink()  # a page is for people
    finding = diagnose(histories(tmp_path / "lost")[0]).findings[0]
    own = CliRunner().invoke(rmsprop, ["train", "linear", "--out", str(runs / "lost"), "--resume", "--json"])
    verdict = json.loads(own.stdout)["verdicts"][0]
    assert finding.evidence == f"The run was given up at step 2. {verdict['evidence']}"
    assert finding.remedy == verdict["remedy"]


def test_the_chart_of_a_run_that_was_given_up_at_once_shows_where_it_went(runs):
    picture = draw_figure(pictures(diagnose(histories(runs / "lost")[0]))[0].paint, "svg").decode()
    assert "<!-- given up at step 2: loss 1.76e+03 -->" in picture


@pytest.mark.parametrize("name", ["result.json", "config.json"])
def test_a_damaged_file_of_a_run_is_named(runs, tmp_path, name):
    shutil.copytree(runs / "lost", tmp_path / "lost")
    (tmp_path / "lost" / name).write_text("{")
    with pytest.raises(InputError, match=r"is damaged: its config.json, history.csv or result.json"):
        histories(tmp_path / "lost")


def test_a_run_whose_model_was_removed_is_not_called_lost(runs, tmp_path):
    shutil.copytree(runs / "well", tmp_path / "well")
    (tmp_path / "well" / "model.safetensors").unlink()
    assert kinds(diagnose(histories(tmp_path / "well")[0])) == ["converged"]


def test_the_loss_of_a_run_is_shown_with_its_unit(runs):
    assert histories(runs / "well")[0].loss_name == "loss: mean squared error"
    picture = draw_figure(pictures(diagnose(histories(runs / "well")[0]))[0].paint, "svg").decode()
    assert "<!-- loss: mean squared error -->" in picture


def test_a_damaged_run_is_refused(runs, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"settings": {}}))
    (tmp_path / "history.csv").write_text("epoch,train_loss\n1,x\n")
    with pytest.raises(InputError, match="is damaged"):
        histories(tmp_path)


def made(**values):
    """A history with made-up measurements of two layers."""
    rows = len(next(iter(values.values())))
    steps = tuple(range(10, 10 * rows + 1, 10))
    layer = {"size": 100, "dtype": "float32", "averages": "float32", "weights": True}
    layers = ({"name": "first"} | layer, {"name": "second"} | layer)
    matrices = {name: np.array(matrix, dtype=float) for name, matrix in values.items()}
    losses = Series(steps, tuple(1.0 / (1 + n) for n in range(rows)))
    statistics = Statistics(steps, layers, matrices)
    return History(name="made", source="a test", unit="step", train=losses, statistics=statistics, group={"decay": 0.9})


def test_a_gradient_that_grows_a_thousand_times_is_exploding():
    growing = [[1.0, 2.0**n] for n in range(20)]
    finding = diagnose(made(gradient=growing)).findings[0]
    assert (finding.kind, finding.layers) == ("exploding gradients", ("second",))
    assert 40 <= finding.since <= 150
    assert diagnose(made(gradient=[[1.0, 1.2**n] for n in range(20)])).healthy


def test_a_layer_without_gradient_is_not_called_dead_when_no_layer_has_one():
    alive, gone = [[0.1, 0.1]] * 4, [[0.1, 1.0]] * 4
    assert kinds(diagnose(made(still=alive + gone)))[0] == "dead layer in second since step 50"
    assert diagnose(made(still=alive + [[1.0, 1.0]] * 4)).healthy
    assert diagnose(made(still=[[0.1, math.nan]] * 8)).healthy


def test_an_eps_that_outweighs_v_only_late_is_no_finding():
    late = [[0.0, 0.0]] * 6 + [[1.0, 1.0]] * 6
    assert diagnose(made(eps=late)).healthy
    assert kinds(diagnose(made(eps=[[1.0, 0.0]] * 8)))[0] == "ε too large to adapt"


def test_what_cannot_be_judged_says_why():
    plain = History(name="plain", source="a test", unit="epoch", train=Series((1, 2, 3), (3.0, 2.0, 1.0)))
    reasons = diagnose(plain).not_judged
    assert reasons["overfitting"] == "no validation loss, or fewer than four"
    assert "record the run with rmsprop.lab.Recorder" in reasons["dead layers"]


@pytest.mark.parametrize("values", [(), (1.0,), (math.nan, 2.0)])
def test_what_is_not_judged_is_not_called_healthy(values):
    history = History(name="short", source="a test", unit="epoch", train=Series(tuple(range(len(values))), values))
    found = diagnose(history)
    assert found.healthy is None
    assert "the course of the loss" in found.not_judged


def test_a_loss_that_is_never_finite_is_bad_from_the_beginning():
    train = Series((1, 2, 3), (math.nan,) * 3)
    found = diagnose(History(name="nan", source="a test", unit="epoch", train=train))
    assert (found.findings[0].headline, found.healthy) == ("diverged at epoch 1", False)
    assert found.findings[0].evidence == "The training loss is nan from the beginning."
    assert found.findings[0].remedy.startswith("Look there for a value in the data that isn't finite")
    assert "<!-- no loss is finite -->" in draw_figure(pictures(found)[0].paint, "svg").decode()


def test_a_validation_loss_that_is_not_finite_is_told():
    train = Series(tuple(range(12)), tuple(1.0 / (1 + n) for n in range(12)))
    broken = Series(train.times, (*train.values[:5], math.inf, *train.values[6:]))
    found = diagnose(History(name="broken", source="a test", unit="epoch", train=train, validation=broken))
    finding = next(each for each in found.findings if each.kind == "loss not finite")
    assert finding.evidence == (
        "1 of 12 validation losses is not finite: it is inf at epoch 5, and from epoch 6 on they are finite again."
    )


def test_without_a_learning_rate_no_remedy_names_one():
    values = [1.0] + [1.0 + 0.5 * (-1) ** n for n in range(60)]
    history = History(name="jumps", source="a test", unit="epoch", train=Series(tuple(range(61)), tuple(values)))
    text = " ".join(finding.remedy for finding in diagnose(history).findings)
    assert "smaller learning rate" in text
    assert "nan" not in text


@pytest.mark.parametrize(
    ("decay", "remedy"),
    [
        (0.99, "over the first 300 steps"),
        (0.995, "over the first 500 steps"),  # the memory is 600 steps, of a run of 1000
        (0.999, "about 3000 steps, which is longer than the run"),
    ],
)
def test_a_warm_up_that_is_advised_fits_into_the_run(decay, remedy):
    values = [2.0, 9.0, 40.0, 12.0, 9.0, *[1.0] * 995]
    losses = Series(tuple(range(1, 1001)), tuple(values))
    (finding,) = warm_up(History(name="hot", source="a test", unit="step", train=losses, group={"decay": decay}))
    assert "rose from 2 to 40 at step 3, and" in finding.evidence
    assert remedy in finding.remedy
    assert "bias correction" in finding.remedy
