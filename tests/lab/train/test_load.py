"""A run's folder is a model: it predicts as the one in training did, from tables read as that one was."""

import json
import math
import shutil

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file

from rmsprop.lab import load
from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.problem import predict
from rmsprop.lab.problems.table.datasets import prepare
from rmsprop.lab.problems.table.new_rows import inputs_of
from rmsprop.lab.problems.table.options import TableOptions
from rmsprop.lab.train.folder import CONFIG, MODEL, RESULT
from rmsprop.lab.train.runs import Divergence, begin

LARGE = 1_234_567_890_123_456_789


def train(folder, given, *, resuming=False):
    with begin({"epochs": 2, **given}, folder, resuming=resuming) as run:
        list(run.train())
        return run, run.finish(None)


def disguised(path, target):
    """Write a table with a column of each notation, separated by semicolons."""
    random = np.random.default_rng(0)
    lines = ["age;price;when;opens;lasts;member;city;answer"]
    for row in range(120):
        number = f"{row / 7:.3f}".replace(".", ",")
        cells = ["" if row % 10 == 0 else str(20 + row % 40), f"1.{row + 100},50 €", f"{1 + row % 28:02}/03/2024"]
        cells += [
            f"{row % 24}:30",
            f"{row % 5}h {row % 60}m",
            ("true", "False")[row % 2],
            ("Rome", "Oslo", "")[row % 3],
        ]
        answer = {"class": ("no", "yes")[row % 2], "number": number, "digits": str(LARGE + row % 3)}[target]
        lines.append(";".join([*cells, answer]))
    random.shuffle(lines[1:])
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def churn(tmp_path, table):
    """The folder of a run on the table of customers."""
    train(tmp_path / "run", {"problem": str(table), "target": "churn"})
    return tmp_path / "run"


@pytest.mark.parametrize("target", ["class", "number", "digits"])
def test_it_predicts_the_training_table_as_the_model_in_training_does(tmp_path, target):
    path = disguised(tmp_path / "t.csv", target)
    run, _ = train(tmp_path / "run", {"problem": str(path), "target": "answer"})
    data = run.problem.dataset
    shutil.move(tmp_path / "run", tmp_path / "elsewhere")
    model = load(tmp_path / "elsewhere")
    inputs = model.prepare(path)
    whole = torch.cat([part.x for part in run.problem.parts.values()])
    assert sorted(inputs.tolist()) == sorted(whole.tolist())
    outputs = predict(run.training.model, inputs)
    assert torch.equal(model(inputs), outputs)
    answers = model.predict(path)
    assert answers.name == "prediction"
    if target == "number":
        expected = outputs[:, 0].double() * data.target_scale + data.target_mean
        np.testing.assert_array_equal(answers.to_numpy(), expected.numpy())
    else:
        assert answers.to_list() == [data.classes[index] for index in outputs.argmax(dim=1)]
        shares = model.predict(path, probabilities=True)
        assert shares.columns == ["prediction", *(f"probability_{name}" for name in data.classes)]
        np.testing.assert_allclose(shares.drop("prediction").to_numpy(), outputs.double().softmax(dim=1), rtol=1e-12)
    if target == "digits":
        assert data.classes == tuple(str(LARGE + row) for row in range(3))


def test_scores_are_those_of_the_predictions(tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=200)
    pl.DataFrame({"x": x, "y": 1000 + 50 * x + random.normal(size=200)}).write_parquet(tmp_path / "t.parquet")
    run, result = train(tmp_path / "run", {"problem": str(tmp_path / "t.parquet"), "target": "y", "epochs": 30})
    data, model = run.problem.dataset, load(tmp_path / "run")
    test = pl.DataFrame({"x": data.test.x[:, 0] * data.preparation[0]["scale"] + data.preparation[0]["mean"]})
    errors = model.predict(test).to_numpy() - (data.test.y[:, 0] * data.target_scale + data.target_mean)
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(result.scores["test"][1], rel=1e-4)


def test_it_is_a_module_that_leaves_the_random_state_alone(churn):
    state = torch.get_rng_state()
    model = load(churn)
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(model, torch.nn.Module)
    assert not model.training
    assert (model.task, model.target, model.classes) == ("classification", "churn", ("no", "yes"))
    assert set(model.columns) == {"age", "city", "member", "since", "price"}


