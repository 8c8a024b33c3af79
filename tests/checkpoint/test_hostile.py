"""Files made to have a reader take another file's content, or all of the memory, are refused before they are read."""

import os
import stat
import zipfile
import zlib

import h5py
import numpy as np
import pytest
import torch
from checkpoint.runs import RUNS

from rmsprop.checkpoint import CheckpointError, load, save

RULE = {"decay": 0.9, "eps": 1e-7, "momentum": 0.9, "centered": False}
STATED = {"momentum": 0.9, "centered": False}
SECRET = np.arange(6, dtype=np.float32)  # what a reader must not find


def weights(path):
    """Write what Keras has in a .weights.h5: two parameters with their averages and momentum."""
    with h5py.File(path, "w") as h5:
        group = h5.create_group("optimizer/vars")
        group["0"] = np.int64(3)
        group["1"] = np.float32(0.1)
        for number, name in enumerate("vb", start=2):
            group[str(number)] = np.full(6, number, np.float32)
            h5[f"layers/{name}/vars/0"] = np.ones(6, np.float32)
    return path


def external_dataset(h5, other):
    del h5["optimizer/vars/2"]
    h5.create_dataset("optimizer/vars/2", (6,), np.float32, external=[(str(other), 0, 24)])


def external_link(h5, other):
    del h5["optimizer/vars/2"]
    h5["optimizer/vars/2"] = h5py.ExternalLink(str(other.with_suffix(".h5")), "secret")


def external_group(h5, other):
    del h5["optimizer"]
    h5["optimizer"] = h5py.ExternalLink(str(other.with_suffix(".h5")), "optimizer")


def soft_link(h5, other):
    del h5["optimizer/vars/2"]
    h5["optimizer/vars/2"] = h5py.SoftLink("/layers/v/vars/0")


def virtual_dataset(h5, other):
    del h5["optimizer/vars/2"]
    layout = h5py.VirtualLayout(shape=(6,), dtype=np.float32)
    layout[:] = h5py.VirtualSource(str(other.with_suffix(".h5")), "secret", shape=(6,))
    h5.create_virtual_dataset("optimizer/vars/2", layout)


def of_the_model(h5, other):
    h5["layers/more"] = h5py.ExternalLink(str(other.with_suffix(".h5")), "secret")


def in_itself(h5, other):
    h5["optimizer/again"] = h5["optimizer"]


def nested(h5, other):
    h5.create_group("/".join("a" * 200))


def never_written(h5, other):
    h5.create_dataset("layers/large/vars/0", (2**40,), np.float32, chunks=(2**20,))


def zeros(h5, other):
    h5.create_dataset("layers/large/vars/0", (2**26,), np.float32, compression="gzip", data=np.zeros(2**26, np.float32))


def many_names(h5, other):
    h5["optimizer/vars/4"] = np.ones(2**18, np.float32)
    for number in range(5, 300):
        h5[f"optimizer/vars/{number}"] = h5["optimizer/vars/4"]


def text(h5, other):
    del h5["optimizer/vars/2"]
    h5["optimizer/vars/2"] = ["x" * 1000] * 10


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (external_dataset, "optimizer/vars/2 has its numbers in another file"),
        (external_link, "optimizer/vars/2 is a link to another place or file"),
        (external_group, "optimizer is a link"),
        (soft_link, "optimizer/vars/2 is a link"),
        (virtual_dataset, "optimizer/vars/2 has its numbers in another file"),
        (of_the_model, "layers/more is a link"),
        (in_itself, "has the group optimizer/again twice, or too deep"),
        (nested, "twice, or too deep"),
        (never_written, "says that it holds 4,398,046,5.. bytes|says that it holds 4,398,"),
        (zeros, "says that it holds 268,435,"),
        (many_names, "more than 100 times its size"),
        (text, "keeps something else than numbers"),
    ],
)
def test_hdf5_that_is_not_whole_in_itself(attack, message, tmp_path):
    other = tmp_path / "secret"
    other.write_bytes(SECRET.tobytes())
    with h5py.File(other.with_suffix(".h5"), "w") as h5:
        h5["secret"] = SECRET
        h5["optimizer/vars/0"] = np.int64(1)
    good = weights(tmp_path / "good.weights.h5")
    state = load(good, "keras", **STATED)
    path = weights(tmp_path / "run.weights.h5")
    with h5py.File(path, "r+") as h5:
        attack(h5, other)
    with pytest.raises(CheckpointError, match=message) as caught:
        load(path, "keras", **STATED)
    assert str(path) in str(caught.value)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(CheckpointError, match=message):
        save(state, tmp_path / "out.weights.h5", "keras", like=path, names="order", notes=[], **STATED)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


