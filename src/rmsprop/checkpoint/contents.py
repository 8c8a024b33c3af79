"""What kind of file something is by its first bytes and its parts, whatever its name says."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from rmsprop.checkpoint.files import unreadable
from rmsprop.checkpoint.neutral import quoted


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A kind of file.

    Args:
        words: What a message calls it.
        modules: The modules under `rmsprop.checkpoint` that read it.
        remedy: What to do with it where none does.
    """

    words: str
    modules: tuple[str, ...] = ()
    remedy: str = "give the checkpoint of a run"


_UNPACK = "unpack it first, and give the checkpoint in it"
_TORCH = Kind(words="a PyTorch checkpoint", modules=("torch",))
_SB3 = Kind(words="a .zip of Stable-Baselines3", modules=("torch",))
_KERAS = Kind(words="a .keras file", modules=("keras",))
_NPZ = Kind(words="a .npz archive of NumPy", modules=("optax", "numpy"))
_SAFETENSORS = Kind(words="a .safetensors file", modules=("optax", "numpy"))
_HDF5 = Kind(words="an HDF5 file", modules=("keras",))
_SCRIPT = Kind(
    words="a TorchScript program, which has no optimizer", remedy="give the checkpoint that training saved beside it"
)
_PICKLE = Kind(
    words="a pickle, which can run any code and is never loaded",
    remedy="load it in a program that you trust, and save its optimizer.state_dict() with torch.save",
)
_MAGIC: Mapping[bytes, Kind] = MappingProxyType(
    {
        b"\x89HDF\r\n\x1a\n": _HDF5,
        b"\x1f\x8b": Kind(words="compressed with gzip", remedy=_UNPACK),
        b"BZh": Kind(words="compressed with bzip2", remedy=_UNPACK),
        b"\xfd7zXZ\0": Kind(words="compressed with xz", remedy=_UNPACK),
        b"\x28\xb5\x2f\xfd": Kind(words="compressed with zstd", remedy=_UNPACK),
        b"7z\xbc\xaf\x27\x1c": Kind(words="a 7z archive", remedy=_UNPACK),
        b"\x93NUMPY": Kind(words="a single array (.npy)", remedy="give a file with an optimizer's whole state"),
        b"GGUF": Kind(words="a GGUF file of weights, without an optimizer"),
        b"\x80\x02": _TORCH,  # of torch before 1.6: a pickle
        **{b"\x80%c" % protocol: _PICKLE for protocol in (3, 4, 5)},
    }
)
_TAR = Kind(words="a tar archive (of torch.save, .pth.tar is only the usual name)", remedy=_UNPACK)
_WANTED: Mapping[str, str] = MappingProxyType(
    {
        "torch": "a PyTorch checkpoint",
        "optax": "a .npz or .safetensors file or a folder of Orbax",
        "numpy": "a .npz archive of rmsprop.numpy",
        "keras": "a .keras or .h5 file",
    }
)
_HEAD = 512


def kind_of(path: Path) -> Kind | None:
    """Return what kind of file something is, or None if that doesn't show.

    Args:
        path: A file that can be read.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if head.startswith(b"PK"):
        return _of_zip(path)
    if head[257:262] == b"ustar":
        return _TAR
    if head[8:9] == b"{" and 2 <= int.from_bytes(head[:8], "little") <= path.stat().st_size - 8:
        return _SAFETENSORS
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


def _of_zip(path: Path) -> Kind | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError):
        return None
    parts = {name.rpartition("/")[2] for name in names}
    if "constants.pkl" in parts:
        return _SCRIPT
    if "data.pkl" in parts:
        return _TORCH
    if any(name.endswith(".pth") for name in names) and "data" in names:
        return _SB3
    if "model.weights.h5" in names:
        return _KERAS
    if names and all(name.endswith(".npy") for name in names):
        return _NPZ
    return Kind(words=f"a zip archive of {quoted(names, 3) or 'nothing'}", remedy=_UNPACK)


def check_contents(path: Path, module: str) -> None:
    """Check that a file isn't visibly of another kind than what a module reads.

    Args:
        path: A file that can be read.
        module: A module under `rmsprop.checkpoint`.

    Raises:
        CheckpointError: If it is.
    """
    kind = kind_of(path)
    if kind is None or module in kind.modules or module not in _WANTED:
        return
    if kind.modules:
        raise unreadable(
            path,
            f"is {kind.words}, not {_WANTED[module]}, which the format named for it wants: name its own format, or "
            "give another file",
        )
    raise unreadable(path, f"is {kind.words}: {kind.remedy}")
