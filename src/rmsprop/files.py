"""Files that are whole at any moment: a killed process leaves the previous one."""

from __future__ import annotations

import gzip
import io
import os
import re
import secrets
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TEMPORARY = ".tmp"
# What a packed file may hold, for its size, before it is taken for one that was made to fill the memory. Averages of a
# trained model hardly shrink and text does to a tenth; those of an untrained one are zeros, of which zlib packs 1000 to
# one.
LARGEST_RATIO, ALWAYS_ALLOWED = 100, 2**26


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file under a temporary name beside it, and put it in place once it is whole.

    Args:
        path: The file. A symbolic link stays one, and the file that it leads to is replaced. Who may read and write
            what is there may do so with what replaces it, and nobody else at any time.

    Yields:
        The temporary file to write to, new and empty. It is removed if writing fails.

    Raises:
        OSError: If the file can't be written; it names ``path``.
    """
    file = Path(os.path.realpath(path))
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}{_TEMPORARY}")
    try:
        mode = _created(temporary, _mode(file))
        try:
            yield temporary
            os.chmod(temporary, mode)  # safetensors puts a file of its own there
            os.replace(temporary, file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:  # a full disk doesn't say in which file
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def obstacle(path: Path, *, is_folder: bool = False) -> str | None:
    """Return why a file can't be written, or a folder filled, at a path; the folders above it need not be there.

    Args:
        path: Where to.
        is_folder: Whether it is to be a folder. Default: a file, which may replace one.

    Returns:
        A sentence that begins with a path and ends with what to do; None if nothing is in the way. That a disk is full
        is not seen.

    Examples:
        >>> obstacle(Path("."))
        '. is a folder: give the name of a file'
        >>> obstacle(Path("new", "folder"), is_folder=True)
    """
    remedy = "give another folder" if is_folder else "give another name"
    try:
        wrong = _not_a_folder(path) if is_folder else _not_a_file(path)
        return f"{path} {wrong}" if wrong else _obstacle_above(path, is_folder, remedy)
    except OSError as error:  # a name that is too long, a folder that nobody may look into
        return f"{path} can't be written ({error.strerror or error}): {remedy}"


def _obstacle_above(path: Path, is_folder: bool, remedy: str) -> str | None:
    target = path if is_folder or not path.is_symlink() else Path(os.path.realpath(path))
    there = next(place for place in (*([path] * is_folder), *target.parents) if os.path.lexists(place))
    if not there.is_dir():
        return f"{path}: {there} {_not_a_folder(there) if is_folder else f'is not a folder: {remedy}'}"
    if not os.access(there, os.W_OK | os.X_OK):
        return f"{path}: {there} can't be written in: {remedy}"
    for name in target.relative_to(there).parts:
        (there / name).exists()  # which fails for a name that no file can have
    return None


def _not_a_folder(path: Path) -> str | None:
    if path.is_dir() or not os.path.lexists(path):
        return None
    return "is a file: give a folder" if path.exists() else "is a link that leads nowhere: give another folder"


def _not_a_file(path: Path) -> str | None:
    if path.is_dir():
        return "is a folder: give the name of a file"
    return "is not a regular file: give the name of one" if path.exists() and not path.is_file() else None


def _mode(file: Path) -> int | None:
    """Return who may read and write a file, or None if there is none."""
    return stat.S_IMODE(file.stat().st_mode) & 0o777 if file.exists() else None


def _created(path: Path, mode: int | None) -> int:
    """Make an empty file that this process can write, never one of somebody else's; return the mode it is to have."""
    own = 0o666 if mode is None else mode | stat.S_IWUSR | stat.S_IRUSR
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, own)
    try:
        return stat.S_IMODE(os.fstat(descriptor).st_mode) if mode is None else mode
    finally:
        os.close(descriptor)


def gunzipped(content: bytes) -> bytes:
    """Return what gzip packed, as far as it is in proportion to it.

    Args:
        content: What gzip made.

    Returns:
        The content.

    Raises:
        ValueError: If it is damaged, or swells beyond any text.

    Examples:
        >>> gunzipped(gzip.compress(b"epoch,loss"))
        b'epoch,loss'
    """
    most = ALWAYS_ALLOWED + LARGEST_RATIO * len(content)
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            whole = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(str(error)) from error
    if len(whole) > most:
        raise ValueError(f"it holds over {LARGEST_RATIO} times its size")
    return whole


def leftovers(path: Path) -> list[Path]:
    """Return the temporary files that processes which were killed while they wrote a file have left.

    Args:
        path: The file. Its folder must exist.

    Returns:
        Their paths, in no order.
    """
    temporary = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}{re.escape(_TEMPORARY)}")
    return [other for other in path.parent.iterdir() if temporary.fullmatch(other.name)]


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file in one go: whoever reads it finds the old content or the new.

    The content isn't forced to the disk, which would cost more than an epoch of a small problem: this holds when the
    process is killed at any point; after a power cut it is up to the file system.

    Args:
        path: The file.
        content: Its new content.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content)
