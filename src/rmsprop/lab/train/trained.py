"""A trained model with all that prepares rows for it: made from the folder of a run, without the table it learnt."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, overload

import polars as pl
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems import models
from rmsprop.lab.problems.new_rows import inputs_of
from rmsprop.lab.problems.options import TableOptions
from rmsprop.lab.problems.places import Places
from rmsprop.lab.problems.problem import predict
from rmsprop.lab.problems.tables import read_new_rows, typed_without
from rmsprop.lab.train.folder import CONFIG, MODEL, RESULT, is_of_a_run, read_config

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
        notes: What a person should know about the table that was last prepared, a sentence each.
    """

    def __init__(self, data: Mapping[str, Any], options: TableOptions | None = None) -> None:
        """See the class."""
        super().__init__()
        self.task: str = data["task"]
        self.target: str = data["target"]
        self.classes: tuple[str, ...] = tuple(data["classes"])
        self.columns: tuple[str, ...] = tuple(row["column"] for row in data["preparation"])
        self.notes: tuple[str, ...] = ()
        self._preparation = data["preparation"]
        self._mean, self._scale = float(data["target_mean"]), float(data["target_scale"])
        self._options = options or TableOptions()
        network = data["network"]
        with torch.device("meta"):  # without memory: how much of it there is to be is for the file of weights to say
            self.layers = models.build(network["inputs"], network["hidden"], network["outputs"])

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
        try:
            inputs, told = inputs_of(frame, self._preparation, self.target, places)
        except InputError:
            raise
        except _MADE_UP as error:
            raise InputError(f"the preparation of {self.target!r} in the run's {CONFIG} {_NO_RUNS}") from error
        self.notes = (*notes, *told)
        return torch.from_numpy(inputs)

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
        device = next(self.parameters()).device
        outputs = predict(self, self.prepare(table).to(device)).double().cpu()
        if not self.classes:
            return pl.Series(PREDICTION, (outputs[:, 0] * self._scale + self._mean).numpy())
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
    try:
        weights = load_file(folder / MODEL)
        if any(weight.dtype != torch.float32 for weight in weights.values()):
            raise RuntimeError("the weights are of another dtype")
        model.layers.load_state_dict(weights, assign=True)
    except (SafetensorError, RuntimeError) as error:
        raise InputError(f"{folder / MODEL} is damaged or of another model: --resume the run, or {_AGAIN}") from error
    return model.eval()


def _built(folder: Path, settings: Mapping[str, Any], data: Mapping[str, Any]) -> TrainedModel:
    """Return the model of a run, without its weights."""
    if settings["model"] is None:
        raise InputError(f"{folder} holds a run of {data['name']}, which is no table: only what learnt one can predict")
    _check_ended(folder)
    if "network" not in data:
        raise InputError(f"{folder} was written by an earlier version: {_AGAIN}")
    options = TableOptions(na=tuple(settings["na"]), delimiter=settings["delimiter"], encoding=settings["encoding"])
    return TrainedModel(data, options)


def _check_folder(folder: Path) -> None:
    of_a_run = "give the folder of a run of rmsprop train"
    if not folder.exists():
        raise InputError(f"there is no folder {folder}: {of_a_run}")
    if not folder.is_dir():
        raise InputError(f"{folder} is a file: {of_a_run}")
    if not is_of_a_run(folder / CONFIG):
        raise InputError(f"{folder} holds no run (no {CONFIG} of one): {of_a_run}")


def _check_ended(folder: Path) -> None:
    """Refuse a run without a model, and one that is being continued, whose model is of before."""
    path = folder / RESULT
    try:
        result = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
        lost = result["lost"] if result else None
        step = int(lost["step"]) if lost else None
    except _MADE_UP as error:
        raise InputError(f"{path} is damaged: --resume the run, which writes it again") from error
    if step is not None:
        raise InputError(
            f"the run in {folder} diverged at step {step} and left no model: train again with a smaller --lr"
        )
    if result is None or not (folder / MODEL).exists():
        raise InputError(f"the run in {folder} hasn't ended, so it has no model: --resume it")