def inside_keras(tmp_path):
    """Return a .keras file whose weights have a dataset in another file, beside the right checksums."""
    run = RUNS["keras"](RULE)
    run.train(range(2))
    run.model.save(tmp_path / "run.keras")
    with zipfile.ZipFile(tmp_path / "run.keras") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    (tmp_path / "w.h5").write_bytes(parts["model.weights.h5"])
    with h5py.File(tmp_path / "w.h5", "r+") as h5:
        shape, dtype = h5["optimizer/vars/2"].shape, h5["optimizer/vars/2"].dtype
        del h5["optimizer/vars/2"]
        external = [("/etc/hostname", 0, h5py.h5f.UNLIMITED)]
        h5.create_dataset("optimizer/vars/2", shape, dtype, external=external)
    parts["model.weights.h5"] = (tmp_path / "w.h5").read_bytes()
    with zipfile.ZipFile(tmp_path / "made_up.keras", "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return tmp_path / "made_up.keras"


def test_a_keras_file_with_numbers_elsewhere(tmp_path):
    with pytest.raises(CheckpointError, match=r"made_up\.keras isn't whole in itself: optimizer/vars/2"):
        load(inside_keras(tmp_path))


@pytest.mark.parametrize("name", ["run.npz", "run.pt", "run.keras"])
def test_an_archive_that_swells_is_refused_before_it_is_unpacked(name, tmp_path, monkeypatch):
    part = {"run.npz": "a.npy", "run.pt": "run/data.pkl", "run.keras": "model.weights.h5"}[name]
    with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(part, bytes(2**27))
    monkeypatch.setattr(zlib, "decompressobj", None)  # nothing is
    with pytest.raises(CheckpointError, match=f"{name} says that it holds 134,217,728 bytes, more than 100 times"):
        load(tmp_path / name)


def test_zeros_of_an_untrained_model_may_be_packed(tmp_path):
    np.savez_compressed(tmp_path / "run.npz", **{"0/nu/w": np.zeros(2**22, np.float32)})
    state = load(tmp_path / "run.npz", momentum=0.0, weight_decay=0.0, decay=0.9, eps=1e-8)
    assert state.parameters[0].arrays["square_avg"].shape == (2**22,)


def test_an_error_of_the_disk_names_the_file(tmp_path, monkeypatch):
    torch.save({}, tmp_path / "run.pt")

    def broken(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(zipfile.ZipFile, "testzip", broken)
    with pytest.raises(CheckpointError, match=r"run\.pt can't be read: Input/output error"):
        load(tmp_path / "run.pt", "torch")


# The forms that each format is written in; Keras' copies a file of the model.
FILES = [
    *((form, "run.pt") for form in ("torch", "timm", "sb3", "rmsprop.torch")),
    *((form, f"run.{suffix}") for form in ("optax", "rmsprop.jax") for suffix in ("npz", "safetensors")),
    ("numpy", "run.npz"),
    ("tensorflow1", "run"),
    ("keras", "run.weights.h5"),
]


def written(form, tmp_path):
    """Return a state that a format can have, and what is to be said when it is written and when it is read."""
    if form == "keras":
        model = weights(tmp_path / "model.weights.h5")
        return load(model, "keras", **STATED), {"like": model, **STATED}, STATED
    run = RUNS["torch"](RULE)
    run.train(range(2))
    counted = form in ("torch", "timm", "sb3")
    named = {"names": ["0", "1", "2", "3"]} if counted else {}
    return load(run.state()), {"lr": 0.1, "eps": 1e-7, **named}, {}


@pytest.fixture(params=[0o022, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


@pytest.mark.parametrize(("form", "name"), FILES)
def test_every_format_is_read_back_and_keeps_modes(form, name, tmp_path, umask):
    state, options, stated = written(form, tmp_path)

    def files():
        return [file for file in tmp_path.iterdir() if file.name.startswith("run")]

    def modes():
        return {stat.S_IMODE(file.stat().st_mode) for file in files()}

    def by_shape(state):  # which some formats sort by name
        return sorted(state.parameters, key=lambda parameter: parameter.shape)

    save(state, tmp_path / name, form, notes=[], **options)
    assert modes() == {0o666 & ~umask}
    for found, own in zip(by_shape(load(tmp_path / name, form, **stated)), by_shape(state), strict=True):
        assert (found.shape, found.arrays.keys()) == (own.shape, own.arrays.keys())
        np.testing.assert_array_equal(found.arrays["square_avg"], own.arrays["square_avg"])
    for mode in (0o600, 0o640, 0o444):
        for file in files():
            file.chmod(mode)
        save(state, tmp_path / name, form, force=True, notes=[], **options)
        assert modes() == {mode}


def test_a_private_file_is_private_while_it_is_written(tmp_path, umask, monkeypatch):
    run = RUNS["torch"](RULE)
    run.train(range(1))
    torch.save(run.state(), tmp_path / "run.pt")
    (tmp_path / "run.pt").chmod(0o600)
    seen, open_file = [], os.open

    def watched(path, *arguments, **named):
        descriptor = open_file(path, *arguments, **named)
        seen.extend([stat.S_IMODE(os.fstat(descriptor).st_mode)] if str(path).endswith(".tmp") else [])
        return descriptor

    monkeypatch.setattr(os, "open", watched)
    save(load(tmp_path / "run.pt"), tmp_path / "run.pt", "rmsprop.torch", force=True, notes=[])
    assert seen == [0o600]


def test_tensorflows_data_alone_is_a_file_that_is_there(tmp_path):
    run = RUNS["torch"](RULE)
    run.train(range(1))
    data = tmp_path / "run.data-00000-of-00001"
    data.write_bytes(b"somebody's")
    with pytest.raises(CheckpointError, match=r"run\.data-00000-of-00001 exists already"):
        save(run.state(), tmp_path / "run", "tensorflow1", lr=0.1, eps=1e-7, notes=[])
    assert data.read_bytes() == b"somebody's"
    assert [file.name for file in tmp_path.iterdir()] == [data.name]


def test_tensorflows_symbolic_links_stay_some(tmp_path):
    run = RUNS["torch"](RULE)
    run.train(range(1))
    (tmp_path / "store").mkdir()
    links = [tmp_path / f"run.{suffix}" for suffix in ("index", "data-00000-of-00001")]
    for link in links:
        link.symlink_to(tmp_path / "store" / link.name)
    save(run.state(), tmp_path / "run", "tensorflow1", lr=0.1, eps=1e-7, force=True, notes=[])
    assert all(link.is_symlink() for link in links)
    assert load(tmp_path / "run").format == "tensorflow1"
