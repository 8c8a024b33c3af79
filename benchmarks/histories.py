"""Histories whose truth is known, as programs write them: a corpus of curves, and a writer for each format."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# What a run did -> what `rmsprop diagnose` is to find in it.
TRUTHS: Mapping[str, str] = {
    "healthy": "converged",
    "falling": "still falling",
    "overfit": "overfitting",
    "plateau": "plateau",
    "spike": "spikes",
    "diverged": "diverged",
    "nan": "diverged",
}
# A batch's noise as a share of the loss.
NOISES = (0.0, 0.02, 0.05, 0.08, 0.12, 0.16, 0.20)


@dataclass(frozen=True)
class Curves:
    """Training and validation losses of a run, at times of their own."""

    train_times: Sequence[int]
    train: Floats
    validation_times: Sequence[int]
    validation: Floats


def curves(truth: str, noise: float, seed: int, train_times: Sequence[int], validation_times: Sequence[int]) -> Curves:
    """Return the losses of a run, each with the noise of a batch."""
    random = np.random.default_rng([seed, list(TRUTHS).index(truth), round(1000 * noise)])
    unit, rate, end = 10.0 ** random.uniform(-1, 1), random.uniform(8.0, 13.0), max(*train_times, *validation_times)
    gap, height = random.uniform(0.3, 1.0), random.uniform(0.4, 1.0)

    def of(times: Sequence[int], held_out: bool) -> Floats:
        t = np.asarray(times, dtype=float) / end
        clean = unit * _shape(truth, t, rate, gap if held_out else 0.0, height if held_out else 0.0)
        return clean * np.maximum(1.0 + noise * random.standard_normal(len(t)), 0.05)

    train, validation = of(train_times, False), of(validation_times, True)
    if truth == "spike":
        train[round(len(train) * 2 / 3)] = 10.0 * unit
    if truth == "nan":
        train[len(train) // 2 :], validation[len(validation) // 2 :] = math.nan, math.nan
    return Curves(train_times, train, validation_times, validation)


def _shape(truth: str, t: Floats, rate: float, gap: float, height: float) -> Floats:
    """Return the losses without noise: of training where gap and height are 0, else of validation."""
    learning = 2.2 * np.exp(-rate * t) + 0.12 * (1.0 + gap)
    match truth:
        case "falling" | "nan":
            return 2.3 - 1.5 * t + 0.1 * gap
        case "plateau":
            return np.full_like(t, 2.3)
        case "overfit":
            fitted = 2.2 * np.exp(-rate * t) + 0.005
            return fitted + 0.3 + height * np.maximum(t - 1 / 3, 0.0) * 1.5 if height else fitted
        case "diverged":
            return np.where(t < 0.5, 2.3 - 3.0 * t, 0.8 * np.exp(18.0 * np.maximum(t - 0.5, 0.0)))
    return learning


Writer = Callable[[Path, Curves], Path]


def keras_csv(folder: Path, run: Curves) -> Path:
    """Write what Keras' CSVLogger does."""
    return _csv(folder / "training.csv", ["epoch", "loss", "val_loss"], _by_epoch(run))


def decimal_comma_csv(folder: Path, run: Curves) -> Path:
    """Write what a spreadsheet of a country with decimal commas does."""
    rows = [[f"{value}".replace(".", ",") for value in row] for row in _by_epoch(run)]
    return _csv(folder / "export.csv", ["Epoche", "loss", "val_loss"], rows, ";")


def batch_csv(folder: Path, run: Curves) -> Path:
    """Write a row per batch, whose number begins anew in each epoch; nothing is validated."""
    batches = len(run.train) // 20
    rows = [[n // batches, n % batches, loss] for n, loss in enumerate(run.train.tolist())]
    return _csv(folder / "batches.csv", ["epoch", "batch", "loss"], rows)


def step_csv(folder: Path, run: Curves) -> Path:
    """Write a row per step, with the validation loss where there is one."""
    held_out = dict(zip(run.validation_times, run.validation.tolist(), strict=True))
    rows = [[t, loss, held_out.get(t, "")] for t, loss in zip(run.train_times, run.train.tolist(), strict=True)]
    return _csv(folder / "metrics.csv", ["step", "train_loss", "val_loss"], rows)


def trainer_state(folder: Path, run: Curves) -> Path:
    """Write what the Trainer of Hugging Face does."""
    log = [{"step": t, "loss": loss} for t, loss in zip(run.train_times, run.train.tolist(), strict=True)]
    log += [
        {"step": t, "eval_loss": loss} for t, loss in zip(run.validation_times, run.validation.tolist(), strict=True)
    ]
    path = folder / "trainer_state.json"
    content = {"global_step": max(run.train_times), "log_history": sorted(log, key=lambda row: row["step"])}
    path.write_text(json.dumps(content))
    return path


def recorder_file(folder: Path, run: Curves) -> Path:
    """Write what a Recorder does, without measurements of layers."""
    from rmsprop.lab.recorder.file import VERSION, line

    head = {"record": VERSION, "from": 0, "optimizer": "torch.optim.SGD", "groups": [], "layers": []}
    losses = run.train.tolist()
    rows = [{"lr": None, "steps": list(run.train_times), "loss": losses, "largest": losses}]
    rows += [
        {"step": t, "validation": {"loss": loss}}
        for t, loss in zip(run.validation_times, run.validation.tolist(), strict=True)
    ]
    path = folder / "record.jsonl"
    path.write_bytes(b"".join(map(line, [head, *rows])))
    return path


def events(folder: Path, run: Curves) -> Path:
    """Write TensorBoard's events."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))
    for tag, times, losses in (
        ("loss/train", run.train_times, run.train),
        ("loss/validation", run.validation_times, run.validation),
    ):
        for time, loss in zip(times, losses.tolist(), strict=True):
            summary = Summary(value=[Summary.Value(tag=tag, simple_value=loss)])
            writer.add_event(Event(step=time, summary=summary))
    writer.close()
    return folder


@dataclass(frozen=True)
class Format:
    """A format: its writer, when it has training and validation losses, and whether it has the latter at all."""

    write: Writer
    train_times: Sequence[int]
    validation_times: Sequence[int]
    validates: bool = True


_EPOCHS, _STEPS, _LOGGED, _EVALUATED = range(60), range(1, 1001), range(10, 1001, 10), range(50, 1001, 50)
FORMATS: Mapping[str, Format] = {
    "Keras CSV": Format(keras_csv, _EPOCHS, _EPOCHS),
    "decimal-comma CSV": Format(decimal_comma_csv, _EPOCHS, _EPOCHS),
    "epoch and batch CSV": Format(batch_csv, range(1000), range(1000), validates=False),
    "step CSV": Format(step_csv, _STEPS, _EVALUATED),
    "trainer_state.json": Format(trainer_state, _LOGGED, _EVALUATED),
    "recorder": Format(recorder_file, _STEPS, _EVALUATED),
    "TensorBoard": Format(events, _STEPS, _EVALUATED),
}


def _by_epoch(run: Curves) -> list[list[float]]:
    return [[t, a, b] for t, a, b in zip(run.train_times, run.train.tolist(), run.validation.tolist(), strict=True)]


def _csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]], delimiter: str = ",") -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([header, *rows])
    return path
