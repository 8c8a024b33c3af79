"""Which weights are kept, and when a run is stopped early."""

import json
import math
from dataclasses import replace
from itertools import pairwise

import polars as pl
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from rmsprop.lab.diagnose.readers.run import read
from rmsprop.lab.diagnose.rules import diagnose
from rmsprop.lab.errors import InputError
from rmsprop.lab.problems import Data, load
from rmsprop.lab.train import sentences
from rmsprop.lab.train.best import Best, schedule_notes
from rmsprop.lab.train.folder import CHECKPOINT, CONFIG, HISTORY, MODEL, REPORT, RESULT
from rmsprop.lab.train.runs import begin
from rmsprop.lab.train.settings import resolve, resume
from rmsprop.lab.train.trained import load as load_model
from rmsprop.lab.train.training import Divergence, Training

# Overfits from epoch 9 on, and diverges after some epochs.
OVERFITS = {"problem": "diabetes", "model": "mlp", "hidden": (64,)}
LOST = {"problem": "linear", "lr": 100.0, "warmup": 99.0}
EVERYTHING = (CONFIG, HISTORY, CHECKPOINT, MODEL, RESULT, REPORT)


def train(folder, given, stop=None, **how):
    """Train to the end, or to an epoch; return the run and its result."""
    with begin(given, folder, **how) as run:
        try:
            for epoch in run.train():
                if epoch.epoch == stop:
                    return run, None
        except Divergence as lost:
            return run, run.finish(lost)
        return run, run.finish(None)


def result_of(folder):
    return json.loads((folder / RESULT).read_text())


def lowest(run):
    return min(run.epochs, key=lambda epoch: epoch.validation_loss)


@pytest.mark.parametrize("keep", ["best", "last"])
def test_scores_and_the_model_are_of_the_weights_that_are_kept(tmp_path, keep):
    given = OVERFITS | ({"keep": "last"} if keep == "last" else {})
    run, result = train(tmp_path, given)
    epoch = lowest(run) if keep == "best" else run.epochs[-1]
    assert lowest(run) != run.epochs[-1]
    assert result.scores["validation"] == (epoch.validation_loss, epoch.validation_metric)
    assert result.kept == epoch.epoch
    kept = {
        "weights": keep,
        "epoch": epoch.epoch,
        "validation_loss": epoch.validation_loss,
        "averaged": False,
    }
    assert result_of(tmp_path)["kept"] == kept
    assert json.loads((tmp_path / CONFIG).read_text())["settings"]["keep"] == keep
    model = run.problem.model(5)
    model.load_state_dict(load_file(tmp_path / MODEL))
    assert run.problem.evaluate(model, run.problem.test) == result.scores["test"]
    assert torch.equal(load_model(tmp_path)(run.problem.test.x), model(run.problem.test.x))
    with safe_open(tmp_path / MODEL, framework="pt") as file:
        assert json.loads(file.metadata()["rmsprop"])["epoch"] == epoch.epoch
    assert (f"weights kept: epoch {epoch.epoch}" in (tmp_path / REPORT).read_text()) == (keep == "best")


def test_overfitting_says_that_the_best_was_kept_and_is_not_told_to_stop_earlier(tmp_path):
    run, result = train(tmp_path, OVERFITS)
    said = sentences.statements(result)[0]
    assert said.headline.startswith("overfitting since epoch")
    assert said.evidence.endswith(f"The best epoch was {lowest(run).epoch}: its weights were kept.")
    assert "--epochs" not in said.remedy
    found = diagnose(read(tmp_path)).findings[0]
    assert (found.evidence, found.remedy) == (said.evidence, said.remedy)
    last = sentences.statements(train(tmp_path, OVERFITS | {"keep": "last"}, force=True)[1])[0]
    assert "kept" not in last.evidence
    assert "--epochs" in last.remedy


def test_where_the_last_epoch_is_the_best_it_says_so(tmp_path):
    _, result = train(tmp_path, {"problem": "wine", "epochs": 2})
    assert sentences.kept(result).startswith("The weights of epoch 2, the last, were kept: its validation loss, ")


def test_without_validation_rows_the_last_weights_are_kept_and_the_best_refused(tmp_path):
    run, result = train(tmp_path / "run", {"problem": "bowl", "epochs": 2})
    assert (run.settings.keep, result.kept, sentences.kept(result)) == ("last", 2, "")
    for given in ({"keep": "best"}, {"early_stop": 3}):
        with pytest.raises(InputError, match="needs validation rows, and bowl holds none out: leave it out"):
            train(tmp_path / "other", {"problem": "bowl"} | given)
    assert not (tmp_path / "other").exists()


def test_of_equal_losses_the_first_counts_and_none_that_is_not_finite():
    best, model = Best(), torch.nn.Linear(1, 1)
    for epoch, loss in enumerate((math.nan, math.inf, 2.0, 1.0, 1.0, math.nan), start=1):
        best.see(epoch, loss, model)
    assert (best.epoch, best.loss) == (4, 1.0)


def test_without_a_finite_validation_loss_the_last_weights_are_kept(monkeypatch, tmp_path):
    wine = load("wine")
    broken = Data(wine.validation.x.clone().fill_(math.nan), wine.validation.y)
    monkeypatch.setattr("rmsprop.lab.train.runs.load", lambda *_, **__: replace(wine, validation=broken))
    _, result = train(tmp_path, {"problem": "wine", "epochs": 5, "early_stop": 3})
    assert (result.kept, result.stopped_early) == (3, True)
    assert sentences.kept(result) == "No epoch had a finite validation loss: the weights of the last one were kept."
    assert "got no lower, so the run stopped after epoch 3" in " ".join(
        said.evidence for said in sentences.statements(result)
    )


