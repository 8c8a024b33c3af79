"""What stands beside an optimizer's state in a file of torch.save: left out where it is only data, never run."""

import argparse
import collections
import datetime
import decimal
import enum
import fractions
import functools
import os
import pathlib
import pickle
import random
import shutil
import subprocess
import types
import uuid
import zipfile

import ml_dtypes
import numpy as np
import pytest
import torch

from rmsprop.checkpoint import CheckpointError, convert, load


class Settings:
    def __init__(self):
        self.width = 3


class SettingsDict(dict):
    pass


class SettingsList(list):
    pass


class Mode(enum.Enum):
    TRAIN = 1


def state_dict():
    param = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.RMSprop([param], lr=0.1)
    param.grad = torch.ones(2)
    optimizer.step()
    return optimizer.state_dict()


DATA = {
    "float64": np.float64(0.3),
    "float32": np.float32(0.3),
    "float16": np.float16(0.3),
    "int64": np.int64(3),
    "bool": np.bool_(True),
    "complex": np.complex64(1j),
    "long double": np.longdouble(1.0),
    "str": np.str_("x"),
    "bytes": np.bytes_(b"x"),
    "datetime64": np.datetime64("2026-01-01"),
    "record": np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])[0],
    "array": np.arange(3.0),
    "empty array": np.array([]),
    "array of objects": np.array(["a", None], dtype=object),
    "array of records": np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "dtype": np.dtype("float32"),
    "class of numbers": np.float32,
    "random state of NumPy": np.random.RandomState(0).get_state(),
    "random state of Python": random.Random(0).getstate(),
    "path": pathlib.Path("run"),
    "datetime": datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    "timedelta": datetime.timedelta(seconds=1),
    "Decimal": decimal.Decimal("0.1"),
    "Fraction": fractions.Fraction(1, 3),
    "UUID": uuid.UUID(int=1),
    "Namespace": argparse.Namespace(lr=0.1),
    "SimpleNamespace": types.SimpleNamespace(lr=0.1),
    "defaultdict": collections.defaultdict(list, a=[1]),
    "deque": collections.deque([1, 2], maxlen=3),
    "Counter": collections.Counter("ab"),
    "set": {1, 2},
    "frozenset": frozenset([1]),
    "range": range(3),
    "slice": slice(1, 2),
    "class": int,
    "class of None": type(None),
    "bytearray": bytearray(b"x"),
}
# Objects -> the classes that a note names.
OBJECTS = {
    "object": (Settings(), "Settings"),
    "dict": (SettingsDict(a=1), "SettingsDict"),
    "dict with attributes": (SettingsDict(a=Settings()), "SettingsDict"),
    "list": (SettingsList([1]), "SettingsList"),
    "enum": (Mode.TRAIN, "Mode"),
    "model": (torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
    "generator": (np.random.default_rng(0), "__generator_ctor"),
    "bfloat16": (ml_dtypes.bfloat16(1), "ml_dtypes.bfloat16"),
    "masked": (np.ma.array([1.0]), "MaskedArray"),
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", DATA)
def test_data_beside_the_state_is_left_out(name, zipped, tmp_path):
    content = {"best": DATA[name], "optimizer": state_dict(), "more": [DATA[name]]}
    torch.save(content, tmp_path / "run.pt", _use_new_zipfile_serialization=zipped)
    loaded = load(tmp_path / "run.pt")
    assert loaded.parameters[0].step == 1
    assert loaded.notes == ()


@pytest.mark.parametrize("name", OBJECTS)
def test_a_programs_own_objects_are_left_out_with_a_note(name, tmp_path):
    thing, called = OBJECTS[name]
    torch.save({"config": thing, "optimizer": state_dict(), "more": [thing]}, tmp_path / "run.pt")
    loaded = load(tmp_path / "run.pt")
    assert loaded.parameters[0].step == 1
    assert len(loaded.notes) == 1
    assert called in loaded.notes[0]


class Call:
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


CALLS = {
    "os.mkdir": Call(os.mkdir, "exploded"),
    "os.system": Call(os.system, "touch exploded"),
    "subprocess.Popen": Call(subprocess.Popen, "touch exploded"),
    "subprocess.getoutput": Call(subprocess.getoutput, "touch exploded"),
    "eval": Call(eval, "open('exploded', 'w')"),
    "exec": Call(exec, "open('exploded', 'w')"),
    "__import__": Call(__import__, "os"),
    "open": Call(open, "exploded", "w"),
    "getattr": Call(getattr, 1, "real"),
    "partial": Call(functools.partial, print, "exploded"),
    "rmtree": Call(shutil.rmtree, "folder"),
    "pickle.loads": Call(pickle.loads, b"."),
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", CALLS)
def test_what_would_run_is_refused(name, zipped, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("folder")
    content = {"optimizer": state_dict(), "extra": CALLS[name]}
    torch.save(content, "run.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"run\.pt holds Python objects \(.+\).*which can run any code"):
        load("run.pt")
    assert sorted(os.listdir()) == ["folder", "run.pt"]


class Setting:
    def __setstate__(self, state):
        raise AssertionError("was run")

    def __getstate__(self):
        return {"a": 1}


def test_a_class_is_never_made_itself(tmp_path):
    torch.save({"optimizer": state_dict(), "extra": Setting()}, tmp_path / "run.pt")
    assert "Setting" in load(tmp_path / "run.pt").notes[0]


def test_numbers_of_numpy_in_the_state_itself(tmp_path):
    content = state_dict()
    content["param_groups"][0] |= {"lr": np.float64(0.25), "alpha": np.float32(0.5), "centered": np.bool_(False)}
    content["state"][0]["step"] = np.int64(7)
    torch.save(content, tmp_path / "run.pt")
    for source in (content, tmp_path / "run.pt"):
        loaded = load(source)
        assert (loaded.groups[0].lr, loaded.groups[0].settings["decay"], loaded.parameters[0].step) == (0.25, 0.5, 7)
        assert all(type(value) in (float, int, bool, str) for value in loaded.groups[0].settings.values())


def test_big_endian_numbers(tmp_path):
    content = state_dict()
    content["param_groups"][0]["lr"] = np.array([0.25], ">f8")[0]
    torch.save(content, tmp_path / "run.pt")
    assert load(tmp_path / "run.pt").groups[0].lr == 0.25


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (torch.optim.RMSprop([torch.nn.Parameter(torch.ones(2))]), r"holds Python objects \(torch.optim.rmsprop.RMS"),
        ({"weight": torch.ones(2)}, "no optimizer state dict .*, only weights"),
        ({"epoch": 1, "state_dict": {"weight": torch.ones(2)}}, ", only 'epoch', 'state_dict'"),
        ({"state": {}, "param_groups": []}, "can't be told whose|no parameters"),
        ({}, "no optimizer state dict"),
        (None, "no optimizer state dict"),
        (torch.ones(2), "no optimizer state dict"),
    ],
    ids=["optimizer", "weights", "checkpoint of weights", "no groups", "empty", "None", "tensor"],
)
@pytest.mark.parametrize("form", [None, "torch"])
def test_what_is_no_optimizers_state(content, said, form, tmp_path):
    torch.save(content, tmp_path / "run.pt")
    with pytest.raises(CheckpointError, match=rf"run\.pt.*({said})"):
        load(tmp_path / "run.pt", form)


@pytest.mark.parametrize(
    ("optimizer", "said"),
    [
        *((name, "Adam or its kin") for name in ("Adam", "AdamW", "NAdam", "Adamax")),
        *((name, name) for name in ("SGD", "Adagrad", "Adadelta", "ASGD")),
    ],
)
def test_another_method_is_called_by_its_name(optimizer, said):
    made = getattr(torch.optim, optimizer)([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    made.param_groups[0]["params"][0].grad = torch.ones(2)
    made.step()
    with pytest.raises(CheckpointError, match=f"not an RMSProp's, but one of {said}"):
        load(made.state_dict())


def test_another_pickle_protocol(tmp_path):
    torch.save({"optimizer": state_dict()}, tmp_path / "run.pt", pickle_protocol=4)
    with pytest.raises(CheckpointError, match="another pickle protocol than PyTorch's own: save it again"):
        load(tmp_path / "run.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_not_finite_are_told_and_moved(value):
    content = state_dict()
    content["state"][0]["square_avg"].fill_(value)
    loaded = load(content)
    assert "NaN or infinite: square_avg of '0' (all of 2)" in loaded.notes[0]
    content["state"][0]["square_avg"][0] = 1.0
    notes = []
    moved = convert(content, "timm", notes=notes)
    assert any("square_avg of '0' (1 of 2)" in note for note in notes)
    torch.testing.assert_close(moved["state"][0]["square_avg"], torch.tensor([1.0, value]), equal_nan=True)
    assert load(state_dict()).notes == ()


@pytest.mark.parametrize("end", [b"\n", b""], ids=["a line", "the rest of the file"])
@pytest.mark.parametrize("opcode", [b"c", b"(i"], ids=["GLOBAL", "INST"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_name_as_long_as_nobodys_is_refused_before_pytorch_reads_it(zipped, opcode, end, tmp_path, monkeypatch):
    torch.save(state_dict(), tmp_path / "run.pt", _use_new_zipfile_serialization=zipped)
    content = b"\x80\x02" + opcode + b"torch\n" + b'{"a":' * 1000 + end
    if zipped:
        with zipfile.ZipFile(tmp_path / "run.pt") as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(tmp_path / "run.pt", "w") as archive:
            for name, part in parts.items():
                archive.writestr(name, content if name.endswith("data.pkl") else part)
    else:
        heads = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {})]
        (tmp_path / "run.pt").write_bytes(b"".join(heads) + content)
    monkeypatch.setattr(torch, "load", None)  # its error takes the square of the name's length
    with pytest.raises(CheckpointError, match="is not a whole PyTorch checkpoint"):
        load(tmp_path / "run.pt")
