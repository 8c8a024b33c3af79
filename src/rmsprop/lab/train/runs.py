"""A run and its folder: begun, interrupted, continued and finished, always with the same bits."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

import rmsprop
from rmsprop.files import write_atomically
from rmsprop.lab.errors import InputError
from rmsprop.lab.folders import claim_folder
from rmsprop.lab.format import finite
from rmsprop.lab.problems import Problem, load
from rmsprop.lab.problems.conventions import few_threads
from rmsprop.lab.problems.defaults import FUNCTION, is_function, short_name
from rmsprop.lab.problems.table.options import ABOUT_PROBLEM
from rmsprop.lab.problems.table.tabular import ACTIVATION, learned_line
from rmsprop.lab.train import history
from rmsprop.lab.train.average import averaging, averaging_notes, check_last_batch
from rmsprop.lab.train.best import is_early, keeping, schedule_notes
from rmsprop.lab.train.checkpoint import load_checkpoint, save_checkpoint, save_tensors
from rmsprop.lab.train.folder import (
    CHECKPOINT,
    CONFIG,
    FIGURE,
    HISTORY,
    MODEL,
    OURS,
    REPORT,
    RESULT,
    RUN,
    config_to_resume,
    write_config,
)
from rmsprop.lab.train.history import Epoch
from rmsprop.lab.train.report import write_report
from rmsprop.lab.train.result import Result
from rmsprop.lab.train.scores import evaluate_parts
from rmsprop.lab.train.settings import Settings, resolve, resume
from rmsprop.lab.train.steps import rate_notes
from rmsprop.lab.train.training import Divergence, Training
from rmsprop.lab.verdict.judge import judge


class Interrupted(Exception):  # noqa: N818 - it is an outcome of a run, not an error in it
    """The run was interrupted after it had begun.

    Args:
        folder: Where it can be continued.
        epoch: The epoch after which it will go on.
    """

    def __init__(self, folder: Path, epoch: int) -> None:
        """See the class."""
        super().__init__(f"interrupted after epoch {epoch}")
        self.folder = folder
        self.epoch = epoch


@dataclass
class TrainingRun:
    """A run in its folder, locked against other processes from `begin` to the end of the context.

    Args:
        settings: What it runs with.
        problem: What it learns.
        folder: Where its files are.
        training: The model in training.
        versions: The versions it runs with.
        notes: What a person should know about how it was taken up.
        epochs: The epochs that are done.
    """

    settings: Settings
    problem: Problem
    folder: Path
    training: Training
    versions: Mapping[str, str]
    notes: list[str] = field(default_factory=list)
    epochs: list[Epoch] = field(default_factory=list)

    def train(self) -> Iterator[Epoch]:
        """Run the epochs that are left; each is on the disk when it is given.

        Yields:
            The epochs.

        Raises:
            Divergence: If the loss is lost.
        """
        while self.training.epoch < self.settings.epochs and not is_early(self.settings, self.epochs):
            epoch = self.training.run_epoch()
            with (self.folder / HISTORY).open("a", encoding="utf-8", newline="\n") as file:
                file.write(history.line(epoch, averaged=self._averages))
            save_checkpoint(self.folder / CHECKPOINT, self.training)
            self.epochs.append(epoch)
            yield epoch

    def finish(self, divergence: Divergence | None) -> Result:
        """Judge the run and write its model, result, figure and report.

        Args:
            divergence: How it was lost, if it was.

        Returns:
            The result. A run that diverged keeps the best weights before, or leaves no model.
        """
        kept = self.training.kept_epoch(divergence)
        if kept is not None:
            self.training.take(kept)
        curves = self.training.curves(self.epochs, divergence)
        scores, line = ({}, None) if kept is None else self._scores()
        result = Result(
            self.settings,
            self.problem,
            self.folder,
            self.epochs,
            self.training.steps_per_epoch,
            curves,
            judge(curves),
            scores,
            self.problem.baseline_scores(),
            evaluate_parts(self.problem, self.training.model if scores else None),
            line,
            kept,
            self.versions,
        )
        self._write_model(kept)
        result.write(self.folder / RESULT)
        write_report(result, self.folder / FIGURE, self.folder / REPORT)
        return result

    def _scores(self) -> tuple[dict[str, tuple[float, float]], str | None]:
        problem, model = self.problem, self.training.model
        parts = problem.parts if problem.holds_out else {"train": problem.train}
        scores = {name: problem.evaluate(model, data) for name, data in parts.items()}
        return scores, learned_line(problem.dataset, model) if problem.dataset else None

    def _write_model(self, kept: int | None) -> None:
        path = self.folder / MODEL
        if kept is None:
            path.unlink(missing_ok=True)
        else:
            save_tensors(path, self.training.model.state_dict(), self._data_facts() | {"epoch": kept})

    def _write_config(self) -> None:
        config = {
            "settings": self.settings.as_dict(),
            "data": self._data_facts(),
            "start": self._start_facts(),
            "versions": self.versions,
        }
        write_config(self.folder, config)

    def _start_facts(self) -> dict[str, Any]:
        """Return what a judgement of history.csv needs to know of the time before its first row."""
        constant, baseline = self.problem.constant_loss, self.problem.baseline_scores()
        return {
            "loss_name": self.problem.loss_name,
            "loss": self.training.initial_loss,
            "validation_loss": self.training.initial_validation_loss,
            "constant_loss": constant if math.isfinite(constant) else None,
            "constant_validation_loss": finite(baseline["validation"][0]) if baseline else None,
            "holds_out": self.problem.holds_out,
        }

    def _data_facts(self) -> dict[str, Any]:
        problem = self.problem
        return {
            "name": short_name(self.settings.problem),
            "fingerprint": problem.fingerprint(),
            "rows": {name: len(data) for name, data in problem.parts.items()},
            **(problem.dataset.facts() if problem.dataset else {}),
            **({"positive": problem.answers.sought} if problem.answers else {}),
            **({"network": self._network_facts()} if self.settings.model else {}),
        }

    def _network_facts(self) -> dict[str, Any]:
        """Return what builds the model of a table again."""
        data = self.problem.dataset
        assert data is not None
        outputs = len(data.classes) or 1
        return {
            "inputs": len(data.inputs),
            "hidden": list(self.settings.hidden),
            "outputs": outputs,
            "activation": ACTIVATION,
        }

    @property
    def _averages(self) -> bool:
        return self.training.average is not None

    def _header(self) -> str:
        return history.header(self.problem.metric.name, self.training.layers, averaged=self._averages)

    def _start(self) -> None:
        for name in OURS:
            if name != CONFIG:  # without it a killed run would forget its settings
                (self.folder / name).unlink(missing_ok=True)
        self._write_config()
        write_atomically(self.folder / HISTORY, self._header().encode())

    def _continue(self, config: Mapping[str, Any]) -> None:
        self._check_same(config)
        checkpoint = self.folder / CHECKPOINT
        if not checkpoint.exists():
            return self._start()
        load_checkpoint(checkpoint, self.training)
        done = self.training.epoch
        if done > self.settings.epochs:
            raise InputError(f"--epochs is {self.settings.epochs}, and the run has done {done} already: give more")
        first = self.settings.averaged_from if self._averages else None
        self.epochs = history.restore(self.folder / HISTORY, self._header(), self.training.layers, done, first)
        if done < self.settings.epochs:  # until it is done again, nothing is known of how it ends
            (self.folder / RESULT).unlink(missing_ok=True)
        self.notes.append(f"continued after epoch {done} of {self.settings.epochs}")
        self._write_config()
        return None

    def _check_same(self, config: Mapping[str, Any]) -> None:
        if config["data"]["fingerprint"] != self.problem.fingerprint():
            raise InputError(f"{self.settings.problem} has changed since the run began: start over with --force")
        if dict(self.versions) != config["versions"]:
            self.notes.append("the run began with other versions (see config.json): the last bits may differ")


@contextmanager
def begin(
    given: Mapping[str, Any], out: Path | None, *, resuming: bool = False, force: bool = False
) -> Iterator[TrainingRun]:
    """Check everything, then take a folder for a run. Nothing is written unless all of it can be used.

    Args:
        given: Settings by name; ``problem`` is needed. None stands for the default or, when resuming, "as it was".
        out: The run's folder; by default ``runs/<name of the problem>``.
        resuming: Continue the run in the folder, or begin it if there is none.
        force: Replace the run in the folder.

    Yields:
        The run, ready to train.

    Raises:
        InputError: If something can't be used.
        Interrupted: If the keyboard interrupts the run.
    """
    name = short_name(given["problem"])
    folder = out or Path("runs") / name
    checked = None if resuming else _settings_and_problem(given, None)  # before a folder, which may be the right one
    config = config_to_resume(folder, resuming=resuming, force=force)
    if config and config["data"]["name"] != name:
        raise InputError(f"{folder} holds a run of {config['data']['name']}, not of {name}: give another --out")
    settings, problem = checked or _settings_and_problem(given, config)
    settings = averaging(keeping(settings, problem), problem)
    training = Training(problem, settings)
    own = rate_notes(settings, len(problem.train))
    notes = [*schedule_notes(settings), *own, *averaging_notes(settings)]
    check_last_batch(training.model, problem, settings.batch_size)
    run = TrainingRun(settings, problem, folder, training, _versions(), notes)
    with claim_folder(folder, RUN), few_threads(run.training.model, settings.batch_size):
        config = config_to_resume(folder, resuming=resuming, force=force)  # again: now nobody else can change it
        try:
            if config:
                run._continue(config)
            else:
                (folder / CONFIG).unlink(missing_ok=True)  # first, so that no run has another one's settings
                run._start()
            yield run
        except KeyboardInterrupt:
            raise Interrupted(folder, len(run.epochs)) from None


def _settings_and_problem(given: Mapping[str, Any], config: Mapping[str, Any] | None) -> tuple[Settings, Problem]:
    """Return both, checked; a person's function is called before its problem's epochs and batch size are known."""
    if is_function(given["problem"]):
        about = {name: value for name in ABOUT_PROBLEM if (value := given.get(name))}
        problem = load(given["problem"], batch_norm=True, **about)
        row = replace(FUNCTION, epochs=problem.epochs, batch_size=problem.batch_size)
        return _taken_up(given, config) or resolve(given, row), problem
    settings = _taken_up(given, config) or resolve(given)
    return settings, load(settings.problem, **{name: getattr(settings, name) for name in ABOUT_PROBLEM})


def _taken_up(given: Mapping[str, Any], config: Mapping[str, Any] | None) -> Settings | None:
    return resume(Settings.from_dict(config["settings"]), given) if config else None


def _versions() -> dict[str, str]:
    return {"rmsprop": rmsprop.__version__, "torch": str(torch.__version__), "python": platform.python_version()}
