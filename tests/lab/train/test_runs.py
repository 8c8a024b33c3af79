"""A run and its folder: interrupted anywhere, it ends with the same bits."""

import json
import shutil
import sys
from typing import get_args

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.defaults import Schedule
from rmsprop.lab.train import runs
from rmsprop.lab.train.folder import CHECKPOINT, CONFIG, FIGURE, HISTORY, MODEL, REPORT, RESULT
from rmsprop.lab.train.runs import Interrupted, begin
from rmsprop.lab.train.settings import SCHEDULE_FREE, TUNED_SCHEDULES

LASTING = (CONFIG, HISTORY, CHECKPOINT)
SHORT = {"problem": "linear", "epochs": 6, "warmup": 1.0}


def train(folder, given=SHORT, epochs=None, *, resuming=False, force=False):
    """Train for some epochs, or to the end, without judging the run."""
    with begin(given, folder, resuming=resuming, force=force) as run:
        for epoch in run.train():
            if epoch.epoch == epochs:
                break
        return run


def content(folder, names=LASTING):
    return {name: (folder / name).read_bytes() for name in names}


def finish(folder, given=SHORT, *, resuming=False):
    with begin(given, folder, resuming=resuming) as run:
        list(run.train())
        return run.finish(None)


@pytest.mark.parametrize("schedule", get_args(Schedule))
@pytest.mark.parametrize("given", [{}, {"momentum": 0.9, "centered": True, "dialect": "tensorflow1"}])
def test_a_run_interrupted_after_any_epoch_ends_with_the_same_bits(tmp_path, schedule, given):
    if schedule == SCHEDULE_FREE and given:
        given = {"dialect": "tensorflow1", "warmup": 1.5, "weight_decay": 0.01}  # momentum and centered are refused
    given = SHORT | given | {"schedule": schedule} | ({"warmup": 0.0} if schedule in TUNED_SCHEDULES else {})
    train(tmp_path / "whole", given)
    for epochs in (1, 3, 6):
        train(tmp_path / "broken", given, epochs, force=True)
        train(tmp_path / "broken", given, epochs, resuming=True)
        train(tmp_path / "broken", given, resuming=True)
        assert content(tmp_path / "broken") == content(tmp_path / "whole")


def leave_half_a_row(folder):
    with (folder / HISTORY).open("a") as file:
        file.write("4,32,0.0")


def leave_a_row_the_checkpoint_lacks(folder):
    with (folder / HISTORY).open("a") as file:
        file.write((folder / HISTORY).read_text().splitlines()[-1].replace("3,", "4,", 1) + "\n")


def leave_half_a_checkpoint(folder):
    (folder / f".{CHECKPOINT}.0123abcd.tmp").write_bytes(b"half")


def lose_the_checkpoint(folder):
    (folder / CHECKPOINT).unlink()


def lose_all_but_the_configuration(folder):
    for name in (CHECKPOINT, HISTORY):
        (folder / name).unlink()


def lose_everything_but_half_a_configuration(folder):
    for path in folder.iterdir():
        if path.name != ".lock":  # it is there before anything is written
            path.unlink()
    (folder / f".{CONFIG}.0123abcd.tmp").write_bytes(b"{")


def lose_everything(folder):
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    "harm",
    [
        leave_half_a_row,
        leave_a_row_the_checkpoint_lacks,
        leave_half_a_checkpoint,
        lose_the_checkpoint,
        lose_all_but_the_configuration,
        lose_everything_but_half_a_configuration,
        lose_everything,
    ],
)
def test_whatever_a_killed_run_leaves_behind_can_be_continued(tmp_path, harm):
    train(tmp_path / "whole")
    train(tmp_path / "broken", epochs=3)
    harm(tmp_path / "broken")
    train(tmp_path / "broken", resuming=True)
    assert content(tmp_path / "broken") == content(tmp_path / "whole")
    assert {path.name for path in (tmp_path / "broken").iterdir()} == {*LASTING, ".lock"}


