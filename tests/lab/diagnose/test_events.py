"""TensorBoard's events as PyTorch, TensorFlow and people with several writers leave them."""

import subprocess
import sys
from collections import defaultdict

import pytest
from lab.diagnose.logs import HELD_OUT, TRAIN, table

from rmsprop.lab.diagnose.readers import histories
from rmsprop.lab.errors import InputError
from rmsprop.lab.tensorboard import without_tensorflow

STEPS = [2.0 / (1 + n / 50) for n in range(600)]


@pytest.fixture
def write(tmp_path):
    """Write curves to a folder's event file: tag -> values, or pairs of step and value."""
    without_tensorflow()
    from torch.utils.tensorboard import SummaryWriter

    counts = defaultdict(int)

    def events(place="", **tags):
        counts[place] += 1
        with SummaryWriter(str(tmp_path / place), filename_suffix=f".{counts[place]}") as writer:
            for tag, values in tags.items():
                points = values if isinstance(values[0], tuple) else enumerate(values)
                for step, value in points:
                    writer.add_scalar(tag.replace("__", "/"), value, step)
        return tmp_path

    return events


@pytest.mark.parametrize("held_out", ["val", "valid", "validation", "eval", "test", "dev"])
def test_a_folder_per_part_of_the_data(write, held_out):
    write("train", loss=TRAIN)
    (history,) = histories(write(held_out, loss=HELD_OUT))
    assert (history.reading.loss, history.reading.validation) == ("train/loss", f"{held_out}/loss")
    assert history.train.values == pytest.approx(TRAIN)
    assert history.validation.values == pytest.approx(HELD_OUT)


def test_validation_data_come_before_test_data_and_training_may_lie_above(write):
    write(loss=TRAIN)
    write("test", loss=TRAIN)
    (history,) = histories(write("eval", loss=HELD_OUT))
    assert (history.reading.loss, history.reading.validation) == ("loss", "eval/loss")


@pytest.mark.parametrize("first", [0, 1])
def test_validation_by_epoch_is_put_onto_the_steps_of_training(write, first):
    (history,) = histories(write(train__loss=STEPS, val__loss=list(enumerate(HELD_OUT, start=first))))
    assert history.train.times == tuple(range(600))
    assert history.validation.times == tuple(range(49, 600, 50))
    assert history.reading.notes == (
        "val/loss is counted in epochs and train/loss in steps: an epoch is taken for 50 steps",
    )


@pytest.mark.parametrize(
    "validation",
    [list(zip(range(0, 600, 50), HELD_OUT, strict=True)), list(zip(range(49, 600, 50), HELD_OUT, strict=True))],
)
def test_validation_by_step_stays_where_it_is(write, validation):
    (history,) = histories(write(train__loss=STEPS, val__loss=validation))
    assert history.validation.times == tuple(step for step, _ in validation)
    assert history.reading.notes == ()


def test_a_log_whose_validation_counts_epochs_is_put_onto_the_steps_as_well(tmp_path):
    rows = [*([n, "train", loss] for n, loss in enumerate(STEPS)), *([n, "val", x] for n, x in enumerate(HELD_OUT))]
    (tmp_path / "log.csv").write_text(table("step,phase,loss", rows))
    (history,) = histories(tmp_path / "log.csv")
    assert history.validation.times == tuple(range(49, 600, 50))
    assert history.reading.notes[-1].endswith("an epoch is taken for 50 steps")


