"""Files that are whole at any moment: a killed process leaves the previous one."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_TEMPORARY = ".tmp"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file under a temporary name beside it, and put it in place once it is whole.

    Args:
        path: The file. A symbolic link stays one, and the file that it leads to is replaced.

    Yields:
        The temporary file to write to, new and empty. It is removed if writing fails.

    Raises:
        OSError: If the file can't be written; it names ``path``.
    """
    file = Path(os.path.realpath(path))
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(4)}{_TEMPORARY}")
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # never a file of somebody else's
        try:
            yield temporary
            os.replace(temporary, file)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:  # a full disk doesn't say in which file
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


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
