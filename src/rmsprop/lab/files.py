"""Files that are whole at any moment: a killed process leaves the previous one."""

from __future__ import annotations

import os
from pathlib import Path

TEMPORARY = ".tmp"


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file in one go: whoever reads it finds the old content or the new.

    The content isn't forced to the disk, which would cost more than an epoch of a small problem: this holds when the
    process is killed at any point; after a power cut it is up to the file system.

    Args:
        path: The file.
        content: Its new content.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:  # a full disk doesn't say in which file
        raise OSError(error.errno, error.strerror, str(path)) from error
