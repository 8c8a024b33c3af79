"""Every reader of the package: files that it takes, how it is called, and the error it may raise."""

import contextlib
import gzip
import io
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from rmsprop.checkpoint import CheckpointError, convert, load, save
from rmsprop.lab.errors import InputError

RULE = {"decay": 0.9, "eps": 1e-7, "momentum": 0.9, "centered": True}
PLAIN = {**RULE, "centered": False, "weight_decay": 0.0}


@dataclass(frozen=True)
class Reader:
    """A reader under attack.

    Args:
        make: Writes files that it takes into a folder.
        read: Reads them: their folder, and the file that was damaged.
        error: The one class of errors that it may raise.
        seal: Makes the content of a damaged file fit its own checksum: name and content -> content.
        cost: How many inputs of a cheap reader one of this one is worth.
    """

    make: Any
    read: Any
    error: type[Exception]
    seal: Any = lambda name, content: content
    cost: int = 1


def _moved(path, **stated):
    """Read a checkpoint and take it to where everything can be kept."""
    convert(load(path, **stated), "numpy", notes=[], lr=0.1)


def _told(_, path):
    """Read one that says little about its rule."""
    _moved(path, **RULE, weight_decay=0.0)


def _state():
    from checkpoint.runs import RUNS

    run = RUNS["torch"](RULE)
    run.train(range(2))
    return run.state()


def _torch(folder):
    torch.save({"model": {"w": torch.ones(3)}, "optimizer": _state(), "epoch": 3}, folder / "run.pt")


def _legacy(folder):
    torch.save(_state(), folder / "run.pt", _use_new_zipfile_serialization=False)


def _distributed(folder):
    from checkpoint.test_distributed_folders import written

    written(folder / "run")


def _recorded(folder):
    for name in ("sb3.zip", "lightning.ckpt"):
        for path in (Path(__file__).parents[1] / "checkpoint" / "recorded").rglob(name):
            shutil.copy(path, folder / name)


def _one(_, path, **stated):
    _moved(path, **stated)


def _saved(name, form):
    return lambda folder: save(_state(), folder / name, form, notes=[], lr=0.1, eps=1e-7)


def _keras(folder):
    from checkpoint.runs import RUNS

    run = RUNS["keras"](RULE)
    run.train(range(2))
    run.model.save(folder / "run.keras")


def _h5(folder):
    from checkpoint.test_hostile import weights

    weights(folder / "run.weights.h5")


def _orbax(folder):
    import jax.numpy as jnp
    import optax
    import orbax.checkpoint as ocp

    state = optax.rmsprop(0.1, momentum=0.9).init({"w": jnp.ones((3, 2)), "b": jnp.ones(2)})
    with contextlib.redirect_stderr(io.StringIO()), ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(folder / "run", state)


CHECKPOINTS = {
    "torch": Reader(_torch, _one, CheckpointError),
    "torch before 1.6": Reader(_legacy, _one, CheckpointError),
    "distributed": Reader(_distributed, lambda f, _: _moved(f / "run"), CheckpointError),
    "recorded": Reader(_recorded, _one, CheckpointError),
    "Optax .npz": Reader(_saved("run.npz", "optax"), _told, CheckpointError),
    "safetensors": Reader(_saved("run.safetensors", "optax"), _told, CheckpointError),
    "NumPy": Reader(_saved("run.npz", "numpy"), _one, CheckpointError),
    "Keras": Reader(_keras, _one, CheckpointError, cost=2),
    "HDF5": Reader(_h5, lambda _, path: _moved(path, **PLAIN), CheckpointError),
    "TensorFlow": Reader(_saved("run", "tensorflow1"), lambda f, _: _told(f, f / "run"), CheckpointError, cost=2),
    "Orbax": Reader(_orbax, lambda f, _: _moved(f / "run", **PLAIN), CheckpointError, cost=20),
}


def _diagnosed(path):
    from rmsprop.lab.diagnose.readers import histories
    from rmsprop.lab.diagnose.rules import diagnose

    for history in histories(path):
        diagnose(history).as_dict()


def _record(folder):
    from rmsprop.lab import Recorder

    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    optimizer = torch.optim.RMSprop(model.parameters(), lr=0.01, centered=True)
    with Recorder(optimizer, folder / "record.jsonl", model=model, every=2) as recorder:
        for step in range(12):
            loss = model(torch.ones(2, 3)).square().mean()
            recorder.loss(loss)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 4 == 3:
                recorder.validation(loss=1.0 / (step + 1))


def _events(folder):
    from rmsprop.lab.tensorboard import without_tensorflow

    without_tensorflow()
    from torch.utils.tensorboard import SummaryWriter

    for part, values in (("train", np.linspace(2, 1, 30)), ("val", np.linspace(2, 1.5, 30))):
        with SummaryWriter(str(folder / "run" / part)) as writer:
            for step, value in enumerate(values):
                writer.add_scalar("loss", value, step)


def _logs(folder):
    from lab.diagnose.logs import WHOLE

    for number, (name, content, _) in enumerate(WHOLE.values()):
        path = folder / f"{number}{Path(name).suffix}"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / "packed.csv.gz").write_bytes(gzip.compress((folder / "0.csv").read_bytes()))


