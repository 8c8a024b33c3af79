"""Logs in the formats that programs and people write: what is taken for what, and what becomes of the rows."""

import gzip
import io
import math
import unicodedata
from pathlib import Path

import pytest
from lab.diagnose.logs import ENDS, HELD_OUT, PAIRS, PLAIN, TRAIN, WHOLE, table, trainer_state

from rmsprop.lab.diagnose.readers import histories
from rmsprop.lab.errors import InputError


@pytest.mark.parametrize(("name", "text", "roles"), WHOLE.values(), ids=WHOLE)
def test_losses_are_found_and_whole(tmp_path, name, text, roles):
    (tmp_path / name).write_text(text, encoding="utf-8")
    (history,) = histories(tmp_path / name)
    assert (history.reading.time, history.reading.loss, history.reading.validation) == roles
    assert history.train.values == pytest.approx(TRAIN)
    assert history.validation.values == pytest.approx(HELD_OUT)
    assert list(history.train.times) == sorted(set(history.train.times))


@pytest.mark.parametrize(
    ("encode", "suffix"),
    [
        (lambda text: text.encode("utf-8-sig"), ".csv"),
        (lambda text: text.encode("utf-16"), ".csv"),
        (lambda text: gzip.compress(text.encode()), ".csv.gz"),
        (lambda text: text.replace("\n", "\r\n").encode(), ".csv"),
        (lambda text: text.replace("\n", "\r").encode(), ".csv"),
    ],
    ids=["mark", "utf-16", "gzip", "windows", "old mac"],
)
def test_bytes_become_text(tmp_path, encode, suffix):
    path = tmp_path / f"log{suffix}"
    path.write_bytes(encode(table(ENDS, PLAIN)))
    (history,) = histories(path)
    assert (history.name, history.train.values, history.validation.values) == ("log", tuple(TRAIN), tuple(HELD_OUT))


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("phases", (24, 0, 12)),
        ("a row per metric", (36, 12, 12)),
        ("Hugging Face", (25, 1, 12)),
        ("Lightning's gaps", (24, 0, 0)),
        ("a total in one row", (13, 1, 0)),
        ("a run taken up from a checkpoint", (15, 3, 0)),
        ("rows that are written twice", (24, 0, 12)),
        ("blank lines", (12, 0, 0)),
        ("a second header", (12, 0, 0)),
    ],
)
def test_rows_are_accounted_for(tmp_path, name, counts):
    file, text, _ = WHOLE[name]
    (tmp_path / file).write_text(text)
    reading = histories(tmp_path / file)[0].reading
    assert (reading.rows, reading.dropped, reading.combined) == counts


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("phases", "column phase says which rows are of training and which of validation"),
        ("padded headers and partial losses", "the losses train/box_loss, train/cls_loss are added up"),
        ("XGBoost through scikit-learn", "validation_0/logloss is taken as the loss on the training data"),
        ("gaps that are called nan", "nan is read as an empty cell where it fills a gap"),
        ("a fit appended to another", "time begins again at 0 and the loss goes on where it was: counted on"),
        ("a run taken up from a checkpoint", "time goes back to 5, after a restart"),
        ("a second header", "a header stands once more in line 7"),
    ],
)
def test_what_was_decided_is_said(tmp_path, name, note):
    file, text, _ = WHOLE[name]
    (tmp_path / file).write_text(text)
    assert any(said.startswith(note) for said in histories(tmp_path / file)[0].reading.notes)


def test_a_score_is_no_loss_and_time_is_counted_in_what_the_agent_saw(tmp_path):
    header = ["time/iterations", "time/total_timesteps", "rollout/ep_rew_mean", "train/loss", "train/learning_rate"]
    rows = [[n, 200 * n, 9, "" if n < 3 else 1 / n, 0.1] for n in range(1, 12)]
    (tmp_path / "progress.csv").write_text(table(header, rows))
    (history,) = histories(tmp_path)
    assert (history.reading.time, history.reading.loss) == ("time/total_timesteps", "train/loss")
    assert history.reading.scores == ("rollout/ep_rew_mean",)
    assert history.train.times == tuple(range(600, 2201, 200))
    assert (history.reading.rows, history.reading.dropped) == (11, 2)