def test_a_run_that_diverges_keeps_the_best_weights_before(tmp_path):
    run, result = train(tmp_path, LOST)
    assert result.diverged
    best = lowest(run)
    assert result.kept == best.epoch < len(run.epochs)
    assert result.scores["validation"][0] == best.validation_loss
    assert sentences.kept(result).startswith(f"The weights of epoch {best.epoch} before the run diverged were kept")
    model = load_model(tmp_path)
    model.prepare(pl.DataFrame({"x": [1.0]}))
    assert f"these are the weights of epoch {best.epoch}, before" in model.notes[0]


def test_a_run_that_diverges_keeps_no_weights_that_learnt_nothing(tmp_path):
    for given in (LOST | {"keep": "last"}, LOST | {"warmup": 0.0}):
        _, result = train(tmp_path, given, force=True)
        assert (result.diverged, result.kept, result.scores) == (True, None, {})
        assert not (tmp_path / MODEL).exists()
        assert sentences.kept(result) == "No weights were kept."


@pytest.mark.parametrize("given", [OVERFITS | {"epochs": 30}, OVERFITS | {"early_stop": 7}, LOST])
def test_the_best_weights_outlive_an_interruption_after_any_epoch(tmp_path, given):
    run, _ = train(tmp_path / "whole", given)
    best = lowest(run).epoch
    for stop in {1, best, best + 2, len(run.epochs)}:
        train(tmp_path / "broken", given, stop, force=True)
        train(tmp_path / "broken", {"problem": given["problem"]}, resuming=True)
        for name in EVERYTHING:
            whole, broken = ((tmp_path / folder / name) for folder in ("whole", "broken"))
            assert whole.exists() == broken.exists()
            assert not whole.exists() or whole.read_bytes() == broken.read_bytes(), (stop, name)


@pytest.mark.parametrize("patience", [1, 4])
def test_a_run_stops_after_so_many_epochs_without_a_lower_loss(tmp_path, patience):
    run, result = train(tmp_path, OVERFITS | {"schedule": "constant", "early_stop": patience})
    assert len(run.epochs) - lowest(run).epoch == patience
    losses = [epoch.validation_loss for epoch in run.epochs]
    lows = [n for n, loss in enumerate(losses) if loss == min(losses[: n + 1])]
    assert max((after - before for before, after in pairwise(lows)), default=0) <= patience
    assert result.stopped_early
    assert result_of(tmp_path)["stopped_early"]
    assert not {"still falling", "converged"} & {fact.kind for fact in result.facts}
    said = next(said for said in sentences.statements(result) if said.headline == "stopped early")
    assert f"lowest at epoch {lowest(run).epoch}, " in said.evidence
    assert f"the run stopped after epoch {len(run.epochs)}." in said.evidence
    kinds = [finding.kind for finding in diagnose(read(tmp_path)).findings]
    assert "stopped early" in kinds
    assert "still falling" not in kinds


def test_a_run_that_is_not_stopped_early_does_not_say_so(tmp_path):
    _, result = train(tmp_path, {"problem": "wine", "epochs": 3, "early_stop": 3})
    assert not result.stopped_early
    assert "stopped early" not in [fact.kind for fact in result.facts]


def test_a_run_that_stopped_early_goes_on_with_more_patience(tmp_path):
    given = OVERFITS | {"schedule": "constant"}
    train(tmp_path / "whole", given | {"early_stop": 6})
    before, _ = train(tmp_path / "longer", given | {"early_stop": 2})
    after, _ = train(tmp_path / "longer", {"problem": "diabetes", "early_stop": 6}, resuming=True)
    assert len(after.epochs) > len(before.epochs)
    for name in (HISTORY, CHECKPOINT, MODEL, RESULT):
        assert (tmp_path / "longer" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize("given", [{"early_stop": 1}, {"keep": "last"}])
def test_a_run_is_not_taken_up_with_less_patience_or_other_weights_to_keep(given):
    kept = resolve({"problem": "wine", "early_stop": 2, "keep": "best"})
    with pytest.raises(InputError, match="in the run: leave it out to resume"):
        resume(kept, given)


@pytest.mark.parametrize(
    ("schedule", "patience", "word"),
    [
        ("cosine", 5, "drawn over 60 epochs"),
        ("linear", 5, "drawn over 60 epochs"),
        ("step", 5, "drawn over 60 epochs"),
        ("exponential", 5, "drawn over 60 epochs"),
        ("plateau", 10, "before the plateau schedule lowers the learning rate"),
        ("plateau", 11, ""),
        ("constant", 5, ""),
        ("inverse-sqrt", 5, ""),
        ("cosine", None, ""),
    ],
)
def test_a_schedule_that_an_early_stop_cuts_off_is_told(schedule, patience, word):
    notes = schedule_notes(resolve({"problem": "wine", "schedule": schedule, "early_stop": patience}))
    assert (len(notes), word in "".join(notes)) == (bool(word), True)


def test_plateau_lowers_the_learning_rate_when_it_is_said_to():
    settings = resolve({"problem": "wine", "schedule": "plateau"})
    training = Training(load("wine"), settings)
    rates = []
    for _ in range(12):
        training.schedule.after_epoch(1.0)
        rates.append(training.optimizer.param_groups[0]["lr"])
    assert rates[:11] == [settings.lr] * 11
    assert rates[11] < settings.lr


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"early_stop": 0}, "--early-stop is 0: it must be a whole number of epochs, at least 1"),
        ({"keep": "worst"}, "--keep is 'worst': choose one of best, last"),
    ],
)
def test_what_cannot_be_is_one_line(given, message):
    with pytest.raises(InputError, match=message):
        resolve({"problem": "wine"} | given)
