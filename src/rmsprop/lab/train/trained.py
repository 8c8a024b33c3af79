"""A trained model with all that prepares rows for it: made from the folder of a run, without the table it learnt."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, overload

import polars as pl
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from rmsprop.lab.errors import InputError
from rmsprop.lab.field_types import misfit
from rmsprop.lab.problems.answers import Answers
from rmsprop.lab.problems.problem import predict
from rmsprop.lab.problems.table import tabular
from rmsprop.lab.problems.table.new_rows import inputs_of, targets_of
from rmsprop.lab.problems.table.options import TableOptions
from rmsprop.lab.problems.table.places import Places
from rmsprop.lab.problems.table.tables import read_new_rows, typed_without
from rmsprop.lab.train.folder import CONFIG, MODEL, RESULT, is_of_a_run, read_config
from rmsprop.lab.train.scores import evaluate
from rmsprop.lab.train.settings import field_types

_AGAIN = "train again with --force"
# What comes of facts that no run wrote, though their checksum is right; and what is said of them.
_MADE_UP = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
    pl.exceptions.PolarsError,
)
_NO_RUNS = f"isn't what a run writes there: {_AGAIN}"
# The column of answers; those of probabilities begin with the second.
PREDICTION, PROBABILITY = "prediction", "probability_"


class TrainedModel(nn.Module):
    """A model that `rmsprop train` trained on a table; `load` makes it from the run's folder.

    Called as a module it takes prepared inputs, as `prepare` returns them, and gives logits of classes or standardised
    numbers. `predict` takes a table.

    Args:
        data: How the table was prepared and the model built: ``data`` in the run's config.json.
        options: How tables are read.

    Attributes:
        task: ``classification`` or ``regression``.
        target: The name of the column that is predicted.
        columns: The names of the columns that it is predicted from.
        classes: The names of the classes; none for numbers.
        positive: Of two classes, the one whose F1 counts; None of more, and for numbers.
        notes: What a person should know about the model and the table that was last prepared, a sentence each.
        about: What of that is about the model.
    """

    def __init__(self, data: Mapping[str, Any], options: TableOptions | None = None) -> None:
        """See the class."""
        super().__init__()
        self.task: str = data["task"]
        self.target: str = data["target"]
        self.classes: tuple[str, ...] = tuple(data["classes"])
        self.positive: str | None = data["positive"]
        self.columns: tuple[str, ...] = tuple(row["column"] for row in data["preparation"])
        self.notes: tuple[str, ...] = ()
        self.about: tuple[str, ...] = ()
        self._preparation = data["preparation"]
        self._format = data["target_format"]
        self._answers = Answers(
            classes=self.classes,
            positive=self.positive,
            mean=float(data["target_mean"]),
            scale=float(data["target_scale"]),
        )
        self._scored: tuple[Tensor, Tensor] | None = None
        self._options = options or TableOptions()
        network = data["network"]
        with torch.device("meta"):  # without memory: how much of it there is to be is for the file of weights to say
            self.layers = tabular.build(network["inputs"], network["hidden"], network["outputs"])

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits, or standardised numbers.

        Args:
            inputs: Rows by inputs.

        Returns:
            Rows by outputs.
        """
        return self.layers(inputs)  # type: ignore[no-any-return]

    def prepare(self, table: pl.DataFrame | str | os.PathLike[str]) -> Tensor:
        """Return a table's rows as inputs, as the rows that it was trained on were prepared; `notes` tell about them.

        Args:
            table: The path of a file that `rmsprop train` could read, ``-`` for standard input, or a polars frame. It
                has the columns that were trained on; others, and the target, aren't looked at.

        Returns:
            Rows by inputs.

        Raises:
            InputError: If it can't be read, lacks a column, or holds a value of another kind.
        """
        frame, places, notes = self._read(table)
        return self._inputs(frame, places, notes)

    def _inputs(self, frame: pl.DataFrame, places: Places, notes: tuple[str, ...]) -> Tensor:
        try:
            inputs, told = inputs_of(frame, self._preparation, self.target, places)
        except InputError:
            raise
        except _MADE_UP as error:
            raise InputError(f"the preparation of {self.target!r} in the run's {CONFIG} {_NO_RUNS}") from error
        self.notes = (*self.about, *notes, *told)
        return torch.from_numpy(inputs)

    def _outputs(self, table: pl.DataFrame | str | os.PathLike[str]) -> Tensor:
        frame, places, notes = self._read(table)
        inputs = self._inputs(frame, places, notes)
        outputs = predict(self, inputs.to(next(self.parameters()).device)).cpu()
        self._scored = self._with_targets(frame, places, outputs) if self.target in frame.columns else None
        return outputs

    def _with_targets(self, frame: pl.DataFrame, places: Places, outputs: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return the outputs and the targets of the rows that have one; predictions don't fail for what is no input."""
        try:
            targets, told = targets_of(frame[self.target], self.classes, self._format, places)
        except InputError as error:
            self.notes = (*self.notes, f"no scores, because the target can't be read: {error}")
            return None
        self.notes = (*self.notes, *told)
        rows = torch.from_numpy(targets.is_not_null().to_numpy().copy())
        known = torch.from_numpy(targets.drop_nulls().to_numpy().copy())
        if not len(known):
            return None
        return outputs[rows], known if self.classes else ((known - self._answers.mean) / self._answers.scale)[:, None]

    @property
    def rows_scored(self) -> int:
        """The number of rows that `scores` are of: those of the last prediction whose target was known."""
        return len(self._scored[0]) if self._scored else 0

    def scores(self) -> dict[str, Any]:
        """Return the scores of the last prediction, if its table had the target; computed by scikit-learn.

        Returns:
            Score -> value, NaN where it isn't defined: ``accuracy``, ``balanced_accuracy``, ``auc``, ``f1`` and the
            ``recall`` of each class, or ``rmse``, ``mae`` and ``r2``. Empty if no row had a target.
        """
        return evaluate(self._answers, *self._scored).as_dict() if self._scored else {}

    def _read(self, table: pl.DataFrame | str | os.PathLike[str]) -> tuple[pl.DataFrame, Places, tuple[str, ...]]:
        if not isinstance(table, pl.DataFrame):
            read = read_new_rows(Path(table), self.target, self._options)
            return read.frame, read.places, read.notes
        if table.is_empty():
            raise InputError("the table has no rows: give at least one")
        return typed_without("the table", table, TableOptions(na=self._options.na)), Places(), ()

    @overload
    def predict(
        self, table: pl.DataFrame | str | os.PathLike[str], *, probabilities: Literal[False] = False
    ) -> pl.Series: ...
    @overload
    def predict(
        self, table: pl.DataFrame | str | os.PathLike[str], *, probabilities: Literal[True]
    ) -> pl.DataFrame: ...
    def predict(
        self, table: pl.DataFrame | str | os.PathLike[str], *, probabilities: bool = False
    ) -> pl.Series | pl.DataFrame:
        """Return an answer for each row of a table, in its order; `notes` tell about the rows.

        Args:
            table: As for `prepare`.
            probabilities: Return a frame with a column ``probability_...`` per class besides. Default False.

        Returns:
            The column ``prediction``: names of classes, or numbers in the target's units.

        Raises:
            InputError: As `prepare`; or if probabilities are asked of a model of numbers.
        """
        if probabilities and not self.classes:
            raise InputError(f"{self.target!r} is a number, and probabilities are for classes: leave them out")
        outputs = self._outputs(table).double()
        if not self.classes:
            return pl.Series(PREDICTION, self._answers.numbers_of(outputs)[:, 0].numpy())
        names = pl.Series(PREDICTION, self.classes).gather(pl.Series(outputs.argmax(dim=1).numpy()))
        if not probabilities:
            return names
        shares = outputs.softmax(dim=1).numpy()
        columns = [pl.Series(f"{PROBABILITY}{name}", shares[:, index]) for index, name in enumerate(self.classes)]
        return pl.DataFrame([names, *columns])


def load(run: str | os.PathLike[str]) -> TrainedModel:
    """Return the model of a run of `rmsprop train` on a table, ready to predict. The table isn't needed.

    Args:
        run: The run's folder, wherever it is now.

    Returns:
        The model.

    Raises:
        InputError: If it isn't the folder of a run, or the run was of no table, hasn't ended, or diverged.

    Examples:
        >>> load("nowhere")
        Traceback (most recent call last):
        rmsprop.lab.errors.InputError: there is no folder nowhere: give the folder of a run of rmsprop train
    """
    folder = Path(run)
    try:
        return _load(folder)
    except OSError as error:
        raise InputError(f"can't read {error.filename or folder}: {error.strerror or error}") from error


def _load(folder: Path) -> TrainedModel:
    _check_folder(folder)
    config = read_config(folder, _AGAIN)
    try:
        model = _built(folder, config["settings"], config["data"])
    except InputError:
        raise
    except _MADE_UP as error:
        raise InputError(f"{folder / CONFIG} {_NO_RUNS}") from error
    damaged = f"{folder / MODEL} is damaged or of another model: --resume the run, or {_AGAIN}"
    try:
        weights = safetensors.torch.load((folder / MODEL).read_bytes())
        if any(weight.dtype != torch.float32 for weight in weights.values()):
            raise RuntimeError("the weights are of another dtype")
        model.layers.load_state_dict(weights, assign=True)
    except (SafetensorError, RuntimeError) as error:
        raise InputError(damaged) from error
    if not all(weight.isfinite().all() for weight in weights.values()):
        raise InputError(f"{damaged}: its weights aren't all finite")
    return model.eval()


def _built(folder: Path, settings: Mapping[str, Any], data: Mapping[str, Any]) -> TrainedModel:
    """Return the model of a run, without its weights."""
    if wrong := misfit(settings, field_types()):
        raise TypeError(f"{wrong} is of another type")
    if settings["model"] is None:
        raise InputError(f"{folder} holds a run of {data['name']}, which is no table: only what learnt one can predict")
    about = _ended(folder)
    if not data.keys() >= {"network", "target_format"}:
        raise InputError(f"{folder} was written by an earlier version: {_AGAIN}")
    options = TableOptions(na=tuple(settings["na"]), delimiter=settings["delimiter"], encoding=settings["encoding"])
    model = TrainedModel(data, options)
    model.about = about
    return model


def _check_folder(folder: Path) -> None:
    of_a_run = "give the folder of a run of rmsprop train"
    if not folder.exists():
        raise InputError(f"there is no folder {folder}: {of_a_run}")
    if not folder.is_dir():
        raise InputError(f"{folder} is a file: {of_a_run}")
    if not is_of_a_run(folder / CONFIG):
        raise InputError(f"{folder} holds no run (no {CONFIG} of one): {of_a_run}")


def _ended(folder: Path) -> tuple[str, ...]:
    """Refuse a run without a model, and one that is being continued, whose model is of before; return notes on it."""
    path = folder / RESULT
    lost, kept = _outcome(path) if path.exists() else (None, None)
    if lost is not None and kept is None:
        raise InputError(
            f"the run in {folder} diverged at step {lost} and left no model: train again with a smaller --lr"
        )
    if not (path.exists() and (folder / MODEL).exists()):
        raise InputError(f"the run in {folder} hasn't ended, so it has no model: --resume it")
    if lost is not None:
        return (f"the run diverged at step {lost}: these are the weights of epoch {kept}, before",)
    return ()


def _outcome(path: Path) -> tuple[int | None, int | None]:
    """Return the step at which a run diverged, and the epoch whose weights were kept; None where there is none."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        lost, kept = result["lost"], result.get("kept")
        return None if lost is None else int(lost["step"]), None if kept is None else int(kept["epoch"])
    except _MADE_UP as error:
        raise InputError(f"{path} is damaged: --resume the run, which writes it again") from error