def test_batches_that_are_written_at_the_number_of_their_epoch_are_counted(write):
    batches = [(n // 50, loss) for n, loss in enumerate(STEPS)]
    (history,) = histories(write(loss=batches, val_loss=HELD_OUT))
    assert len(history.train) == 600
    assert history.validation.times == tuple(range(49, 600, 50))
    assert "several points at one step" in history.reading.notes[0]


def test_two_runs_in_a_folder_are_not_blended(write):
    write(loss=TRAIN, val_loss=HELD_OUT)
    found = histories(write(loss=[2 * loss for loss in TRAIN[:9]], val_loss=HELD_OUT[:9]))
    assert [(len(each.train), len(each.validation)) for each in found] == [(12, 12), (9, 9)]
    assert found[1].train.values == pytest.approx([2 * loss for loss in TRAIN[:9]])
    assert [each.name for each in found] == [f"{found[0].name[:-2]}-1", f"{found[0].name[:-2]}-2"]
    assert all("2 runs wrote to this folder" in each.reading.notes[0] for each in found)


def test_two_fits_of_a_folder_per_part_are_told_apart(write):
    for factor in (1, 2):
        write("train", epoch_loss=[factor * loss for loss in TRAIN])
        folder = write("validation", epoch_loss=[factor * loss for loss in HELD_OUT])
    first, second = histories(folder)
    assert second.validation.values == pytest.approx([2 * loss for loss in HELD_OUT])
    assert first.validation.values == pytest.approx(HELD_OUT)
    assert (first.unit, second.unit) == ("epoch", "epoch")


@pytest.mark.parametrize(
    ("second", "note"),
    [
        (list(enumerate(TRAIN[8:], start=8)), None),
        (list(enumerate(TRAIN[6:], start=6)), "time goes back to 6, after a restart"),
        (TRAIN[8:], "time begins again at 0 and the loss goes on where it was: counted on"),
    ],
    ids=["goes on", "from a checkpoint", "counts anew"],
)
def test_a_run_that_was_continued_is_one(write, second, note):
    write(loss=TRAIN[:8])
    (history,) = histories(write(loss=second))
    assert history.train.times == tuple(range(12))
    assert history.train.values == pytest.approx(TRAIN)
    assert [said.startswith(note) for said in history.reading.notes] == [True] * (note is not None)


def test_a_writer_whose_steps_go_back_keeps_what_it_wrote_before(write):
    (history,) = histories(write(loss=[*enumerate(TRAIN[:8]), *enumerate(TRAIN[8:])]))
    assert history.train.values == pytest.approx(TRAIN)
    first, second = histories(write("b", loss=[*enumerate(TRAIN), *enumerate(TRAIN)]) / "b")
    assert first.train.values == second.train.values == pytest.approx(TRAIN)


def test_curves_of_one_tag_are_read_from_the_folders_that_add_scalars_makes(tmp_path, write):
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        for step, (a, b) in enumerate(zip(TRAIN, HELD_OUT, strict=True)):
            writer.add_scalars("run/Loss", {"train": a, "val": b}, step)
    (history,) = histories(tmp_path)
    assert (history.reading.loss, history.reading.validation) == ("run_Loss_train", "run_Loss_val")
    assert history.train.values == pytest.approx(TRAIN)
    assert history.validation.values == pytest.approx(HELD_OUT)


def test_a_folder_of_runs_is_each_of_them(write):
    write("b", loss=TRAIN)
    write("c/train", loss=TRAIN)
    write("c/test", loss=HELD_OUT)
    found = histories(write("a", loss=HELD_OUT))
    assert [(each.name, len(each.validation)) for each in found] == [("a", 0), ("b", 0), ("c", 12)]


def test_partial_losses_are_added_up(write):
    parts = [[share * loss for loss in TRAIN] for share in (0.25, 0.75)]
    (history,) = histories(write(train__box_loss=parts[0], train__cls_loss=parts[1], lr__pg0=TRAIN))
    assert history.train.values == pytest.approx(TRAIN)
    assert (history.reading.loss, history.reading.lr) == ("train/box_loss + train/cls_loss", "lr/pg0")


def test_events_without_a_loss_are_refused(write):
    with pytest.raises(InputError, match="accuracy: scores"):
        histories(write(accuracy=TRAIN))


LOADED = """
import sys
from pathlib import Path
import torch
from rmsprop.lab import Recorder
from rmsprop.lab.diagnose.readers import histories
from rmsprop.torch import RMSprop

weight = torch.nn.Parameter(torch.ones(3))
optimizer = RMSprop([weight], lr=0.1)
folder = Path(sys.argv[1])
with Recorder(optimizer, folder / "record.jsonl", every=1, tensorboard=folder / "board") as recorder:
    for _ in range(3):
        optimizer.zero_grad()
        loss = weight.square().sum()
        recorder.loss(loss)
        loss.backward()
        optimizer.step()
written = "tensorflow" in sys.modules
read = histories(folder / "board")
assert len(read) == 1 and len(read[0].train) == 3, read
print(written, "tensorflow" in sys.modules, "tensorboard" in sys.modules)
"""


def test_neither_writing_nor_reading_imports_tensorflow(tmp_path):
    pytest.importorskip("tensorflow", reason="what isn't installed can't be imported")
    done = subprocess.run([sys.executable, "-c", LOADED, str(tmp_path)], capture_output=True, text=True)
    assert (done.stdout.split(), done.returncode) == (["False", "False", "True"], 0), done.stderr


def test_where_tensorflow_is_there_already_nothing_is_changed(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", object())
    monkeypatch.setitem(sys.modules, "tensorboard.compat", None)  # to import it would raise
    without_tensorflow()
