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


def unpacked(content: bytes) -> bytes:
    """Return what gzip packed, as far as it is in proportion to it.

    Args:
        content: What gzip made.

    Returns:
        The content.

    Raises:
        ValueError: If it is damaged, or swells beyond any text.

    Examples:
        >>> unpacked(gzip.compress(b"epoch,loss"))
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
