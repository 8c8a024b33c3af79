"""How files fail: in one sentence that names them. Containers with checksums are checked whole before they are used."""

from __future__ import annotations

import errno
import lzma
import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rmsprop.checkpoint.neutral import CheckpointError
from rmsprop.files import ALWAYS_ALLOWED, LARGEST_RATIO

# Why a file can't be written, where a library says it in words only.
_REASONS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS)
_SUFFIXES = (".pt", ".pth", ".ckpt", ".tar", ".bin", ".keras", ".h5", ".npz", ".safetensors", ".zip")
# What zipfile raises for an archive that is cut, changed, encrypted or made up.
BAD_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, RuntimeError, OverflowError)
DISTRIBUTED = ".metadata"  # what describes a distributed checkpoint of PyTorch
_POINTER = b"version https://git-lfs"  # what a clone holds in the place of a large file
_LONGEST_END = 22 + 65535  # the record at the end of a zip archive, and its comment
_IS_FOLDER = 0x10  # an attribute of MS-DOS that PyTorch's reader goes by: it brings back nothing of such a part


def unreadable(path: Path, why: str) -> CheckpointError:
    """Return the error for a file; ``why`` completes "run.pt ..."."""
    return CheckpointError(f"{path} {why}")


def damaged(path: Path, kind: str) -> CheckpointError:
    """Return the error for a file that isn't what its name says, or not any more."""
    return unreadable(path, f"is not a whole {kind}: it is damaged, cut short or something else")


def advice_on_folder(folder: Path) -> str:
    """Return what to give instead of a folder, by what is in it."""
    names = sorted(child.name for child in folder.iterdir() if not child.is_dir())
    if is_distributed(folder):
        return "a distributed checkpoint of PyTorch, which only the formats of PyTorch's optimizers read"
    if whole := sorted(child.name for child in folder.iterdir() if is_distributed(child)):
        return f"give one of the distributed checkpoints in it, such as {folder / whole[-1]}"
    if prefixes := [name.removesuffix(".index") for name in names if name.endswith(".index")]:
        return f"give a checkpoint file, or the prefix of TensorFlow's, such as {folder / prefixes[-1]}"
    found = [name for name in names if name.endswith(_SUFFIXES)]
    own = [name for name in found if "optim" in name] or found
    return "give a checkpoint file" + (f" in it: {' or '.join(str(folder / name) for name in own[:3])}" if own else "")


def is_distributed(path: Path) -> bool:
    """Whether a path is a folder that ``torch.distributed.checkpoint`` has written to, to the end or not."""
    if not os.path.isdir(path):
        return False
    return any(name == DISTRIBUTED or name.endswith(".distcp") for name in os.listdir(path))


def check_is_file(path: Path) -> None:
    """Check that there is a file with something in it, which can be read.

    Raises:
        CheckpointError: If there is none, it is a folder, a pipe or the like, it is empty, or it can't be read.
    """
    try:
        if path.is_dir():
            raise unreadable(path, f"is a folder: {advice_on_folder(path)}")
        if not path.exists():
            raise unreadable(path, "does not exist: give a checkpoint file")
        if not path.is_file():
            raise unreadable(path, "is not a regular file: write the checkpoint to a file first")
        with path.open("rb") as file:
            start = file.read(len(_POINTER))
            if not start:
                raise unreadable(path, "is empty: give a checkpoint that was written to its end")
            if start == _POINTER:
                raise unreadable(path, "only points to a file of Git LFS: get that, as git lfs pull does")
    except OSError as error:
        raise unreadable(path, f"can't be read: {error.strerror or error}") from error


def check_size(path: Path, size: int) -> None:
    """Check that what a file says it holds is in proportion to the file.

    Args:
        path: The file.
        size: The bytes that it says it holds.

    Raises:
        CheckpointError: If it is not.
    """
    most = ALWAYS_ALLOWED + LARGEST_RATIO * path.stat().st_size
    if size > most:
        raise unreadable(
            path,
            f"says that it holds {size:,} bytes, more than {LARGEST_RATIO} times its size: no optimizer's state is "
            "packed like that, so it is damaged or made to fill the memory",
        )


def whole_zip(path: Path) -> None:
    """Check every checksum in a zip archive (.pt, .npz, .keras), and that it doesn't swell when it is unpacked.

    Raises:
        CheckpointError: If one is wrong, or it is no archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = len(archive.infolist())
            check_size(path, sum(entry.file_size for entry in archive.infolist()))
            wrong = flaw_of(archive)
    except CheckpointError:
        raise
    except BAD_ZIP as error:
        raise damaged(path, "zip archive, which such a checkpoint is") from error
    except OSError as error:  # of the disk, or of a place that a made-up directory points to
        raise unreadable(path, f"can't be read: {error.strerror or error}") from error
    if wrong is not None:
        raise unreadable(path, f"is damaged: {wrong}")
    # The directory has no checksum: a wrong length in one entry can hide all that follow.
    if entries != _entries_written(path):
        raise unreadable(path, "is damaged: its directory doesn't list as many parts as it says")


def flaw_of(archive: zipfile.ZipFile) -> str | None:
    """Return what is wrong with an archive, or None. Its directory has no checksum, so what it says is compared.

    Args:
        archive: The archive, open.

    Returns:
        A sentence without its end.
    """
    entries = archive.infolist()
    name, count = next(iter(Counter(archive.namelist()).most_common(1)), ("", 0))
    if count > 1:
        return f"{count} of its parts are called {name!r}"
    if hollow := next((entry for entry in entries if entry.external_attr & _IS_FOLDER and entry.file_size), None):
        return f"its part {hollow.filename!r} is called a folder, and has content"
    bad = archive.testzip()
    return None if bad is None else f"the checksum of its part {bad!r} is wrong"


def _entries_written(path: Path) -> int:
    """Return how many entries the end of an archive says that there are."""
    with path.open("rb") as file:
        file.seek(-min(path.stat().st_size, _LONGEST_END), os.SEEK_END)
        end = file.read()
    start = end.rfind(b"PK\5\6")
    return int.from_bytes(end[start + 10 : start + 12], "little")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make an `OSError` that names the file of whatever a library raises when it can't be written."""
    try:
        yield
    except (CheckpointError, ImportError):
        raise
    except OSError as error:  # it may name a temporary file
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    except Exception as error:  # torch, safetensors and TensorFlow have their own for a full disk
        said = " ".join(str(error).split())
        number = next((n for n in _REASONS if os.strerror(n).lower() in said.lower()), None)
        if number is None:
            raise OSError(errno.EIO, f"{type(error).__name__}: {said}", str(path)) from error
        raise OSError(number, os.strerror(number), str(path)) from error
