"""Averages of the weights in training: what is averaged, validated, kept, resumed and said."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from rmsprop.lab.diagnose.readers.run import read
from rmsprop.lab.errors import InputError
from rmsprop.lab.listing import runs_in
from rmsprop.lab.problems import Data, load
from rmsprop.lab.problems.conventions import row_order
from rmsprop.lab.train import sentences
from rmsprop.lab.train.average import averaging
from rmsprop.lab.train.earlier import earlier_settings, over_earlier
from rmsprop.lab.train.folder import CHECKPOINT, CONFIG, FIGURE, HISTORY, MODEL, REPORT, RESULT
from rmsprop.lab.train.runs import Interrupted, begin
from rmsprop.lab.train.settings import Settings, resolve, resume
from rmsprop.lab.train.training import Divergence, Training
from rmsprop.torch import RMSprop

EVERYTHING = (CONFIG, HISTORY, CHECKPOINT, MODEL, RESULT, FIGURE, REPORT)
EMA = {"problem": "wine", "epochs": 8, "average": "ema"}
SWA = {"problem": "wine", "epochs": 8, "average": "swa"}  # averages epochs 7 and 8
NORMAL = """
from dataclasses import replace
from torch import nn
from rmsprop.lab.problems import load

def normal():
    layers = lambda: nn.Sequential(nn.Linear(13, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))
    return replace(load("wine"), name="normal", dataset=None, make_model=layers, epochs=6)