def test_a_run_killed_before_its_first_epoch_keeps_its_settings(tmp_path, monkeypatch):
    def kill(*_):
        raise KeyboardInterrupt

    given = SHORT | {"lr": 0.02}
    train(tmp_path / "whole", given)
    for names, killed_in in ((given, "train"), ({"problem": "linear"}, "_write_config")):
        with monkeypatch.context() as patch:
            patch.setattr(runs.TrainingRun, killed_in, kill)
            with pytest.raises(Interrupted):
                train(tmp_path / "broken", names, resuming=True)
    train(tmp_path / "broken", {"problem": "linear"}, resuming=True)
    assert content(tmp_path / "broken") == content(tmp_path / "whole")


def test_a_finished_run_has_its_files_and_can_be_finished_again(tmp_path):
    first = finish(tmp_path / "run")
    names = {CONFIG, HISTORY, CHECKPOINT, MODEL, FIGURE, REPORT, RESULT}
    assert {path.name for path in (tmp_path / "run").iterdir()} == {*names, ".lock"}
    before = content(tmp_path / "run", names)
    for name in (MODEL, REPORT, RESULT):
        (tmp_path / "run" / name).unlink()
    second = finish(tmp_path / "run", resuming=True)
    assert content(tmp_path / "run", names) == before
    assert (first.facts, first.scores, first.line) == (second.facts, second.scores, second.line)
    assert first.line.startswith("y = ")


def test_history_has_a_row_per_epoch_that_is_on_the_disk_at_once(tmp_path):
    with begin(SHORT, tmp_path / "run") as run:
        for epoch in run.train():
            lines = (tmp_path / "run" / HISTORY).read_text().splitlines()
            assert len(lines) == 1 + epoch.epoch
            row = dict(zip(lines[0].split(","), lines[-1].split(","), strict=True))
            assert int(row["epoch"]) == epoch.epoch
            assert float(row["train_loss"]) == epoch.train_loss
            assert float(row["effective_step_output_q50"]) == epoch.effective_step["output"][1]


def test_the_model_can_be_used_elsewhere(tmp_path):
    result = finish(tmp_path / "run", {"problem": "wine", "epochs": 2})
    model = result.problem.model(7)
    model.load_state_dict(load_file(tmp_path / "run" / MODEL))
    assert result.problem.evaluate(model, result.problem.test) == result.scores["test"]
    with safe_open(tmp_path / "run" / MODEL, framework="pt") as file:
        facts = json.loads(file.metadata()["rmsprop"])
    assert facts["classes"] == ["class_0", "class_1", "class_2"]
    assert facts["preparation"][0].keys() == {"column", "kind", "missing", "mean", "scale"}


def test_a_longer_run_is_what_it_would_have_been(tmp_path):
    given = SHORT | {"schedule": "step", "step_size": 2}
    train(tmp_path / "whole", given | {"epochs": 9})
    train(tmp_path / "longer", given)
    train(tmp_path / "longer", {"problem": "linear", "epochs": 9}, resuming=True)
    assert content(tmp_path / "longer") == content(tmp_path / "whole")


def test_a_run_that_diverged_leaves_no_model_and_diverges_again(tmp_path):
    given = {"problem": "linear", "lr": 3.0}
    reports = []
    for resuming in (False, True):
        with begin(given, tmp_path / "run", resuming=resuming) as run, pytest.raises(runs.Divergence) as lost:
            list(run.train())
        result = run.finish(lost.value)
        assert result.diverged
        assert result.scores == {}
        assert not (tmp_path / "run" / MODEL).exists()
        reports.append((tmp_path / "run" / REPORT).read_bytes())
    assert reports[0] == reports[1]


def test_an_existing_run_is_kept_unless_it_is_to_be_replaced(tmp_path):
    train(tmp_path, epochs=2)
    before = content(tmp_path)
    with pytest.raises(InputError, match="holds a run already: add --resume to continue it, or --force to replace it"):
        train(tmp_path)
    assert content(tmp_path) == before
    train(tmp_path, SHORT | {"seed": 1}, force=True)
    assert json.loads((tmp_path / CONFIG).read_text())["settings"]["seed"] == 1


