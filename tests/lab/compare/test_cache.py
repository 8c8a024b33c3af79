"""A run is found again by everything that defines it, and by nothing less."""

import dataclasses
import errno
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from lab.compare.small import line
from torch import nn
from torch.nn import functional

from rmsprop.lab.batched import Job, train_together
from rmsprop.lab.compare.cache import Cache, _canonical, _checksum, can_be_written, default_folder, identity
from rmsprop.lab.optimizers import choose
from rmsprop.lab.problems import Data

JOB = Job(choice=choose("rmsprop"), seed=3)


def key(problem=None, epochs=3, batch_size=12, job=JOB, test=True):
    return Cache(None, identity(problem or line(), epochs, batch_size)).key(job, test=test)


def with_other_number():
    y = line().train.y.clone()
    y[5] += 1e-6
    return line(train=Data(line().train.x, y))


OTHERS = {
    "its name": lambda: key(line(name="other")),
    "a number in the data": lambda: key(with_other_number()),
    "the penalty": lambda: key(line(l2=1e-3)),
    "the loss": lambda: key(line(loss=lambda outputs, targets: functional.mse_loss(outputs, targets) * 1.0)),
    "the metric": lambda: key(
        line(metric=dataclasses.replace(line().metric, of=lambda outputs, targets: (outputs - targets).abs().mean()))
    ),
    "the model": lambda: key(line(make_model=lambda: nn.Sequential(nn.Linear(3, 1)))),
    "the initial weights": lambda: key(line(make_model=doubled)),
    "the epochs": lambda: key(epochs=4),
    "the rows per step": lambda: key(batch_size=13),
    "the learning rate": lambda: key(job=Job(choice=choose("rmsprop", lr=0.011), seed=3)),
    "an option": lambda: key(job=Job(choice=choose("rmsprop", alpha=0.9), seed=3)),
    "the optimizer": lambda: key(job=Job(choice=choose("rmsprop-torch"), seed=3)),
    "the averaging": lambda: key(job=Job(choice=choose("rmsprop+swa"), seed=3)),
    "the seed": lambda: key(job=Job(choice=choose("rmsprop"), seed=4)),
    "whether it is tested": lambda: key(test=False),
}


def doubled():
    model = nn.Linear(3, 1)
    with torch.no_grad():
        model.weight.mul_(2)
    return model


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_whatever_defines_a_run_changes_its_hash(other):
    assert other() != key()


@pytest.mark.parametrize("name", ["rmsprop", "torch", "numpy"])
def test_another_version_is_another_run(monkeypatch, name):
    before = key()
    versions = {"rmsprop": "1", "torch": "2", "numpy": "3"}
    monkeypatch.setattr("rmsprop.lab.compare.cache.versions", lambda: versions)
    middle = key()
    versions[name] = "another"
    assert len({before, middle, key()}) == 3


def test_the_same_run_has_the_same_hash():
    assert key(line()) == key(line())


@pytest.fixture
def kept(tmp_path):
    """A cache with one run in it, and the run."""
    curve = train_together(line(), [JOB], test=True)[0]
    Cache(tmp_path, identity(line(), 3, 12)).put(JOB, curve, test=True)
    return tmp_path, curve


def reopened(folder):
    return Cache(folder, identity(line(), 3, 12))


def test_a_run_is_found_by_another_process(kept):
    folder, curve = kept
    found = reopened(folder).get(JOB, test=True)
    np.testing.assert_array_equal(found.train, curve.train)
    assert (found.test, found.diverged_at) == (curve.test, None)
    assert reopened(folder).get(Job(choice=choose("rmsprop"), seed=4), test=True) is None


def with_number(number):
    """Return damage that only a look at the number shows: the checksum is right."""

    def damage(content):
        values = json.loads(content)
        del values["checksum"]
        values["curve"]["train"][0] = number
        return _canonical({**values, "checksum": _checksum(values)}).encode()

    return damage


DAMAGE = {
    "an integer of 400 digits": with_number(10**400),
    "no number": with_number([]),
    "cut short": lambda content: content[:-20],
    "empty": lambda content: b"",
    "another number": lambda content: content.replace(b'"epochs":3', b'"epochs":4'),
    "no checksum": lambda content: json.dumps({"curve": json.loads(content)["curve"]}).encode(),
    "a list": lambda content: b"[1, 2]",
    "not text": lambda content: b"\xff\xfe\x00",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_counts_as_none_and_is_written_again(kept, damage):
    folder, curve = kept
    path = next(folder.rglob("*.json"))
    path.write_bytes(damage(path.read_bytes()))
    cache = reopened(folder)
    assert cache.get(JOB, test=True) is None
    assert cache.damaged == 1
    cache.put(JOB, curve, test=True)
    assert reopened(folder).get(JOB, test=True) is not None


def test_where_a_folder_cannot_be_written_in_runs_are_kept_in_memory(tmp_path):
    (tmp_path / "file").write_text("")
    cache = reopened(tmp_path / "file" / "cache")
    assert cache.get(JOB, test=True) is None
    assert cache.unwritable == ""
    curve = train_together(line(), [JOB])[0]
    cache.put(JOB, curve, test=True)
    assert cache.unwritable == "Not a directory"
    assert cache.get(JOB, test=True) is curve


def test_a_disk_that_fills_up_loses_nothing(kept, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    folder, curve = kept
    monkeypatch.setattr("rmsprop.lab.compare.cache.write_atomically", full)
    cache, other = reopened(folder), Job(choice=choose("rmsprop"), seed=4)
    cache.put(other, curve, test=True)
    assert cache.get(JOB, test=True) is not None  # what it has is still read
    assert cache.get(other, test=True) is curve
    assert cache.unwritable == "No space left on device"


@pytest.mark.parametrize(("name", "can"), [(".", True), ("new/folder", True), ("file", False), ("file/cache", False)])
def test_whether_a_folder_can_be_written_is_known_before(tmp_path, name, can):
    (tmp_path / "file").write_text("")
    assert can_be_written(tmp_path / name) is can


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"RMSPROP_CACHE": "/somewhere"}, "/somewhere"),
        ({"XDG_CACHE_HOME": "/caches"}, "/caches/rmsprop/runs"),
        ({}, "/home/someone/.cache/rmsprop/runs"),
    ],
)
def test_runs_are_kept_in_the_users_folder_for_caches(monkeypatch, variables, folder):
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("RMSPROP_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": "/home/someone", **variables}.items():
        monkeypatch.setenv(name, value)
    assert default_folder() == Path(folder)