def _table(folder):
    rows = [
        f"{20 + n % 40},{('Rome', 'Oslo', '', 'New York')[n % 4]},{n % 3 == 0},2024-{1 + n % 12:02}-{1 + n % 28:02},"
        f"{n * 37 % 101 / 7:.3f},{('no', 'yes')[n % 3 == 0]}"
        for n in range(60)
    ]
    text = "\n".join(["age,city,member,since,price,churn", *rows]) + "\n"
    (folder / "people.csv").write_text(text)
    return text


def _run_folder(folder):
    from rmsprop.lab.train.runs import begin

    _table(folder)
    given = {"problem": str(folder / "people.csv"), "target": "churn", "epochs": 2, "hidden": (4,)}
    with begin(given, folder / "run") as run:
        list(run.train())
        run.finish(None)
    for name in ("report.html", "loss.png", ".lock"):
        (folder / "run" / name).unlink(missing_ok=True)


def _sealed_run(name, content):
    if not name.endswith("config.json"):
        return content
    from rmsprop.lab.train.folder import _checksum

    return _resealed(content, _checksum)


def _resealed(content, checksum):
    try:
        config = json.loads(content)
        config["checksum"] = checksum({name: value for name, value in config.items() if name != "checksum"})
        return json.dumps(config).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return content


def _predicted(folder, _):
    from rmsprop.lab.train import trained

    model = trained.load(folder / "run")
    model.predict(folder / "people.csv", probabilities=bool(model.classes))


def _resumed(folder, _):
    from rmsprop.lab.train.runs import begin

    given = {"problem": str(folder / "people.csv"), "target": "churn"}
    kept = {path: path.read_bytes() for path in (folder / "run").iterdir()}
    try:
        with begin(given, folder / "run", resuming=True) as run:
            assert len(run.epochs) <= run.settings.epochs
    finally:
        for path in (folder / "run").iterdir():
            path.unlink()
        for path, content in kept.items():
            path.write_bytes(content)


def _cache(folder):
    from lab.compare.small import line

    from rmsprop.lab.batched import Job, train_together
    from rmsprop.lab.compare.cache import Cache, identity
    from rmsprop.lab.optimizers import choose

    job = Job(choice=choose("rmsprop"), seed=3)
    common = identity(line(), 3, 12)
    Cache(folder, common).put(job, train_together(line(), [job], test=True)[0], test=True)
    _CACHED.update(job=job, common=common)


_CACHED = {}


def _from_cache(folder, _):
    from rmsprop.lab.compare.cache import Cache

    cache = Cache(folder, _CACHED["common"])
    found = cache.get(_CACHED["job"], test=True)
    assert (found is None) == bool(cache.damaged) or not list(folder.rglob("*.json"))


def _sealed_cache(_, content):
    from rmsprop.lab.compare.cache import _checksum

    return _resealed(content, _checksum)


HISTORIES = {
    "recorder's file": Reader(_record, lambda f, _: _diagnosed(f / "record.jsonl"), InputError),
    "TensorBoard's events": Reader(_events, lambda f, _: _diagnosed(f / "run"), InputError, cost=4),
    "logs of other tools": Reader(_logs, lambda _, path: _diagnosed(path), InputError),
    "run's folder, diagnosed": Reader(_run_folder, lambda f, _: _diagnosed(f / "run"), InputError, _sealed_run),
    "run's folder, predicting": Reader(_run_folder, _predicted, InputError, _sealed_run, cost=4),
    "run's folder, resumed": Reader(_run_folder, _resumed, InputError, _sealed_run, cost=8),
    "cache of compare": Reader(_cache, _from_cache, InputError, _sealed_cache),
}


def _tables(folder):
    import polars as pl

    text = _table(folder)
    (folder / "people.csv.gz").write_bytes(gzip.compress(text.encode()))
    (folder / "people.tsv").write_text(text.replace(",", "\t"))
    (folder / "german.csv").write_text(text.replace(",", ";").replace(".", ","))
    (folder / "wide.csv").write_bytes(text.encode("utf-16"))
    pl.read_csv(text.encode()).write_parquet(folder / "people.parquet")
    with contextlib.suppress(ImportError):
        pl.read_csv(text.encode()).write_excel(folder / "people.xlsx")
    np.savez(folder / "arrays.npz", X=np.arange(120.0).reshape(60, 2) % 7, churn=np.arange(60) % 2)


def _problem(_, path):
    from rmsprop.lab.problems import load as load_problem

    load_problem(path, target="churn")


def _names(folder):
    (folder / "names.json").write_text(json.dumps({"a/kernel": "0.weight", "a/bias": "0.bias"}))
    (folder / "list.json").write_text(json.dumps(["a", "b"]))


def _mapped(_, path):
    from rmsprop.cli.convert import _mapping

    command = click.Command("convert")
    _mapping(click.Context(command), click.Option(["--names"]), path)


TABLES = {
    "tables": Reader(_tables, _problem, InputError),
    "names of convert": Reader(_names, _mapped, click.BadParameter),
}
CATEGORIES = {"checkpoints": CHECKPOINTS, "histories": HISTORIES, "tables": TABLES}