"""


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


def interrupted_after(epochs, given, folder):
    with begin(given, folder) as run:
        for epoch in run.train():
            if epoch.epoch == epochs:
                raise KeyboardInterrupt


def result_of(folder):
    return json.loads((folder / RESULT).read_text())


def by_hand(given, decay=None, first=None, lrs=None):
    """The weights of a plain loop, averaged by the formula, after each epoch: a list of lists of tensors."""
    problem, settings = load("wine"), resolve(given)
    model, average, count, averages = problem.model(0), None, 0, []
    optimizer = RMSprop(model.parameters(), lr=settings.lr, weight_decay=settings.rule.weight_decay)
    for epoch in range(1, settings.epochs + 1):
        optimizer.param_groups[0]["lr"] = settings.lr if lrs is None else lrs[epoch - 1]
        for rows in row_order(0, epoch, len(problem.train)).split(settings.batch_size):
            optimizer.zero_grad()
            problem.objective(model.parameters(), model(problem.train.x[rows]), problem.train.y[rows]).backward()
            optimizer.step()
            weights = [parameter.detach().double() for parameter in model.parameters()]
            if decay is not None:
                average = (
                    weights
                    if average is None
                    else [decay * a + (1 - decay) * w for a, w in zip(average, weights, strict=True)]
                )
        if first is not None and epoch >= first:
            count += 1
            average = (
                weights if average is None else [a + (w - a) / count for a, w in zip(average, weights, strict=True)]
            )
        averages.append(average)
    return averages


@pytest.mark.parametrize(
    ("given", "formula"),
    [
        (EMA | {"schedule": "constant", "ema_decay": 0.9}, {"decay": 0.9}),
        (SWA | {"schedule": "constant"}, {"first": 7}),
        (SWA | {"schedule": "constant", "swa_start": 2}, {"first": 2}),
        (SWA | {"schedule": "constant", "swa_lr": 0.03}, {"first": 7, "lrs": [0.01] * 6 + [0.03] * 2}),
    ],
    ids=["ema", "swa", "swa from epoch 2", "swa with a learning rate of its own"],
)
def test_an_average_is_that_of_the_formula(given, formula):
    training = Training(load("wine"), resolve(given))
    for expected in by_hand(given, **formula):
        training.run_epoch()
        model = training.average.model
        assert (model is None) == (expected is None)
        if model is not None:
            # float32 rounds each of at most 56 averages of weights below 2 by half an ULP, 2^-24 of them.
            for parameter, right in zip(model.parameters(), expected, strict=True):
                assert (parameter.double() - right).abs().max() < 56 * 2 * 2**-24


@pytest.mark.parametrize("schedule", ["cosine", "step", "plateau", "exponential"])
def test_the_learning_rate_is_constant_where_swa_averages(schedule):
    given = SWA | {"epochs": 12, "schedule": schedule, "warmup": 0.5}
    plain = Training(load("wine"), resolve(given | {"average": "none"}))
    averaged = Training(load("wine"), resolve(given))
    rates = [[training.run_epoch().lr for _ in range(12)] for training in (plain, averaged)]
    assert rates[0][:9] == rates[1][:9]
    held = averaged.optimizer.param_groups[0]["lr"]
    assert rates[1][9:] == [held] * 3
    assert rates[0][9] <= held <= rates[0][8]


@pytest.mark.parametrize("keep", ["best", "last"])
@pytest.mark.parametrize("given", [EMA, SWA], ids=["ema", "swa"])
def test_the_average_is_what_is_kept_scored_and_written(tmp_path, given, keep):
    run, result = train(tmp_path, given | {"lr": 0.1, "keep": keep})
    averaged = [epoch for epoch in run.epochs if epoch.averaged]
    assert [epoch.epoch for epoch in averaged] == ([7, 8] if given is SWA else list(range(1, 9)))
    epoch = min(averaged, key=lambda epoch: epoch.averaged.validation_loss) if keep == "best" else run.epochs[-1]
    assert result.kept == epoch.epoch
    assert result.scores["validation"] == (epoch.averaged.validation_loss, epoch.averaged.validation_metric)
    assert run.epochs[-1].averaged.validation_loss != run.epochs[-1].validation_loss
    assert result_of(tmp_path)["kept"] == {
        "weights": keep,
        "epoch": epoch.epoch,
        "validation_loss": epoch.averaged.validation_loss,
        "averaged": True,
    }
    model = run.problem.model(3)
    model.load_state_dict(load_file(tmp_path / MODEL))
    assert run.problem.evaluate(model, run.problem.test) == result.scores["test"]
    said, name = sentences.kept(result), given["average"].upper()
    assert said.startswith(f"The {name} weights of epoch {epoch.epoch}")
    assert f"that of the raw weights was {epoch.validation_loss:.4g} then" in said
    assert said.endswith("The verdict is on the raw weights.")
    page = (tmp_path / REPORT).read_text()
    assert "validation, averaged" in page
    assert f"Dashed: the {name} of the weights." in page
    assert (f"weights kept: epoch {epoch.epoch}" in page) == (keep == "best")


def test_the_raw_weights_train_as_without_an_average():
    problem = load("wine")
    plain, averaged = (
        Training(problem, resolve(EMA | {"average": average, "ema_decay": decay}))
        for average, decay in (("none", None), ("ema", 0.9))
    )
    for _ in range(3):
        with_average = averaged.run_epoch()
        assert replace(with_average, averaged=None) == plain.run_epoch()


@pytest.mark.parametrize("given", [EMA, EMA | {"keep": "last"}, SWA, SWA | {"swa_lr": 0.03}])
@pytest.mark.parametrize("stop", [1, 6, 7])
def test_a_run_that_was_interrupted_ends_with_the_same_bits(tmp_path, given, stop):
    train(tmp_path / "whole", given)
    train(tmp_path / "broken", given, stop)
    train(tmp_path / "broken", {"problem": "wine"}, resuming=True)
    for name in EVERYTHING:
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_after_ctrl_c_it_goes_on_where_it_was(tmp_path):
    train(tmp_path / "whole", SWA)
    with pytest.raises(Interrupted):
        interrupted_after(7, SWA, tmp_path / "broken")
    train(tmp_path / "broken", {"problem": "wine"}, resuming=True)
    for name in (HISTORY, CHECKPOINT, MODEL, RESULT):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


@pytest.mark.parametrize("given", [EMA, SWA], ids=["ema", "swa"])
def test_a_longer_run_goes_on_averaging_as_it_began(tmp_path, given):
    given = given | {"schedule": "constant"}
    began, _ = train(tmp_path / "a", given)
    kept = {name: getattr(began.settings, name) for name in ("ema_decay", "swa_start")}
    train(tmp_path / "a", {"problem": "wine", "epochs": 10}, resuming=True)
    train(tmp_path / "b", given | {"epochs": 10} | kept)
    for name in (HISTORY, CHECKPOINT, MODEL, RESULT):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_a_run_that_diverges_keeps_the_best_average_before(tmp_path):
    run, result = train(tmp_path, {"problem": "linear", "lr": 100.0, "warmup": 99.0, "average": "ema"})
    assert result.diverged
    best = min(run.epochs, key=lambda epoch: epoch.averaged.validation_loss)
    assert result.scores["validation"][0] == best.averaged.validation_loss
    assert f"The EMA weights of epoch {best.epoch} before the run diverged were kept" in sentences.kept(result)


def test_a_run_that_diverges_before_swa_begins_keeps_raw_weights(tmp_path):
    given = {"problem": "linear", "lr": 100.0, "warmup": 98.0, "average": "swa", "swa_start": 99}
    run, result = train(tmp_path, given)
    best = min(run.epochs, key=lambda epoch: epoch.validation_loss)
    assert (result.diverged, result.kept, result_of(tmp_path)["kept"]["averaged"]) == (True, best.epoch, False)
    said = sentences.kept(result)
    assert f"The raw weights of epoch {best.epoch} before the run diverged were kept, because SWA hadn't begun" in said


def test_an_early_stop_looks_at_the_raw_weights(tmp_path):
    given = {"problem": "diabetes", "model": "mlp", "hidden": (64,), "schedule": "constant", "early_stop": 3}
    plain, _ = train(tmp_path / "plain", given)
    averaged, result = train(tmp_path / "averaged", given | {"average": "ema"})
    assert result.stopped_early
    assert len(averaged.epochs) == len(plain.epochs)
    assert result.facts == train(tmp_path / "again", given)[1].facts


def test_where_nothing_is_held_out_the_last_average_is_kept(tmp_path):
    run, result = train(tmp_path, {"problem": "bowl-noisy", "epochs": 20, "average": "ema"})
    assert (result.kept, result.keeps_average) == (20, True)
    assert result.scores["train"][0] == run.epochs[-1].averaged.train_loss
    said = sentences.kept(result)
    assert said.startswith("The EMA weights of epoch 20, the last, were kept: their loss is ")
    assert "validation" not in said
    assert "all rows, averaged" in (tmp_path / REPORT).read_text()


@pytest.fixture
def normal(tmp_path, monkeypatch):
    (tmp_path / "normal_problem.py").write_text(NORMAL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return "normal_problem:normal"


@pytest.mark.parametrize("average", ["ema", "swa"])
def test_batch_norm_sees_the_averaged_weights_on_training_rows(tmp_path, normal, average):
    run, result = train(tmp_path / "run", {"problem": normal, "average": average, "keep": "last"})
    weights, train_rows = load_file(tmp_path / "run" / MODEL), run.problem.train
    batches = row_order(0, 7, len(train_rows)).split(run.settings.batch_size)
    with torch.no_grad():
        hidden = [train_rows.x[rows] @ weights["0.weight"].T + weights["0.bias"] for rows in batches]
    assert int(weights["1.num_batches_tracked"]) == len(batches)
    mean = torch.stack([part.mean(0) for part in hidden]).mean(0)
    variance = torch.stack([part.var(0) for part in hidden]).mean(0)
    # Sums of 16 rows and of 7 batches round by less than 32 half ULPs of values below 10.
    torch.testing.assert_close(weights["1.running_mean"], mean, rtol=0.0, atol=32 * 10 * 2**-24)
    torch.testing.assert_close(weights["1.running_var"], variance, rtol=32 * 2**-24, atol=32 * 10 * 2**-24)
    raw = run.training.optimizer.param_groups[0]["params"]
    assert result.scores["validation"][0] == run.epochs[-1].averaged.validation_loss
    assert len(raw) == 6


def test_a_model_with_batch_norm_resumes_with_the_same_bits(tmp_path, normal):
    given = {"problem": normal, "average": "swa"}
    train(tmp_path / "whole", given)
    for stop in (2, 5):
        train(tmp_path / "broken", given, stop, force=True)
        train(tmp_path / "broken", {"problem": normal}, resuming=True)
        for name in (HISTORY, CHECKPOINT, MODEL, RESULT):
            assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_judging_a_model_changes_no_statistics_and_no_mode(normal):
    problem = load(normal, batch_norm=True)
    model = problem.model(0)
    model[1].eval()  # frozen by its author
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    problem.evaluate(model, problem.validation)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert [module.training for module in model.modules()] == [True, True, False, True, True]


def test_batch_norm_needs_two_rows_in_the_last_batch_and_a_command_that_takes_it(tmp_path, normal):
    with pytest.raises(InputError, match="--batch-size 53 leaves one of 107 rows for the last batch"):
        train(tmp_path / "run", {"problem": normal, "batch_size": 53})
    with pytest.raises(InputError, match="leave out batch norm, which only rmsprop train takes"):
        load(normal)


def test_a_model_that_cannot_be_copied_is_told():
    class Secret(nn.Linear):
        def __deepcopy__(self, memo):
            raise TypeError("no copies")

    problem = replace(load("wine"), make_model=lambda: Secret(13, 3))
    with pytest.raises(InputError, match="--average swa copies the model, which raised no copies"):
        Training(problem, resolve(SWA))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"average": "foo"}, "--average is 'foo': choose one of none, ema, swa"),
        ({"average": "ema", "ema_decay": 2.0}, "--ema-decay is 2.0: it must be a number above 0 and below 1"),
        ({"average": "ema", "ema_decay": 1.0}, "--ema-decay is 1.0"),
        ({"average": "ema", "ema_decay": float("nan")}, "--ema-decay is nan"),
        ({"ema_decay": 0.9}, "--ema-decay is for --average ema, not for none"),
        ({"average": "ema", "swa_start": 3}, "--swa-start is for --average swa, not for ema"),
        ({"average": "ema", "swa_lr": 0.1}, "--swa-lr is for --average swa, not for ema"),
        ({"average": "swa", "swa_lr": 0.0}, "--swa-lr is 0.0: it must be a finite number above 0"),
        ({"average": "swa", "swa_start": 0}, "--swa-start is 0: it must be an epoch, at least 1"),
        ({"average": "swa", "epochs": 1}, "needs the weights of two epochs, and --swa-start 1 of --epochs 1 leaves"),
        ({"average": "swa", "swa_start": 30}, "--swa-start 30 of --epochs 30 leaves fewer"),
        ({"average": "swa", "swa_start": 2, "warmup": 1.5}, "--swa-start 2 is within the --warmup of 1.5 epochs"),
        ({"average": "swa", "early_stop": 3}, "--early-stop 3 may leave them out"),
    ],
)
def test_what_makes_no_average_is_refused_in_one_line(given, message):
    with pytest.raises(InputError) as caught:
        resolve({"problem": "digits", **given})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("epochs", "first"), [(2, 1), (3, 2), (4, 3), (8, 7), (30, 23), (100, 76)])
def test_swa_begins_with_the_last_quarter_and_takes_two_epochs_at_least(epochs, first):
    settings = resolve({"problem": "digits", "average": "swa", "epochs": epochs})
    assert (settings.swa_start, settings.averaged_from) == (first, first)
    assert Settings.from_dict(json.loads(json.dumps(settings.as_dict()))) == settings


@pytest.mark.parametrize(("epochs", "batch_size", "half_life"), [(30, 32, 51.0), (60, 32, 102.0), (1, 1078, 1.0)])
def test_an_ema_forgets_half_of_a_step_in_a_twentieth_of_the_run(epochs, batch_size, half_life):
    given = {"problem": "digits", "average": "ema", "epochs": epochs, "batch_size": batch_size}
    decay = averaging(resolve(given), load("digits")).ema_decay
    assert np.log(0.5) / np.log(decay) == pytest.approx(half_life, rel=1e-3)  # the decay has six digits
    assert averaging(resolve(given | {"ema_decay": 0.5}), load("digits")).ema_decay == 0.5


def test_the_numbers_of_a_run_of_another_length_are_chosen_anew(tmp_path):
    for given, name in ((EMA, "ema_decay"), (SWA, "swa_start")):
        train(tmp_path / name, given)
        earlier = earlier_settings(tmp_path / name)
        assert over_earlier({"problem": "wine", "epochs": 20}, earlier).get(name) is None
        assert over_earlier({"problem": "wine"}, earlier)["average"] == given["average"]
        typed = EMA | {"ema_decay": 0.5} if name == "ema_decay" else SWA | {"swa_start": 2}
        train(tmp_path / "typed", typed, force=True)
        earlier = earlier_settings(tmp_path / "typed")
        assert over_earlier({"problem": "wine", "epochs": 20}, earlier)[name] == typed[name]
        assert name not in over_earlier({"problem": "wine", "average": "none"}, earlier)


def test_a_run_is_not_taken_up_with_another_average():
    with pytest.raises(InputError, match="--average is swa here and ema in the run"):
        resume(resolve(EMA), {"average": "swa"})


def test_runs_and_diagnose_tell_the_average(tmp_path):
    train(tmp_path / "run", EMA)
    (listed,) = runs_in(tmp_path).runs
    assert listed.rule == "torch + EMA"
    assert listed.validation_loss == result_of(tmp_path / "run")["kept"]["validation_loss"]
    assert read(tmp_path / "run").source.endswith(
        "8 of 8 epochs (the losses are those of the raw weights, not of their EMA)"
    )


@pytest.mark.parametrize("row", ["7,1", "x", "", "nan"])
def test_a_history_without_its_averages_is_refused(tmp_path, row):
    train(tmp_path, SWA, stop=7)
    path = tmp_path / HISTORY
    lines = path.read_text().splitlines()
    lines[-1] = ",".join(lines[-1].split(",")[:-1] + ([row] if row != "nan" else []))
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match="was changed, and the run can't go on without it"):
        train(tmp_path, {"problem": "wine"}, resuming=True)


def test_losses_that_are_not_finite_keep_the_last_average(monkeypatch, tmp_path):
    wine = load("wine")
    broken = Data(wine.validation.x.clone().fill_(torch.nan), wine.validation.y)
    monkeypatch.setattr("rmsprop.lab.train.runs.load", lambda *_, **__: replace(wine, validation=broken))
    _, result = train(tmp_path, EMA)
    assert (result.kept, result.keeps_average) == (8, True)
    assert sentences.kept(result).startswith(
        "The EMA weights of epoch 8, the last, were kept: their validation loss is nan"
    )
    assert Path(tmp_path, FIGURE).exists()