RUNS = {
    "folds": ("fold,epoch,loss", lambda k, n, a: [k, n, a], "fold-0 fold-1"),
    "seeds in turn": ("seed,step,loss", lambda k, n, a: [k, n, a], "seed-0 seed-1"),
    "models": ("model,epoch,loss", lambda k, n, a: ["ab"[k], n, a], "model-a model-b"),
    "ranks": ("rank,step,loss", lambda k, n, a: [k, n, a], "rank-0 rank-1"),
    "folds without a time": ("fold,loss", lambda k, n, a: [k, a], "fold-0 fold-1"),
    "folds with a time that counts on": ("fold,step,loss", lambda k, n, a: [k, 12 * k + n, a], "fold-0 fold-1"),
    "folds of batches": ("fold,epoch,batch,loss", lambda k, n, a: [k, n // 4, n % 4, a], "fold-0 fold-1"),
    "a run after another": ("epoch,loss", lambda k, n, a: [n, a], "1 2"),
    "a run of batches after another": ("epoch,batch,loss", lambda k, n, a: [n // 4, n % 4, a], "1 2"),
}


@pytest.mark.parametrize(("header", "row", "names"), RUNS.values(), ids=RUNS)
def test_several_runs_in_a_file_are_histories_of_their_own(tmp_path, header, row, names):
    cells = [(k, n, (k + 1) * a) for k in range(2) for n, a in enumerate(TRAIN)]
    if "seed" in header:
        cells.sort(key=lambda cell: cell[1])
    (tmp_path / "log.csv").write_text(table(header, [row(*cell) for cell in cells]))
    found = histories(tmp_path / "log.csv")
    assert [history.name for history in found] == [f"log-{name}" for name in names.split()]
    for k, history in enumerate(found):
        assert history.train.values == pytest.approx([(k + 1) * a for a in TRAIN])
        assert history.reading.rows == 12
    assert any("of its own" in note for note in found[-1].reading.notes)


def test_rows_of_no_run_are_left_out(tmp_path):
    rows = [[k, n, a] for k in (0, 1) for n, a in enumerate(TRAIN)]
    (tmp_path / "log.csv").write_text(table("fold,epoch,loss", [["", 0, 9], *rows, ["", 1, 9]]))
    found = histories(tmp_path / "log.csv")
    assert [(each.name, each.train.values) for each in found] == [
        ("log-fold-0", tuple(TRAIN)),
        ("log-fold-1", tuple(TRAIN)),
    ]
    assert [each.reading.dropped for each in found] == [2, 0]


def test_the_columns_of_several_exported_runs_are_histories_of_their_own(tmp_path):
    (tmp_path / "export.csv").write_text(
        table(["Step", "sun-1 - loss", "moon-2 - loss"], [[n, a, b if n < 9 else ""] for n, (a, b) in enumerate(PAIRS)])
    )
    found = histories(tmp_path / "export.csv")
    assert [(each.name, len(each.train)) for each in found] == [("sun-1", 12), ("moon-2", 9)]


@pytest.mark.parametrize("time", ["step", "epoch,batch"])
def test_the_validation_losses_of_batches_are_averaged(tmp_path, time):
    rows = []
    for n, (a, b) in enumerate(PAIRS):
        rows.append([n, "train", a] if time == "step" else [n // 4, n % 4, "train", a])
        if n % 4 == 3:
            ends = [[n], [n]] if time == "step" else [[n // 4, 0], [n // 4, 1]]
            rows += [[*end, "val", b + difference] for end, difference in zip(ends, (0.5, -0.5), strict=True)]
    (tmp_path / "log.csv").write_text(table(f"{time},phase,loss", rows))
    (history,) = histories(tmp_path / "log.csv")
    assert history.train.values == tuple(TRAIN)
    assert history.validation.values == pytest.approx(HELD_OUT[3::4])
    assert history.validation.times == history.train.times[3::4]
    assert "val/loss has several rows of one time: their mean is taken" in history.reading.notes


def test_a_single_column_is_a_table(tmp_path):
    (tmp_path / "log.csv").write_text(table("loss", [[a] for a in TRAIN]))
    (history,) = histories(tmp_path / "log.csv")
    assert (history.source, history.train.values) == ("a CSV file, 12 rows", tuple(TRAIN))


def test_the_numbers_that_tensorboard_exports_are_the_loss(tmp_path):
    (tmp_path / "log.csv").write_text(table("Wall time,Step,Value", [[1e9 + n, n, a] for n, a in enumerate(TRAIN)]))
    (history,) = histories(tmp_path / "log.csv")
    assert (history.train.values, history.reading.time) == (tuple(TRAIN), "Step")
    assert history.reading.notes == ("Value is taken as the training loss",)


def test_a_validation_that_counts_its_own_batches_comes_after_the_training(tmp_path):
    rows = [row for n in range(4) for row in ([n, 50, "train", TRAIN[n]], [n, 100, "train", 1.0], [n, 20, "val", 1.0])]
    (tmp_path / "log.csv").write_text(table("epoch,iter,phase,loss", rows))
    (history,) = histories(tmp_path / "log.csv")
    assert history.train.times == (50, 100, 150, 200, 250, 300, 350, 400)
    assert history.validation.times == (100, 200, 300, 400)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_name_is_the_same_however_its_accents_are_written(tmp_path, form):
    text = table("époque,coût", [[n, a] for n, a in enumerate(TRAIN)])
    (tmp_path / "log.csv").write_text(unicodedata.normalize(form, text), encoding="utf-8")
    for given in ("NFC", "NFD"):
        (history,) = histories(tmp_path / "log.csv", loss=unicodedata.normalize(given, "coût"))
        assert (history.reading.time, history.train.values) == ("époque", tuple(TRAIN))


def test_times_that_repeat_in_no_order_are_refused_with_what_to_do(tmp_path):
    (tmp_path / "log.csv").write_text("epoch,loss\n1,2\n0,1\n1,3\n0,4\n1,5\n0,6\n")
    with pytest.raises(InputError, match=r"several rows with the same epoch, in no order.*give a file per run"):
        histories(tmp_path / "log.csv")


@pytest.mark.parametrize(
    ("damage", "note"),
    [
        (lambda rows: [*rows[:4], "3", *rows[5:]], "line 5 left out: fewer cells"),
        (lambda rows: [*rows[:4], rows[4] + ",7,8", *rows[5:]], "line 5 left out: more cells"),
    ],
)
def test_a_row_of_another_length_is_left_out_and_said(tmp_path, damage, note):
    rows = table(ENDS, PLAIN).splitlines()
    (tmp_path / "log.csv").write_text("\n".join(damage(rows)))
    reading = histories(tmp_path / "log.csv")[0].reading
    assert (reading.rows, reading.dropped) == (12, 1)
    assert reading.notes[0].startswith(note)


def test_a_writer_that_leaves_out_empty_cells_at_the_end_is_understood(tmp_path):
    rows = [[n, a] if n % 3 else [n, a, HELD_OUT[n]] for n, a in enumerate(TRAIN)]
    (tmp_path / "log.csv").write_text(table(ENDS, [*rows, [12, 0.1, 1.8]]) + "13,0.0")
    (history,) = histories(tmp_path / "log.csv")
    assert (len(history.train), len(history.validation), history.reading.dropped) == (13, 5, 1)
    assert history.reading.notes[0] == "line 15 left out: fewer cells than the header"
    assert "8 rows have fewer cells than the header" in history.reading.notes[1]


@pytest.mark.parametrize("filler", ["", "nan"])
def test_a_loss_that_is_not_a_number_to_the_end_is_kept(tmp_path, filler):
    rows = [[n, a if n < 6 else "nan", b if n < 6 else "nan"] for n, (a, b) in enumerate(PAIRS)]
    gaps = [row for n, a, b in rows for row in ([2 * n, a, filler], [2 * n + 1, filler, b])]
    for name, content in (("whole", rows), ("gaps", gaps)):
        (tmp_path / f"{name}.csv").write_text(table(ENDS, content))
        (history,) = histories(tmp_path / f"{name}.csv")
        assert sum(map(math.isfinite, history.train.values)) == 6
        assert all(map(math.isnan, history.train.values[6:]))
        assert len(history.train) >= 12


# A line as programs print it, beside it the time, training and validation loss and the values that three of them give.
_ROWS = "the order of the rows, counted"
_PRINTED = {
    "key=value": ("step={n} loss={x} lr=0.001\n", ("step", "loss", None)),
    "key: value": ("step: {n} loss: {x} lr: 0.001\n", ("step", "loss", None)),
    "HF Trainer": ("{{'loss': {x}, 'grad_norm': 1.2, 'epoch': 0.0{n}}}\n", (_ROWS, "loss", None)),
    "HF Trainer 5": ("{{'loss': '{x}', 'learning_rate': '5e-05', 'epoch': '0.0{n}'}}\n", (_ROWS, "loss", None)),
    "a bar": (
        "  {n}%|#    | {n}/100 [00:01<00:10,  9.1it/s]\r{{'loss': {x}, 'epoch': 0.0{n}}}\n",
        (_ROWS, "loss", None),
    ),
    "nanoGPT": ("iter {n}: loss {x}, time 123.45ms, mfu 12.3%\n", ("iter", "loss", None)),
    "llm.c": ("step {n}/100 | loss {x} (+nanz)| norm 1.2 (+nanz)| lr 1.00e-04 | 123.4 ms\n", ("step", "loss", None)),
    "torch mnist": (
        "Train Epoch: {n} [640/60000 (1%)]\tLoss: {x}\n\nTest set: Average loss: {x}, Accuracy: 9850/10000 (98%)\n",
        ("Epoch", "Loss", "test Average loss"),
    ),
    "torch imagenet": (
        "Epoch: [{n}][  0/50]\tTime  0.1 ( 0.2)\tLoss {x} ({x})\tAcc@1  1.5 ( 1.1)\n",
        ("Epoch", "Loss", None),
    ),
    "Keras": (
        "Epoch {n}/3\n\x1b[1m32/32\x1b[0m \x1b[1m1s\x1b[0m 3ms/step - accuracy: 0.5 - loss: {x} - val_loss: {x}\n",
        ("Epoch", "loss", "val_loss"),
    ),
    "logging": ("2024-05-01 10:00:0{n},123 INFO train: step {n} | loss {x}\n", ("step", "loss", None)),
    "Lightning": (
        "Epoch {n}: 100%|#| 9/9 [00:01<00:00, 80it/s, v_num=0, train_loss={x}]\n",
        ("Epoch", "train_loss", None),
    ),
    "XGBoost": ("[{n}]\ttrain-rmse:{x}\teval-rmse:{x}\n", (_ROWS, "train-rmse", "eval-rmse")),
    "LightGBM": ("[{n}]\ttraining's l2: {x}\tvalid_1's l2: {x}\n", (_ROWS, "training l2", "valid_1 l2")),
    "JSON behind a word": ('INFO {{"step": {n}, "loss": {x}}}\n', ("step", "loss", None)),
    "Megatron": (
        " iteration      {n}/     100 | time per iteration (ms): 500.0 | lm loss: {x}E+00 | loss scale: 1.0 |\n",
        ("iteration", "lm loss", None),
    ),
}


@pytest.mark.parametrize(("line", "roles"), _PRINTED.values(), ids=_PRINTED)
def test_what_programs_print_is_read(tmp_path, line, roles):
    (tmp_path / "out.log").write_text(
        "number of parameters: 10.65M\n" + "".join(line.format(n=n, x=x) for n, x in _POINTS)
    )
    (history,) = histories(tmp_path / "out.log")
    assert (history.reading.time, history.reading.loss, history.reading.validation) == roles
    assert history.train.values == tuple(float(x) for _, x in _POINTS)
    assert set(history.validation.values) <= set(history.train.values)


_POINTS = [(1, "2.5"), (2, "1.25"), (3, "1.125")]


def test_a_download_of_tensorboard_is_a_curve(tmp_path):
    (tmp_path / "curve.json").write_text(str([[1700000000.5 + n, 10 * n, float(x)] for n, x in _POINTS]))
    (history,) = histories(tmp_path / "curve.json")
    assert dict(zip(history.train.times, history.train.values, strict=True)) == {10 * n: float(x) for n, x in _POINTS}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("iter 0: loss 2.5\nstep 0: train loss 2.5, val loss 2.5\n" * 2, "name one of loss, train loss by --loss"),
        ("Traceback (most recent call last):\n  File\nRuntimeError: CUDA out of memory\n", "is neither a table nor"),
        ('{"step": 1, "loss": 2}\n{"step": 2, "loss": 3\n{"step": 3, "loss": 4}\n', "line 2 isn't JSON"),
        (
            '#{"t_start": 1.5, "env_id": "CartPole-v1"}\nr,l,t\n9.0,9,0.1\n8.0,8,0.2\n',
            "rewards and lengths of episodes",
        ),
        ('{"loss": [1, 2], "val"', "line 1 isn't JSON"),
        ("[1, 2, [3]]", "where a number is needed"),
        ("{}", "is empty"),
        ("[]", "is empty"),
        ('{"loss": []}', "is empty"),
        ('{"log_history": [1]}', "rows that are no objects"),
        ("3\n4\n", "its first line must name the columns"),
        ('epoch,loss\n1,2\n2,"1\n', "line 3 can't be split into cells"),
        ("epoch,train/actor_loss,train/critic_loss\n1,2,3\n2,3,4\n", "name one of train/actor_loss, train/critic_loss"),
        ("epoch,rollout/ep_rew_mean\n1,2\n2,3\n", "rollout/ep_rew_mean: scores, which aren't judged"),
        ("epoch,loss_scale\n1,2\n2,3\n", "has no column that looks like a training loss"),
        ("epoch,loss,loss\n1,2,3\n2,3,4\n", "has 2 columns named 'loss': rename or remove all but one"),
    ],
)
def test_what_cannot_be_read_says_what_to_do(tmp_path, text, message):
    (tmp_path / "log.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        histories(tmp_path / "log.txt")


def test_bytes_that_cannot_be_unpacked_are_refused(tmp_path):
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(b"epoch,loss\n1,2\n" * 100)[:-20])
    with pytest.raises(InputError, match="is not a readable gzip file"):
        histories(tmp_path / "log.csv.gz")


def test_standard_input_is_read(monkeypatch, tmp_path):
    text = table(ENDS, PLAIN)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    (history,) = histories(Path("-"))
    assert (history.name, history.train.values) == ("stdin", tuple(TRAIN))


@pytest.mark.parametrize("given", [".", "trainer_state.json", "checkpoint-20", "checkpoint-20/trainer_state.json"])
def test_the_newest_state_of_a_trainer_is_read(tmp_path, given):
    folder = tmp_path / "out"
    for steps in (20, 100, 30):
        (folder / f"checkpoint-{steps}").mkdir(parents=True)
        (folder / f"checkpoint-{steps}" / "trainer_state.json").write_text(trainer_state(steps // 10))
    (folder / "trainer_state.json").write_text(trainer_state(5))
    (history,) = histories(folder / given)
    name, last = {".": ("out", 120), "trainer_state.json": ("out", 60)}.get(given, ("checkpoint-20", 24))
    assert (history.name, history.train.times[-1]) == (name, last)
    assert (history.reading.notes == ("of 3 checkpoints the newest is read, checkpoint-100",)) == (given == ".")


@pytest.mark.parametrize("given", [".", "lightning_logs"])
def test_versions_of_lightning_are_read_in_their_order(tmp_path, given):
    for version in (10, 2, 0):
        folder = tmp_path / "lightning_logs" / f"version_{version}"
        folder.mkdir(parents=True)
        (folder / "hparams.yaml").write_text("lr: 1\n")
        (folder / "metrics.csv").write_text(WHOLE["Lightning's gaps"][1])
    assert [each.name for each in histories(tmp_path / given)] == ["version_0", "version_2", "version_10"]
    assert [each.name for each in histories(tmp_path / "lightning_logs" / "version_2")] == ["version_2"]


@pytest.mark.parametrize("page", ["report.html", "tune.html"])
def test_tables_beside_a_report_are_its_own(tmp_path, page):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / page).touch()
    (tmp_path / "runs" / "runs.csv").write_text(WHOLE["tabs"][1])
    for folder in (tmp_path, tmp_path / "runs"):
        with pytest.raises(InputError, match="holds no history"):
            histories(folder)


def test_logs_in_a_folder_are_read_and_other_files_are_not(tmp_path):
    (tmp_path / "a.csv").write_text(WHOLE["tabs"][1])
    (tmp_path / "b.json").write_text(WHOLE["Keras' history"][1])
    (tmp_path / "config.json").write_text('{"lr": 1}')
    (tmp_path / "data.csv").write_text("x,y\n1,2\n")
    (tmp_path / "notes.txt").write_text("nothing")
    assert [each.name for each in histories(tmp_path)] == ["a", "b"]