def test_a_folder_with_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for force in (False, True):
        with pytest.raises(InputError, match=r"holds other files \(thesis.tex\)"):
            train(tmp_path, force=force)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("name", [CONFIG, MODEL, HISTORY])
@pytest.mark.parametrize("content", ['{"architectures": ["Bert"]}', "[]"])
def test_other_files_of_the_same_names_are_left_alone(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    for choice in ({}, {"force": True}, {"resuming": True}):
        with pytest.raises(InputError, match=rf"holds other files \({name}\): give a new folder"):
            train(tmp_path, **choice)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, content)]


def test_a_folder_that_cannot_be_read_is_one_line(tmp_path):
    (tmp_path / CONFIG).mkdir()
    for folder in (tmp_path, tmp_path / ("x" * 300)):
        with pytest.raises(InputError, match=r"can't be (read|written) \(.*\): give another folder"):
            train(folder)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"problem": "linear", "lr": 0.5}, "--lr is 0.5 here and 0.01 in the run"),
        ({"problem": "linear", "momentum": 0.9}, "--momentum is 0.9 here and 0.0 in the run"),
        ({"problem": "linear", "epochs": 2}, "the run has done 3 already"),
        ({"problem": "wine"}, "holds a run of linear, not of wine"),
    ],
)
def test_a_run_is_not_continued_with_other_settings(tmp_path, given, message):
    train(tmp_path, epochs=3)
    before = content(tmp_path)
    with pytest.raises(InputError) as caught:
        train(tmp_path, given, resuming=True)
    assert message in str(caught.value)
    assert content(tmp_path) == before


def test_the_bits_of_a_small_model_do_not_depend_on_the_number_of_threads(tmp_path):
    for threads in (1, 3):
        torch.set_num_threads(threads)
        train(tmp_path / str(threads), {"problem": "digits", "epochs": 2})
        assert torch.get_num_threads() == threads
    torch.set_num_threads(1)
    assert content(tmp_path / "1") == content(tmp_path / "3")


def test_a_table_may_move(tmp_path, table):
    given = {"problem": str(table), "target": "churn", "epochs": 2}
    train(tmp_path / "run", given, epochs=1)
    (tmp_path / "archive").mkdir()
    moved = table.rename(tmp_path / "archive" / table.name)
    assert train(tmp_path / "run", {"problem": str(moved)}, resuming=True).settings.problem == str(moved)


def test_a_run_is_not_continued_with_other_data(tmp_path, table):
    given = {"problem": str(table), "target": "churn", "epochs": 2}
    train(tmp_path / "run", given, epochs=1)
    table.write_text(table.read_text().replace("Oslo", "Bergen", 1))
    with pytest.raises(InputError, match="has changed since the run began"):
        train(tmp_path / "run", {"problem": str(table)}, resuming=True)


