"""The runs in a folder, each in a line: what `rmsprop train`, `tune`, `compare` and `diagnose` have left there.

Nothing of a folder is trusted: what is unfinished, damaged or somebody else's is listed as that. This module imports no
framework, so that a thousand runs are listed in a second.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from rmsprop.dialects import DIALECTS
from rmsprop.lab.averages import NAMES
from rmsprop.lab.errors import InputError
from rmsprop.lab.folders import COMPARISON, DIAGNOSIS, LOCK, SURVEY, TUNING, FolderKind
from rmsprop.lab.format import finite, short
from rmsprop.lab.train.folder import CONFIG, HISTORY, RESULT, RUN, read_config
from rmsprop.rule import Rule

Column = Literal["name", "problem", "rule", "lr", "epochs", "validation-loss", "test-score", "verdict", "when"]
UNFINISHED, DAMAGED, DIVERGED = "unfinished", "damaged", "diverged"
# Runs may be in folders of folders; whoever names a home directory doesn't want all of it to be searched.
_DEEPEST = 3
# Where weights shrink is no part of how the step is made.
_NOT_SHOWN = ("weight_decay", "weight_decay_mode", "weight_decay_max_lr")


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """A folder with something of ours.

    Args:
        name: Its path below the folder that is listed.
        kind: Which command wrote it: ``"train"``, ``"tune"``, ``"compare"``, ``"diagnose"``, or nothing if it can't be
            told.
        verdict: How it is judged, in a word or two.
        when: When its last file was written.
        problem: What it learnt. Default: not known, as with everything below.
        rule: The dialect, and what differs from it.
        lr: The learning rate.
        epochs: How many epochs were done.
        planned: How many there were to be.
        validation_loss: The loss on the validation rows at the end.
        metric: What the score is.
        test_score: The score on the test rows.
        file: The file that is damaged.
    """

    name: str
    kind: str
    verdict: str
    when: datetime
    problem: str | None = None
    rule: str | None = None
    lr: float | None = None
    epochs: int | None = None
    planned: int | None = None
    validation_loss: float | None = None
    metric: str | None = None
    test_score: float | None = None
    file: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values for JSON; a number that isn't finite is None."""
        plain: dict[str, Any] = finite(asdict(self) | {"when": self.when.isoformat(timespec="seconds")})
        return plain


@dataclass(frozen=True)
class Listing:
    """What is in a folder.

    Args:
        runs: The runs, the oldest first.
        others: The names of files and folders that are none.
    """

    runs: tuple[ListedRun, ...]
    others: tuple[str, ...]


def runs_in(folder: Path) -> Listing:
    """List the runs in a folder, and in its folders; a folder that is one itself is listed alone.

    Args:
        folder: The folder.

    Returns:
        The runs, and what is none.

    Raises:
        InputError: If there is no such folder, or it can't be read.

    Examples:
        >>> runs_in(Path("nowhere"))
        Traceback (most recent call last):
        rmsprop.lab.errors.InputError: there is no folder nowhere: ...
    """
    try:
        if not folder.exists():
            raise InputError(f"there is no folder {folder}: rmsprop train makes runs/, or give the folder of your runs")
        if not folder.is_dir():
            raise InputError(f"{folder} is a file: give the folder of your runs")
        own = _listed(folder, folder.resolve().name)
        found = [own] if own else list(_below(folder, folder, _DEEPEST))
    except OSError as error:
        raise InputError(f"{error.filename or folder} can't be read: {error.strerror or error}") from error
    runs = [one for one in found if isinstance(one, ListedRun)]
    others = sorted(one for one in found if isinstance(one, str))
    return Listing(tuple(sorted(runs, key=lambda run: (run.when, run.name))), tuple(others))


def in_order(runs: Sequence[ListedRun], column: Column, *, descending: bool = False) -> list[ListedRun]:
    """Return runs in the order of a column; where it is empty, they come last in any case.

    Args:
        runs: The runs.
        column: The column.
        descending: The largest first. Default False.

    Returns:
        The same runs; those that are equal in the order they had.
    """
    value: Callable[[ListedRun], Any] = _KEYS[column]
    full = [run for run in runs if _is_known(value(run))]
    empty = [run for run in runs if not _is_known(value(run))]
    return [*sorted(full, key=value, reverse=descending), *empty]


_KEYS: Mapping[Column, Callable[[ListedRun], Any]] = {
    "name": lambda run: run.name,
    "problem": lambda run: run.problem,
    "rule": lambda run: run.rule,
    "lr": lambda run: run.lr,
    "epochs": lambda run: run.epochs,
    "validation-loss": lambda run: run.validation_loss,
    "test-score": lambda run: run.test_score,
    "verdict": lambda run: run.verdict,
    "when": lambda run: run.when,
}


