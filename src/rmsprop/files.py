"""Files that are whole at any moment: a killed process leaves the previous one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TEMPORARY = ".tmp"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file under a temporary name beside it, and put it in place once it is whole.

    Args:
        path: The file.

    Yields:
        The temporary name to write to. It is removed if writing fails.

    Raises:
        OSError: If the file can't be written; it names ``path``.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:  # a full disk doesn't say in which file
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


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