@pytest.mark.parametrize(
    ("name", "harm", "message"),
    [
        (CONFIG, b"{", "is damaged"),
        (CONFIG, b'{"settings": {}, "data": {}, "versions": {}}', "is damaged"),
        (CONFIG, b'{"settings": {}, "data": {}, "versions": {}, "checksum": ""}', "was changed"),
        (CONFIG, b"[" * 100_000, "is damaged"),
        (CHECKPOINT, b"zzz", "is damaged"),
        (HISTORY, b"epoch\n1\n", "was changed"),
        (HISTORY, b"\xe9", "was changed"),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path, name, harm, message):
    train(tmp_path, epochs=3)
    (tmp_path / name).write_bytes(harm)
    with pytest.raises(InputError) as caught:
        train(tmp_path, resuming=True)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (CONFIG, '"lr": 0.01', '"lr": 0.02'),
        (CONFIG, '"epochs": 6', '"epochs": "six"'),
        (CONFIG, '"fingerprint": "', '"fingerprint": "0'),
        (HISTORY, "\n2,", "\n3,"),
        (HISTORY, "\n2,", "\ninf,"),
        (HISTORY, "\n2,", "\n" + "2" * 200_000 + ","),
    ],
)
def test_a_changed_file_is_one_line(tmp_path, name, old, new):
    train(tmp_path, epochs=3)
    text = (tmp_path / name).read_text()
    assert text.count(old) == 1
    (tmp_path / name).write_text(text.replace(old, new))
    with pytest.raises(InputError, match=r"changed.*start over with --force"):
        train(tmp_path, resuming=True)


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    train(tmp_path / "one", epochs=1)
    train(tmp_path / "two", {"problem": "wine", "epochs": 2}, epochs=1)
    shutil.copy(tmp_path / "two" / CHECKPOINT, tmp_path / "one" / CHECKPOINT)
    with pytest.raises(InputError, match="is damaged or of another model"):
        train(tmp_path / "one", resuming=True)


def test_a_folder_is_for_one_process(tmp_path):
    with begin(SHORT, tmp_path) as run:
        next(run.train())
        with pytest.raises(InputError, match="another process is running"):
            train(tmp_path, resuming=True)
    train(tmp_path, resuming=True)


def test_the_keyboard_interrupts_after_the_last_epoch_on_the_disk(tmp_path):
    def interrupt_in_epoch_three():
        with begin(SHORT, tmp_path) as run:
            for epoch in run.train():
                if epoch.epoch == 2:
                    raise KeyboardInterrupt

    with pytest.raises(Interrupted) as caught:
        interrupt_in_epoch_three()
    assert (caught.value.epoch, caught.value.folder) == (2, tmp_path)


def test_other_versions_are_said(tmp_path, monkeypatch):
    train(tmp_path, epochs=2)
    monkeypatch.setattr("rmsprop.__version__", "99.0")
    run = train(tmp_path, resuming=True)
    assert any("other versions" in note for note in run.notes)


def test_a_function_has_its_problems_length_and_is_continued_to_the_same_bits(tmp_path, own):
    given = {"problem": "own:small"}
    whole = train(tmp_path / "whole", given)
    assert (whole.settings.epochs, whole.settings.batch_size, whole.settings.model) == (3, 50, None)
    train(tmp_path / "broken", given, epochs=1)
    train(tmp_path / "broken", given, resuming=True)
    assert content(tmp_path / "broken") == content(tmp_path / "whole")
    assert json.loads((tmp_path / "whole" / CONFIG).read_text())["data"].keys() == {
        "name",
        "fingerprint",
        "positive",
        "rows",
    }
    assert train(tmp_path / "other", {**given, "epochs": 2, "batch_size": 60}).settings.epochs == 2


def test_a_function_is_not_continued_with_other_data(tmp_path, own):
    train(tmp_path / "run", {"problem": "own:small"}, epochs=1)
    sys.modules["own"].SHIFT = 1.0
    with pytest.raises(InputError, match="own:small has changed since the run began"):
        train(tmp_path / "run", {"problem": "own:small"}, resuming=True)


@pytest.mark.parametrize("given", [{"problem": "own:broken"}, {"problem": "own:small", "hidden": (3,)}])
def test_a_function_that_cannot_be_used_leaves_no_folder(tmp_path, own, given):
    with pytest.raises(InputError):
        train(tmp_path / "run", given)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["bowl", "logistic"])
def test_what_has_nothing_held_out_has_one_score_and_its_distance_to_the_optimum(tmp_path, name):
    result = finish(tmp_path / "run", {"problem": name, "epochs": 2})
    assert result.scores.keys() == {"train"}
    assert result.excess == result.scores["train"][0] - result.problem.optimum > 0
    facts = json.loads((tmp_path / "run" / CONFIG).read_text())["data"]
    assert facts["rows"] == dict.fromkeys(("train", "validation", "test"), len(result.problem.train))