def _is_known(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _below(folder: Path, top: Path, deeper: int) -> Iterator[ListedRun | str]:
    """Yield the runs below a folder, and the names of what is none; hidden things aren't anybody's runs."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        name = path.relative_to(top).as_posix()
        if not path.is_dir():
            yield name
            continue
        try:
            run = _listed(path, name)
            found = (
                [run] if run else list(_below(path, top, deeper - 1)) if deeper > 1 and not path.is_symlink() else []
            )
        except OSError:  # somebody else's
            found = []
        # A folder without any run is one thing that is none, however much is in it.
        yield from found if any(isinstance(one, ListedRun) for one in found) else [f"{name}/"]


def _listed(folder: Path, name: str) -> ListedRun | None:
    """Return what is in a folder of ours; None if it is none."""
    written = {entry.name: entry.stat().st_mtime for entry in os.scandir(folder) if entry.is_file()}
    for kind, command, steps in _READERS:
        if kind.marker in written:
            when = _time(max(written[file] for file in kind.files if file in written))
            run = _read(folder, ListedRun(name=name, kind=command, verdict=UNFINISHED, when=when), steps)
            # What can be read is ours; whether the rest is, costs a thousand runs half a second to tell.
            if run.verdict != DAMAGED or kind.is_in(folder):
                return run
    if LOCK in written and HISTORY in written:  # which is written after the config that is lost
        return ListedRun(name=name, kind="train", verdict=DAMAGED, when=_time(written[HISTORY]), file=CONFIG)
    if LOCK in written:  # begun, and killed or at work
        return ListedRun(name=name, kind="", verdict=UNFINISHED, when=_time(written[LOCK]))
    return None


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds).astimezone()


_Step = tuple[str, Callable[[Path, ListedRun], ListedRun]]


def _read(folder: Path, run: ListedRun, steps: Sequence[_Step]) -> ListedRun:
    """Fill in what the files of a folder say, one after the other, until one is damaged."""
    for file, fill in steps:
        try:
            run = fill(folder / file, run)
        except (InputError, OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return replace(run, verdict=DAMAGED, file=file)
    return run


def _with_config(path: Path, run: ListedRun) -> ListedRun:
    config = read_config(path.parent, "")
    settings = config["settings"]
    return replace(
        run,
        problem=str(config["data"]["name"]),
        rule=_rule(settings["dialect"], settings) + _average(settings.get("average", "none")),
        lr=float(settings["lr"]),
        epochs=0,
        planned=int(settings["epochs"]),
    )


def _with_history(path: Path, run: ListedRun) -> ListedRun:
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    whole = [line.split(",") for line in lines if line.endswith("\n")]  # a process that is killed leaves half a line
    if len(whole) < 2:
        return run
    last = dict(zip(whole[0], whole[-1], strict=True))
    (metric,) = (name.removeprefix("train_") for name in last if name.startswith("train_") and name != "train_loss")
    return replace(run, epochs=int(last["epoch"]), validation_loss=float(last["validation_loss"]), metric=metric)


def _with_result(path: Path, run: ListedRun) -> ListedRun:
    if not path.exists():
        return run
    result = json.loads(path.read_text(encoding="utf-8"))
    scores = result["scores"]
    loss, score = scores.get("validation", {}).get("loss"), scores.get("test", {}).get(run.metric)
    return replace(
        run,
        verdict=str(result["kind"]).removeprefix("loss "),
        epochs=int(result["epochs"]),
        validation_loss=None if loss is None else float(loss),
        test_score=None if score is None else float(score),
    )


def _with_tuning(path: Path, run: ListedRun) -> ListedRun:
    result = json.loads(path.read_text(encoding="utf-8"))
    best, loss = result["recommended"], result["fresh"]["loss"]
    return replace(
        run,
        problem=str(result["problem"]),
        rule=_rule(result["dialect"], best["rule"]),
        lr=float(best["lr"]),
        epochs=int(result["epochs"]),
        planned=int(result["epochs"]),
        validation_loss=None if loss is None else float(loss),
        verdict="tuned" if result["works"] else "nothing trains",
    )


def _with_comparison(path: Path, run: ListedRun) -> ListedRun:
    result = json.loads(path.read_text(encoding="utf-8"))
    facts, count = result["facts"], len(result["optimizers"])
    epochs = int(facts["epochs"])
    return replace(run, problem=str(facts["problem"]), epochs=epochs, planned=epochs, verdict=f"{count} compared")


def _with_survey(path: Path, run: ListedRun) -> ListedRun:
    problems = json.loads(path.read_text(encoding="utf-8"))
    named = ", ".join(str(found["problem"]) for found in problems)
    return replace(run, problem=named, verdict=f"{len(problems[0]['labels'])} compared")


def _with_diagnosis(path: Path, run: ListedRun) -> ListedRun:
    return replace(run, verdict="diagnosed")


_READERS: Sequence[tuple[FolderKind, str, Sequence[_Step]]] = (
    (RUN, "train", ((CONFIG, _with_config), (HISTORY, _with_history), (RESULT, _with_result))),
    (TUNING, "tune", ((RESULT, _with_tuning),)),
    (COMPARISON, "compare", ((RESULT, _with_comparison),)),
    (SURVEY, "compare", ((SURVEY.files[-1], _with_survey),)),
    (DIAGNOSIS, "diagnose", ((DIAGNOSIS.marker, _with_diagnosis),)),
)


def _rule(dialect: str, settings: Mapping[str, Any]) -> str:
    """Return a dialect and what differs from it."""
    if dialect not in DIALECTS:
        return str(dialect)
    usual = DIALECTS[dialect].rule
    # A run of before a field was there has its default.
    given = {each.name: settings.get(each.name, each.default) for each in fields(Rule) if each.name not in _NOT_SHOWN}
    return " ".join([dialect, *(_shown(name, value) for name, value in given.items() if value != getattr(usual, name))])


def _average(name: str) -> str:
    """Return the average of the weights that is kept; nothing if it is none."""
    return f" + {NAMES[name]}" if name in NAMES else ""


def _shown(name: str, value: Any) -> str:
    words = name.replace("_", "-")
    if isinstance(value, bool):
        return words if value else f"no-{words}"
    return f"{words}={short(value, 6)}"