def test_columns_may_stand_in_any_order_without_the_target_and_with_others(churn, table):
    frame, model = pl.read_csv(table), load(churn)
    expected = model.predict(table).to_list()
    assert not [note for note in model.notes if "not used" in note]
    path = table.with_name("new.csv")
    frame.select(reversed(frame.drop("churn").columns)).with_columns(extra=1).write_csv(path)
    assert model.predict(path).to_list() == expected
    assert "not used, as the model wasn't trained on it: 'extra'" in model.notes
    with pytest.raises(InputError, match="lacks 'price', 'city', which the model was trained on: it has 'age'"):
        model.predict(frame.drop("city", "price"))


def test_what_is_missing_or_unknown_is_as_in_training_and_said(churn):
    model = load(churn)
    row = {"age": [None, 30.0], "member": [True, False], "since": ["2024-05-06"] * 2, "price": [0.0, 0.0]}
    inputs = model.prepare(pl.DataFrame(row | {"city": ["Paris", None]}))
    preparation = {part["column"]: part for part in json.loads((churn / CONFIG).read_text())["data"]["preparation"]}
    usual = preparation["city"]["missing"]
    filled = pl.DataFrame(row | {"age": [preparation["age"]["missing"], 30.0], "city": ["Rome", usual]})
    assert sorted(note.partition(":")[0] for note in model.notes) == ["age", "city", "city"]
    assert any("1 row with a category that no training row had ('Paris')" in note for note in model.notes)
    known = model.prepare(filled)
    assert model.notes == ()
    assert torch.equal(inputs[1], known[1])
    assert torch.equal(inputs[0, :-3], known[0, :-3])
    assert inputs[0, -3:].tolist() == [0.0, 0.0, 0.0]


