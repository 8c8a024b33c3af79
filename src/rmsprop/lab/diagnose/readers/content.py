"""What is in a file or comes through standard input, unpacked."""

from __future__ import annotations

import codecs
import sys
import unicodedata
from pathlib import Path

from rmsprop.files import unpacked
from rmsprop.lab.errors import InputError

STANDARD_INPUT = Path("-")
_PACKED = b"\x1f\x8b"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def content_of(path: Path) -> bytes:
    """Return what a file holds.

    Args:
        path: The file, perhaps packed by gzip; ``-`` is standard input.

    Returns:
        The content, unpacked.

    Raises:
        InputError: If it is packed and damaged.
    """
    content = sys.stdin.buffer.read() if path == STANDARD_INPUT else path.read_bytes()
    if not content.startswith(_PACKED):
        return content
    try:
        return unpacked(content)
    except ValueError as error:
        raise InputError(f"{path} can't be unpacked ({error}): copy it once more") from error


def name_of(path: Path) -> str:
    """Return what to call the run that a file tells of.

    Args:
        path: The file.

    Returns:
        Its name without what follows a dot.

    Examples:
        >>> name_of(Path("logs/first.csv.gz"))
        'first'
    """
    if path == STANDARD_INPUT:
        return "stdin"
    return Path(path.stem).stem if path.suffix == ".gz" else path.stem


def text_of(content: bytes, where: str) -> str:
    """Return the text of a file.

    Args:
        content: What it holds.
        where: What it is, for an error.

    Returns:
        The text, in which é is one character however the file has it.

    Raises:
        InputError: If it isn't text in UTF-8, or in UTF-16 as PowerShell and Excel write it.
    """
    try:
        text = content.decode("utf-16" if content.startswith(_UTF16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{where} is not text in UTF-8: give a CSV or JSON file, a recorder's file or TensorBoard's events"
        ) from error
    if "\0" in text:
        raise InputError(f"{where} is not text: give a CSV or JSON file, a recorder's file or TensorBoard's events")
    return text if text.isascii() else unicodedata.normalize("NFC", text)
