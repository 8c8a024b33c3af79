"""A damaged or hostile file is one clear error, runs nothing, and no output is written."""

import errno
import os
import pickle
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from checkpoint.runs import RUNS

from rmsprop import checkpoint
from rmsprop.checkpoint import CheckpointError, load, save

# Keras 3.15's variables under NumPy 2, in model.save
RULE = {"decay": 0.9, "eps": 1e-7, "momentum": 0.9, "centered": True}
KINDS = ["torch", "legacy.pt", "optax", "safetensors", "numpy", "keras", "h5", "tensorflow1"]
# Kinds whose containers carry checksums of everything; in the others a flipped bit of a number is another number.
CHECKED = ["torch", "optax", "numpy", "keras", "tensorflow1"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Kind -> (path, format, settings, the files it consists of)."""
    folder = tmp_path_factory.mktemp("whole")
    runs = {form: RUNS[form](RULE) for form in ("torch", "optax", "keras", "tensorflow1")}
    for run in runs.values():
        run.train(range(2))
    own = runs["torch"].state()
    torch.save(own, folder / "run.pt")
    torch.save(own, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    save(own, folder / "optax.npz", "optax", notes=[])
    save(own, folder / "optax.safetensors", "optax", notes=[])
    save(own, folder / "numpy.npz", "numpy")
    runs["keras"].model.save(folder / "run.keras")
    runs["keras"].model.save_weights(folder / "run.weights.h5")
    prefix = Path(runs["tensorflow1"].write(folder))
    weights = {"momentum": 0.9, "centered": True}
    return {
        "torch": (folder / "run.pt", "torch", {}, [""]),
        "legacy.pt": (folder / "legacy.pt", "torch", {}, [""]),
        "optax": (folder / "optax.npz", "optax", {}, [""]),
        "safetensors": (folder / "optax.safetensors", "optax", {}, [""]),
        "numpy": (folder / "numpy.npz", "numpy", {}, [""]),
        "keras": (folder / "run.keras", "keras", {}, [""]),
        "h5": (folder / "run.weights.h5", "keras", weights, [""]),
        "tensorflow1": (prefix, "tensorflow1", {}, [".index", ".data-00000-of-00001"]),
    }


def copies(kind, whole, folder):
    """Copy a checkpoint; yield (path to load, file to damage, format, settings)."""
    path, form, settings, suffixes = whole[kind]
    for suffix in suffixes:
        (folder / f"{path.name}{suffix}").write_bytes(path.with_name(path.name + suffix).read_bytes())
    for suffix in suffixes:
        file = folder / f"{path.name}{suffix}"
        content = file.read_bytes()
        yield folder / path.name, file, content, form, settings
        file.write_bytes(content)


def refused(path, form, settings, out):
    """Load and save; check that the error names the file and that nothing was written."""
    before = sorted(out.parent.iterdir())
    with pytest.raises(CheckpointError) as caught:
        save(load(path, form, **settings), out, "rmsprop.torch", lr=0.1, eps=1e-8, notes=[], **settings)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sorted(out.parent.iterdir()) == before


@pytest.mark.parametrize("kind", KINDS)
def test_cut_short_or_something_else(kind, whole, tmp_path):
    for path, file, content, form, settings in copies(kind, whole, tmp_path):
        size = len(content)
        cuts = [content[:length] for length in (0, 1, 8, size // 4, size // 2, size * 9 // 10, size - 1)]
        noise = np.random.default_rng(0).bytes(size)
        for damage in (*cuts, noise, b"step,loss\n1,0.5\n" * 40, bytes(size)):
            file.write_bytes(damage)
            refused(path, form, settings, tmp_path / "out.pt")
        file.unlink()
        refused(path, form, settings, tmp_path / "out.pt")
        file.mkdir()
        refused(path, form, settings, tmp_path / "out.pt")
        file.rmdir()


def loaded_or_refused(path, form, settings):
    """Return the checkpoint, or None after an error that names the file."""
    try:
        return load(path, form, **settings)
    except CheckpointError as error:
        message = str(error)
    assert str(path) in message
    return None


def assert_same(loaded, expected):
    assert loaded.groups == expected.groups
    for parameter, other in zip(loaded.parameters, expected.parameters, strict=True):
        assert (parameter.name, parameter.step) == (other.name, other.step)
        assert parameter.arrays.keys() == other.arrays.keys()
        for name, array in parameter.arrays.items():
            np.testing.assert_array_equal(array, other.arrays[name])


@pytest.mark.parametrize("kind", CHECKED)
def test_a_flipped_bit_is_noticed_or_means_nothing(kind, whole, tmp_path):
    rng = np.random.default_rng(1)
    noticed = 0
    for path, file, content, form, settings in copies(kind, whole, tmp_path):
        expected = load(path, form, **settings)
        for _ in range(30):
            flipped = bytearray(content)
            flipped[rng.integers(len(content))] ^= 1 << rng.integers(8)
            file.write_bytes(bytes(flipped))
            loaded = loaded_or_refused(path, form, settings)
            if loaded is None:
                noticed += 1
                continue
            assert_same(loaded, expected)
    assert noticed


# Bits of an entry in a zip archive's directory, which has no checksum: of the lengths of what follows its name (a wrong
# one hides the next entries), and the one that makes it a folder.
UNCHECKED = [*((byte, bit) for byte in (30, 32) for bit in range(8)), (38, 4)]


@pytest.mark.parametrize("kind", ["torch", "optax", "numpy", "keras"])
def test_a_flipped_bit_in_an_archives_directory_is_noticed_or_means_nothing(kind, whole, tmp_path):
    ((path, file, content, form, settings),) = copies(kind, whole, tmp_path)
    expected, end = load(whole[kind][0], form, **settings), content.rindex(b"PK\5\6")
    start = int.from_bytes(content[end + 16 : end + 20], "little")
    for entry in re.finditer(b"PK\1\2", content[start:end]):
        for byte, bit in UNCHECKED:
            flipped = bytearray(content)
            flipped[start + entry.start() + byte] ^= 1 << bit
            file.write_bytes(bytes(flipped))
            if loaded := loaded_or_refused(path, form, settings):
                assert_same(loaded, expected)


def test_a_part_that_took_anothers_name_by_a_flipped_bit_is_noticed(tmp_path):
    params = [torch.nn.Parameter(torch.ones(2)) for _ in range(2)]
    optimizer = torch.optim.RMSprop(params)
    for param in params:
        param.grad = torch.ones(2)
    optimizer.step()
    save(optimizer.state_dict(), tmp_path / "run.npz", "numpy", notes=[])
    content = bytearray((tmp_path / "run.npz").read_bytes())
    content[content.rindex(b"0/square_avg.npy")] ^= 1  # which makes it 1/square_avg.npy, of which there is one
    (tmp_path / "run.npz").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"run\.npz is damaged: 2 of its parts are called '1/square_avg\.npy'"):
        load(tmp_path / "run.npz")


@pytest.mark.parametrize("kind", ["legacy.pt", "safetensors", "h5"])
def test_a_flipped_bit_elsewhere_is_never_a_crash(kind, whole, tmp_path):
    rng = np.random.default_rng(2)
    for path, file, content, form, settings in copies(kind, whole, tmp_path):
        for _ in range(60):
            flipped = bytearray(content)
            flipped[rng.integers(len(content))] ^= 1 << rng.integers(8)
            file.write_bytes(bytes(flipped))
            loaded_or_refused(path, form, settings)


class Bomb:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_nothing_is_unpickled(tmp_path):
    bomb = Bomb(tmp_path / "exploded")
    torch.save({"state": {}, "param_groups": [], "extra": bomb}, tmp_path / "run.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(bomb))
    np.savez(tmp_path / "run.npz", allow_pickle=True, **{"0/nu/w": np.array([bomb], dtype=object)})
    with pytest.raises(CheckpointError, match=r"run\.pt holds Python objects \(.*mkdir\).*which can run any code"):
        load(tmp_path / "run.pt")
    for path in (tmp_path / "plain.pt", tmp_path / "run.npz"):
        with pytest.raises(CheckpointError, match=path.name):
            load(path)
    assert not (tmp_path / "exploded").exists()


def test_arguments_beside_the_state_are_allowed(tmp_path):
    """As timm's training script saves them: a Namespace, which only carries attributes."""
    import argparse

    run = RUNS["timm"](RULE)
    run.train(range(1))
    torch.save({"optimizer": run.state(), "args": argparse.Namespace(lr=0.1)}, tmp_path / "last.pth.tar")
    assert load(tmp_path / "last.pth.tar", "timm").format == "timm"


def test_an_archive_without_the_right_content(tmp_path):
    for name in ("run.pt", "run.npz", "run.keras"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("hello.txt", "hello")
        with pytest.raises(CheckpointError, match=name):
            load(tmp_path / name)


@pytest.mark.parametrize("kind", ["torch", "optax", "numpy", "tensorflow1"])
def test_what_is_there_stays(kind, whole, tmp_path):
    path, form, settings, suffixes = whole[kind]
    state = load(path, form, **settings)
    out = tmp_path / path.name
    names = ["0", "1", "2", "3"] if form == "torch" else None
    options = {"notes": [], "lr": 0.1, "eps": 1e-7, "names": names}
    save(state, out, form, **options)
    files = {file: file.read_bytes() for file in tmp_path.iterdir()}
    assert {file.name for file in files} == {path.name + suffix for suffix in suffixes}
    with pytest.raises(CheckpointError, match="exists already: give another name, or replace it with force"):
        save(state, out, form, **options)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == files
    save(state, out, form, force=True, **options)
    assert load(out, form).parameters[0].arrays.keys() == state.parameters[0].arrays.keys()
    with pytest.raises(CheckpointError, match="there is no folder"):
        save(state, tmp_path / "nowhere" / path.name, form, **options)
    folder = tmp_path / "folder"
    (tmp_path / f"folder{'.index' if form == 'tensorflow1' else ''}").mkdir()
    with pytest.raises(CheckpointError, match="is a folder"):
        save(state, folder, form, force=True, **options)


@pytest.mark.parametrize("kind", ["torch", "optax", "numpy", "keras", "tensorflow1"])
def test_a_full_disk_leaves_the_old_file(kind, whole, tmp_path, monkeypatch):
    path, form, settings, suffixes = whole[kind]
    state = load(path, form, **settings)
    for suffix in suffixes:
        (tmp_path / f"{path.name}{suffix}").write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    like = path if form == "keras" else None
    with pytest.raises(OSError, match=f"No space left on device: '{re.escape(str(tmp_path / path.name))}'$"):
        save(state, tmp_path / path.name, form, like=like, force=True, notes=[], lr=0.1, eps=1e-7)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {
        f"{path.name}{suffix}": b"old" for suffix in suffixes
    }


def test_suffixes_are_checked(whole, tmp_path):
    state = load(whole["torch"][0])
    for name, form in (("run.pt", "optax"), ("run.safetensors", "numpy"), ("run", "optax")):
        with pytest.raises(CheckpointError, match="suffix"):
            save(state, tmp_path / name, form, notes=[])
    with pytest.raises(CheckpointError, match=r"must end in \.keras"):
        save(state, tmp_path / "run.h5", "keras", like=whole["keras"][0], names="order", notes=[])
    assert not list(tmp_path.iterdir())
    assert set(checkpoint.FORMATS) >= {"torch", "timm", "sb3", "optax", "keras", "tensorflow1", "numpy"}


def test_nobody_elses_temporary_file_is_touched(whole, tmp_path):
    state = torch.load(whole["torch"][0], weights_only=True)
    others = [tmp_path / name for name in ("out.pt.tmp", ".out.pt.tmp", ".out.pt.0123abcd.tmp")]
    for other in others:
        torch.save(state, other)
    content = [other.read_bytes() for other in others]
    save(load(others[0], "torch"), tmp_path / "out.pt", "timm", notes=[])
    assert sorted(tmp_path.iterdir()) == sorted([*others, tmp_path / "out.pt"])
    assert [other.read_bytes() for other in others] == content
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    assert (tmp_path / "out.pt").stat().st_mode == plain.stat().st_mode


def test_a_symbolic_link_stays_one(whole, tmp_path):
    state, store, link = load(whole["torch"][0]), tmp_path / "store", tmp_path / "latest.pt"
    store.mkdir()
    link.symlink_to(Path("store", "real.pt"))
    with pytest.raises(CheckpointError, match=r"latest\.pt exists already"):  # though it leads nowhere
        save(state, link, "timm", notes=[])
    assert not list(store.iterdir())
    for _ in range(2):
        save(state, link, "timm", force=True, notes=[])
        assert link.is_symlink()
        assert list(store.iterdir()) == [store / "real.pt"]
    assert load(link).format == "timm"


FULL = """
import resource, sys
from rmsprop.checkpoint import load, save
state, out, form = load(sys.argv[1]), sys.argv[2], sys.argv[3]
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    save(state, out, form, names=["0", "1", "2", "3"] if form == "torch" else None, notes=[])
except OSError as error:
    print(error.errno, error.filename, str(error).count(chr(10)))
"""


@pytest.mark.parametrize(
    ("name", "form"),
    [("o.pt", "torch"), ("o.npz", "optax"), ("o.safetensors", "optax"), ("o.npz", "numpy"), ("o", "tensorflow1")],
)
def test_a_file_that_cannot_be_written_to_its_end(name, form, whole, tmp_path):
    out = tmp_path / name
    command = [sys.executable, "-c", FULL, str(whole["torch"][0]), str(out), form]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{errno.EFBIG} {out} 0\n"
    assert not list(tmp_path.iterdir())


def changed(whole, state=None, **group):
    """Return a torch state dict with something else in its first state and its group."""
    content = torch.load(whole["torch"][0], weights_only=True)
    content["state"][0] |= state or {}
    content["param_groups"][0] |= group
    return content


NAN = float("nan")


@pytest.mark.parametrize(
    ("state", "group"),
    [
        ({"square_avg": torch.ones(1).expand(2**44)}, {}),
        ({"square_avg": torch.ones(3, device="meta")}, {}),
        ({"step": torch.ones(2)}, {}),
        ({"step": -5}, {}),
        ({"step": torch.tensor(2.5)}, {}),
        ({"step": torch.tensor(NAN)}, {}),
        ({"step": None}, {}),
        ({"step": True}, {}),
        ({}, {"alpha": torch.ones(2)}),
        ({}, {"alpha": NAN}),
        ({}, {"alpha": -3}),
        ({}, {"lr": -1.0}),
        ({}, {"lr": NAN}),
        ({}, {"eps": None}),
        ({}, {"momentum": "x"}),
        ({}, {"weight_decay": 1j}),
    ],
    ids=str,
)
def test_values_that_no_optimizer_has(state, group, whole, tmp_path):
    torch.save(changed(whole, state, **group), tmp_path / "run.pt")
    refused(tmp_path / "run.pt", "torch", {}, tmp_path / "out.pt")
    if not group:
        return
    good = load(whole["torch"][0])
    with pytest.raises(CheckpointError, match=r"run\.pt"):
        save(good, tmp_path / "out.pt", "torch", like=tmp_path / "run.pt", notes=[])


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_part_that_is_there_twice(whole, tmp_path):
    (tmp_path / "run.npz").write_bytes(Path(whole["numpy"][0]).read_bytes())
    with zipfile.ZipFile(tmp_path / "run.npz", "a") as archive:
        archive.writestr("lr.npy", archive.read("lr.npy"))
    with pytest.raises(CheckpointError, match=r"run\.npz is damaged: 2 of its parts are called 'lr\.npy'"):
        load(tmp_path / "run.npz")


def test_a_pointer_of_git_lfs(tmp_path):
    (tmp_path / "run.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(CheckpointError, match=r"run\.pt only points to a file of Git LFS: get that"):
        load(tmp_path / "run.pt")


def test_what_is_stated_wins_over_a_bad_value(whole, tmp_path):
    torch.save(changed(whole, alpha=NAN), tmp_path / "run.pt")
    assert load(tmp_path / "run.pt", decay=0.9).groups[0].settings["decay"] == 0.9


def test_nesterov_without_momentum(whole):
    with pytest.raises(CheckpointError, match="nesterov=True needs a momentum above 0"):
        load(whole["torch"][0], nesterov=True, momentum=0.0)


def test_names_that_are_no_files(whole, tmp_path):
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(CheckpointError, match=r"pipe\.pt is not a regular file"):
        load(tmp_path / "pipe.pt")
    state = load(whole["torch"][0])
    with pytest.raises(CheckpointError, match=r"pipe\.pt is not a regular file"):
        save(state, tmp_path / "pipe.pt", "torch", force=True)
    assert (tmp_path / "pipe.pt").is_fifo()
    with pytest.raises(CheckpointError, match="can't be read: File name too long"):
        load(tmp_path / ("x" * 300 + ".pt"))
    for nothing in ("", ".", "/"):
        with pytest.raises(CheckpointError, match=f"'{nothing}' is not the name of a file"):
            load(nothing)
        with pytest.raises(CheckpointError, match=f"'{nothing}' is not the name of a file"):
            save(state, nothing, "tensorflow1")
    with pytest.raises(CheckpointError, match=r"under 'a\.b': it is one itself, so leave out the key"):
        load(whole["torch"][0], key="a.b")