def test_a_category_without_an_input_is_a_rare_one_where_those_share_one():
    words = [f"w{row % 30}" for row in range(300)]
    frame = pl.DataFrame({"w": words, "y": ["no", "yes"] * 150})
    data = prepare("t", frame, "y", None, options=TableOptions(max_categories=5))
    inputs, notes = inputs_of(frame, data.preparation, "y")
    parts = np.concatenate([part.x for part in (data.train, data.validation, data.test)])
    assert sorted(inputs.tolist()) == sorted(parts.tolist())
    assert "taken for a rare one" in notes[0]
    assert inputs_of(pl.DataFrame({"w": ["new"]}), data.preparation, "y")[0].tolist() == [[0, 0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("values", "same"),
    [
        (["31/01/2024", "01/02/2024"], ["5/2/2024", "5 February 2024"]),
        (["01/31/2024", "02/01/2024"], ["2/5/2024", "Feb 5, 2024"]),
        (["2024-01-31 12:00", "2024-02-01 06:00"], ["2024-02-05 06:00", "2024-02-05T06:00:00Z"]),
        (["20240131", "20240201"], ["20240205", "2024-02-05"]),
        (["1.234,50", "7,25"], ["3.000", "3000"]),
        (["1,234.50", "7.25"], ["3,000", "3000"]),
        (["$1,200", "$7.50"], ["$3,000", "3000"]),
        (["5 km", "7 km"], ["3 km", "3.0 km"]),
        (["12 %", "7 %"], ["3%", "3.0 %"]),
        (["12:30", "9:05 PM"], ["9:00 PM", "21:00"]),
        (["2h 30m", "1h"], ["90m", "1h 30m"]),
        (["true", "FALSE"], ["True", "true"]),
        (["1.5", "2"], ["3", "3.0"]),
    ],
)
def test_values_are_read_in_the_notation_of_training(values, same):
    frame = pl.DataFrame({"v": values * 20, "y": ["no", "yes"] * 20})
    data = prepare("t", frame, "y", None)
    inputs, notes = inputs_of(frame, data.preparation, "y")
    parts = np.concatenate([part.x for part in (data.train, data.validation, data.test)])
    assert sorted(inputs.tolist()) == sorted(parts.tolist())
    assert notes == []
    both = inputs_of(pl.DataFrame({"v": same}), data.preparation, "y")[0]
    assert both[0] == both[1]
    with pytest.raises(InputError, match=r"column 'v' was .* in training, and row 2 holds 'about 3'"):
        inputs_of(pl.DataFrame({"v": [same[0], "about 3"]}), data.preparation, "y")
    assert inputs_of(pl.DataFrame({"v": [None]}), data.preparation, "y")[1][0].startswith("v: 1 missing")


@pytest.mark.parametrize(
    ("values", "other"),
    [
        (["31/01/2024", "01/02/2024"], ["2024-01-31"]),
        (["2024-01-31", "2024-02-01"], ["31/01/2024"]),
        (["1.234,50", "7,25"], ["1,234.50"]),
        (["$1,200", "$7.50"], ["3 €"]),
        (["12 %", "7 %"], [0.12]),
        (["1.5", "2"], ["1,5"]),
        (["1.5", "2"], [True]),
        (["1.5", "2"], ["inf"]),
        (["1.5", "2"], ["1e99"]),
        (["true", "false"], ["yes"]),
        (["red", "blue"], [1.5]),
    ],
)
def test_a_value_of_another_kind_is_refused(values, other):
    data = prepare("t", pl.DataFrame({"v": values * 20, "y": ["no", "yes"] * 20}), "y", None)
    with pytest.raises(InputError, match="column 'v'"):
        inputs_of(pl.DataFrame({"v": other}), data.preparation, "y")


def test_tables_that_know_types_and_those_that_do_not_are_the_same(tmp_path):
    from datetime import date, timedelta

    days = [date(2024, 1, 1) + timedelta(days=row) for row in range(60)]
    frame = pl.DataFrame({"day": days, "ok": [True, False, False] * 20, "y": [row / 7 for row in range(60)]})
    frame.write_parquet(tmp_path / "t.parquet")
    frame.write_csv(tmp_path / "t.csv")
    answers = []
    for trained_on in ("t.parquet", "t.csv"):
        train(tmp_path / f"run-{trained_on}", {"problem": str(tmp_path / trained_on), "target": "y"})
        model = load(tmp_path / f"run-{trained_on}")
        answers += [model.predict(tmp_path / name).to_list() for name in ("t.parquet", "t.csv")]
    assert answers[0] == answers[1] == answers[2] == answers[3]


def test_an_npz_file_needs_no_target(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 2))
    np.savez(tmp_path / "t.npz", X=x, y=x @ [1.0, 2.0])
    np.savez(tmp_path / "new.npz", X=x)
    train(tmp_path / "run", {"problem": str(tmp_path / "t.npz")})
    model = load(tmp_path / "run")
    assert model.predict(tmp_path / "new.npz").to_list() == model.predict(tmp_path / "t.npz").to_list()
    np.savez(tmp_path / "bad.npz", Z=x)
    with pytest.raises(InputError, match="needs the array X, and has Z"):
        model.predict(tmp_path / "bad.npz")


def test_how_the_table_was_read_holds_for_new_ones(tmp_path):
    rows = "".join(f"{row if row % 9 else -99}:é\t{('no', 'ja')[row % 2]}\n" for row in range(60)).replace(":", "\t")
    (tmp_path / "t.txt").write_bytes(f"x\tw\ty\n{rows}".encode("cp1252"))
    given = {"problem": str(tmp_path / "t.txt"), "target": "y", "encoding": "cp1252", "delimiter": "tab", "na": ["-99"]}
    train(tmp_path / "run", given)
    model = load(tmp_path / "run")
    model.predict(tmp_path / "t.txt")
    assert model.notes == ("x: 7 missing, imputed with 27.5, the median in training",)
    frame = pl.DataFrame({"x": [-99, 1], "w": ["é", "é"]})
    frame.write_parquet(tmp_path / "new.parquet")  # to which delimiter and encoding don't apply
    assert model.predict(tmp_path / "new.parquet").to_list() == model.predict(frame).to_list()
    assert len(model.notes) == 1


