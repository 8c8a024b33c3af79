"""What tables to train on and histories to diagnose have in common as files of text."""

from __future__ import annotations

import re

from rmsprop.files import gunzipped
from rmsprop.lab.errors import InputError

_GZIP = b"\x1f\x8b"
_SEPARATOR = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)


def unpacked(name: str, content: bytes) -> bytes:
    """Return a file's content without gzip's packing.

    Args:
        name: What errors call the file.
        content: The file's bytes.

    Returns:
        The content; the same if it isn't packed.

    Raises:
        InputError: If it is packed, and damaged or far larger than it looks.
    """
    if not content.startswith(_GZIP):
        return content
    try:
        return gunzipped(content)
    except ValueError as error:
        raise InputError(f"{name} is not a readable gzip file ({error}): copy it once more") from error


def declared_separator(line: str) -> str | None:
    """Return what a first line such as Excel's ``sep=;`` says to stand between the columns below.

    Args:
        line: The line.

    Returns:
        The character; None if it is no such line.

    Examples:
        >>> declared_separator("sep=;"), declared_separator('"SEP=|"'), declared_separator("step;loss")
        (';', '|', None)
    """
    said = _SEPARATOR.fullmatch(line)
    return said[1] if said else None
