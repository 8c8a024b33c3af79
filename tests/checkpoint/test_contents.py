"""A file is what is in it: each kind is a row, under a name that says nothing or something else."""

import gzip
import io
import pickle
import re
import tarfile
import zipfile

import numpy as np
import pytest
import torch
from safetensors.numpy import save as safetensors

from rmsprop.checkpoint import CheckpointError, load, save
from rmsprop.checkpoint.archive import read_arrays
from rmsprop.numpy import RMSprop


def optimizer():
    made = RMSprop([np.ones(2)], lr=0.1, momentum=0.5)
    made.step([np.ones(2)])
    return made


def written(*saved, **options):
    file = io.BytesIO()
    torch.save(*saved, file, **options)
    return file.getvalue()


def zipped(**parts):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return file.getvalue()


def tarred(content):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        member = tarfile.TarInfo("run.pt")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


def arrays(**named):
    file = io.BytesIO()
    np.savez(file, **named)
    return file.getvalue()


RUN = written({"optimizer": {"state": {}, "param_groups": []}})
OTHERS = {
    "gzip": (gzip.compress(RUN), "is compressed with gzip: unpack it first"),
    "tar": (tarred(RUN), r"is a tar archive \(of torch.save, .pth.tar is only the usual name\): unpack it first"),
    "zip": (zipped(**{"run.pt": RUN}), "is a zip archive of 'run.pt': unpack it first"),
    "empty zip": (zipped(), "is a zip archive of nothing"),
    "pickle": (pickle.dumps({}), "is a pickle, which can run any code and is never loaded"),
    "npy": (b"\x93NUMPY", "is a single array"),
    "weights": (safetensors({"a": np.ones(2)}), "has no optimizer's state in it, only arrays called 'a'"),
    "arrays": (arrays(a=np.ones(2)), "has no optimizer's state in it, only arrays called 'a'"),
    "text": (b"step,loss\n", "it can't be told from .* what it is: give its format"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_checkpoint_is_named(name, tmp_path):
    content, said = OTHERS[name]
    suffix = {"weights": ".safetensors", "arrays": ".npz"}.get(name, "")
    path = tmp_path / f"run{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=said):
        load(path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_torchscript_program(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), tmp_path / "run.pt")
    with pytest.raises(CheckpointError, match="is a TorchScript program, which has no optimizer"):
        load(tmp_path / "run.pt")


@pytest.mark.parametrize(
    ("form", "to", "said"),
    [
        ("torch", "numpy", "is a .npz archive of NumPy, not a PyTorch checkpoint"),
        ("keras", "numpy", "is a .npz archive of NumPy, not a .keras or .h5 file"),
        ("optax", "torch", "is a PyTorch checkpoint, not a .npz or .safetensors file"),
        ("numpy", "torch", "is a PyTorch checkpoint, not a .npz or .safetensors file"),
        ("keras", "torch", "is a PyTorch checkpoint, not a .keras or .h5 file"),
    ],
)
def test_a_format_that_it_is_not(form, to, said, tmp_path):
    path = tmp_path / ("run.npz" if to == "numpy" else "run.pt")
    save(optimizer(), path, to, notes=[])
    with pytest.raises(CheckpointError, match=re.escape(said)):
        load(path, form)
    with pytest.raises(CheckpointError, match=re.escape(said)):
        save(optimizer(), tmp_path / "out.keras", form, like=path, notes=[])
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".keras", ".h5", ".json"])
def test_a_checkpoint_of_torch_is_not_written_under_anothers_suffix(suffix, tmp_path):
    with pytest.raises(CheckpointError, match=r"PyTorch's checkpoints end in \.pt or \.pth"):
        save(optimizer(), tmp_path / f"run{suffix}", "torch", notes=[])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["optax", "rmsprop.jax"])
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_a_count_keeps_its_shape_in_a_file(form, suffix, tmp_path):
    save(optimizer(), tmp_path / f"run{suffix}", form, notes=[])
    assert load(tmp_path / f"run{suffix}", bias_correction=False).parameters[0].step == 1
    assert read_arrays(tmp_path / f"run{suffix}")["1/count"].shape == ()


@pytest.mark.parametrize("step", [-1, 2**63, True, 1.5])
def test_a_step_that_no_counter_has(step, tmp_path):
    with pytest.raises(ValueError, match=r"Invalid step: .*allowed: a whole number from 0 to 9223372036854775807"):
        save(optimizer(), tmp_path / "run.npz", "numpy", step=step)


def test_a_step_that_the_targets_counter_cannot_hold(tmp_path):
    with pytest.raises(CheckpointError, match=r"the number of updates has the number 3e\+09, which .*int32 can't hold"):
        save(optimizer(), tmp_path / "run.npz", "optax", step=3_000_000_000, notes=[])
    assert not list(tmp_path.iterdir())