def test_a_run_that_went_on_predicts_with_its_last_weights(tmp_path, table):
    given = {"problem": str(table), "target": "churn", "schedule": "constant"}
    train(tmp_path / "run", given)
    before = load(tmp_path / "run").predict(table, probabilities=True)
    unended = pytest.raises(InputError, match="hasn't ended, so it has no model: --resume it")
    with begin(given | {"epochs": 6}, tmp_path / "run", resuming=True), unended:
        load(tmp_path / "run")
    run, _ = train(tmp_path / "run", given | {"epochs": 6}, resuming=True)
    after = load(tmp_path / "run")
    assert not before.equals(after.predict(table, probabilities=True))
    inputs = after.prepare(table)
    assert torch.equal(after(inputs), predict(run.training.model, inputs))


def test_a_built_in_table_predicts_rows_of_its_columns(tmp_path):
    train(tmp_path / "run", {"problem": "wine"})
    model = load(tmp_path / "run")
    assert set(model.predict(pl.DataFrame({name: [1.0, 2.0] for name in model.columns}))) <= set(model.classes)
    with pytest.raises(InputError, match="the table has no rows"):
        model.predict(pl.DataFrame({name: [] for name in model.columns}))


def test_probabilities_of_numbers_are_refused(tmp_path):
    with begin({"problem": "linear", "epochs": 1}, tmp_path / "run") as run:
        list(run.train())
        run.finish(None)
    with pytest.raises(InputError, match="'y' is a number, and probabilities are for classes"):
        load(tmp_path / "run").predict(pl.DataFrame({"x": [1.0]}), probabilities=True)


def lose(*names):
    def harm(folder):
        for name in names:
            (folder / name).unlink()

    return harm


def spoil(name, content=b"{"):
    return lambda folder: (folder / name).write_bytes(content)


def forget_the_network(folder):
    from rmsprop.lab.train.folder import write_config

    config = json.loads((folder / CONFIG).read_text())
    del config["data"]["network"], config["checksum"]
    write_config(folder, config)


def make_a_folder_of(name):
    def harm(folder):
        (folder / name).unlink()
        (folder / name).mkdir()

    return harm


def forget_how_to_count(folder):
    save_file({name: weights * math.nan for name, weights in load_file(folder / MODEL).items()}, folder / MODEL)


DAMAGED_RESULTS = (b"null", b"[1]", b'{"kept": null}', b'{"lost": 3, "kept": 4}', b'{"lost": {}}', b"[" * 100_000)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (shutil.rmtree, "there is no folder"),
        (lose(CONFIG), "holds no run"),
        (spoil(CONFIG), "config.json is damaged or was changed"),
        (spoil(CONFIG, b'{"architectures": []}'), "holds no run"),
        (spoil(MODEL), "model.safetensors is damaged"),
        (spoil(RESULT), "result.json is damaged"),
        *((spoil(RESULT, content), "result.json is damaged") for content in DAMAGED_RESULTS),
        (spoil(MODEL, b""), "model.safetensors is damaged"),
        (make_a_folder_of(MODEL), r"can't read .*model.safetensors"),
        (forget_how_to_count, "model.safetensors is damaged .* aren't all finite"),
        (lose(RESULT), "hasn't ended"),
        (lose(MODEL), "hasn't ended"),
        (forget_the_network, "was written by an earlier version"),
    ],
)
def test_what_is_no_ended_run_is_refused(churn, harm, message):
    harm(churn)
    with pytest.raises(InputError, match=message):
        load(churn)


def test_a_file_is_no_run(table):
    with pytest.raises(InputError, match=r"customers.csv is a file: give the folder of a run"):
        load(table)


def test_a_run_that_diverged_has_no_model(tmp_path):
    with begin({"problem": "linear", "lr": 3.0}, tmp_path / "run") as run, pytest.raises(Divergence) as lost:
        list(run.train())
    run.finish(lost.value)
    with pytest.raises(InputError, match=r"diverged at step \d+ and left no model: train again with a smaller --lr"):
        load(tmp_path / "run")


@pytest.mark.parametrize("problem", ["rosenbrock", "digits-cnn"])
def test_a_problem_that_is_no_table_cannot_predict(tmp_path, problem):
    with begin({"problem": problem, "epochs": 1}, tmp_path / "run") as run:
        list(run.train())
        run.finish(None)
    with pytest.raises(InputError, match=f"holds a run of {problem}, which is no table"):
        load(tmp_path / "run")
