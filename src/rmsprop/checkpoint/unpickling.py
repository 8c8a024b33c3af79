"""What of a pickle in a PyTorch checkpoint is brought back: tensors, numbers, plain containers. Nothing in it is run.

PyTorch's own reader does the work (``weights_only``). It refuses every class that it wasn't told of, and training
programs put much beside an optimizer's state that isn't needed: numbers of NumPy, paths, dates, settings of their own.
It is told of stand-ins for those: functions and classes of this module, which keep nothing but numbers. What belongs to
Python itself and isn't listed here is refused, because it is what a hostile file would call.
"""

from __future__ import annotations

import io
import pickletools
import re
import sys
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
import torch

from rmsprop.checkpoint.files import BAD_ZIP, check_size, damaged, unreadable
from rmsprop.checkpoint.neutral import CheckpointError, quoted


class StandIn:
    """What stands in the place of an object that isn't brought back. It keeps nothing of it.

    Examples:
        >>> isinstance(StandIn("anything", 1), StandIn)
        True
    """

    def __init__(self, *_: Any) -> None:
        """Take what the object would have been made of."""

    def __setstate__(self, _: Any) -> None:
        """Take its attributes."""


class _DictStandIn:
    def __new__(cls, *_: Any) -> Any:
        return OrderedDict()  # which the reader lets have attributes, too


class _ListStandIn:
    def __new__(cls, *_: Any) -> Any:
        return []


class _DType:
    """The dtype of a number. NumPy's own can be told to take any bytes for pointers."""

    def __init__(self, code: Any = "", *_: Any) -> None:
        self.code = code if isinstance(code, str) and re.fullmatch(r"b1|[iu][1248]|f[248]|c8|c16", code) else ""

    def __setstate__(self, state: Any) -> None:
        self.code = (">" if ">" in state else "") + self.code if self.code else ""


def _number(dtype: Any = None, data: Any = None) -> Any:
    """Return a number of NumPy as one of Python, and a stand-in for what else NumPy has as a scalar."""
    if not (isinstance(dtype, _DType) and dtype.code and isinstance(data, bytes)):
        return StandIn()
    return np.frombuffer(data, np.dtype(dtype.code), count=1)[0].item()


_REBUILT: Mapping[str, Any] = MappingProxyType(
    {
        "numpy.dtype": _DType,
        "numpy.core.multiarray.scalar": _number,  # before NumPy 2
        "numpy._core.multiarray.scalar": _number,
        "collections.defaultdict": _DictStandIn,
        "collections.deque": _ListStandIn,
    }
)
# What carries nothing but data, as far as Python and NumPy have it.
_HARMLESS = re.compile(
    r"argparse\.Namespace|types\.SimpleNamespace|pathlib\.(_local\.)?\w*Path|_?(py)?datetime\.\w+"
    r"|zoneinfo\.ZoneInfo(\._unpickle)?|_?decimal\.Decimal|fractions\.Fraction|uuid\.(UUID|SafeUUID)"
    r"|typing\.\w+|collections\.\w+"
    r"|int|float|bool|str|bytes|list|dict|tuple|frozenset|slice|range|object|type"  # of builtins
    r"|numpy\.(_?core\.multiarray\._reconstruct|ndarray|(float|int|uint|complex|bool|str|bytes)\w*)"
)
_LONGEST_NAME = 1000
_NAMING = {b"c": "GLOBAL", b"i": "INST"}  # the opcodes that a class is named after
_OLD_PICKLES = 5  # before PyTorch 1.6: a number, a version, the machine, the content, the names of storages
_PYTHONS = sys.stdlib_module_names | {"commands"}  # the latter is of Python 2, whose names pickles still use
_REFUSED = re.compile(r"unsupported (?:global|class)\W+(?:global )?([\w.<>]+)", re.IGNORECASE)
_CONTAINER = re.compile(r"Can only (\w+) .*but got <class 'stand-in\.([\w.<>]+)'>")


def read_pickled(path: Path, file: Path | BinaryIO) -> tuple[Any, list[str]]:
    """Return what a file of ``torch.save`` holds, without running anything in it.

    Args:
        path: What messages call it.
        file: The file, or a part of one.

    Returns:
        Its content, and the names of the classes whose instances are stand-ins and may have been more than data.

    Raises:
        CheckpointError: If it is damaged, or holds what only running it would bring back.
    """
    _check_names(path, file)
    allowed = dict(_REBUILT)
    while True:
        try:
            with _reading(allowed):
                return torch.load(file, map_location="cpu", weights_only=True), _told(allowed)
        except Exception as error:  # unpickling what is damaged can fail in any way
            found = _stand_in(str(error), allowed)
            if found is None:
                raise _failure(path, error, allowed) from error
        allowed |= found
        if not isinstance(file, Path):
            file.seek(0)


def _check_names(path: Path, file: Path | BinaryIO) -> None:
    """Check that no class has a name as long as nobody's is: PyTorch's error for one takes the square of its length."""
    with file.open("rb") if isinstance(file, Path) else nullcontext(file) as stream:
        pickles = _pickles(path, stream)
        if any(len(name) > _LONGEST_NAME for pickled in pickles for name in _classes(pickled)):
            raise damaged(path, "PyTorch checkpoint")
        stream.seek(0)


def _pickles(path: Path, stream: BinaryIO) -> Iterator[BinaryIO]:
    """Yield the pickles in a file of ``torch.save``: those in an archive, or one after the other at its start."""
    is_archive = stream.read(2) == b"PK"
    stream.seek(0)
    if not is_archive:
        yield from [stream] * _OLD_PICKLES
        return
    try:
        with zipfile.ZipFile(stream) as archive:
            check_size(path, sum(entry.file_size for entry in archive.infolist()))
            names = [name for name in archive.namelist() if name.endswith("data.pkl")]
            contents = [archive.read(name) for name in names]
    except (*BAD_ZIP, OSError) as error:  # an archive in an archive may be made up where the outer one isn't
        raise error if isinstance(error, CheckpointError) else damaged(path, "PyTorch checkpoint") from error
    yield from map(io.BytesIO, contents)


def _classes(stream: BinaryIO) -> Iterator[str]:
    """Yield the names of the classes and functions in a pickle, as far as it can be read."""
    after = stream.tell()
    try:
        for code, name, _ in pickletools.genops(stream):
            after = stream.tell()
            if code.name in _NAMING.values():
                yield str(name)
    except Exception:  # unpickling what is damaged can fail in any way, and PyTorch says that it is
        stream.seek(after)
        if stream.read(1) in _NAMING:  # PyTorch reads names that pickletools refuses, such as one that the file ends in
            yield (stream.readline() + stream.readline()).decode(errors="replace")


@contextmanager
def _reading(allowed: Mapping[str, Any]) -> Iterator[None]:
    pairs: list[Any] = [(found, name) for name, found in allowed.items()]
    with torch.serialization.safe_globals(pairs), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected pickle protocol")  # what can't be read of it is an error
        yield


def _stand_in(message: str, allowed: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what is to stand for the class that reading failed on, or None if nothing may."""
    if container := _CONTAINER.search(message):
        return {container[2]: _ListStandIn if container[1] in ("append", "extend") else _DictStandIn}
    refused = _REFUSED.search(message)
    if refused is None or not _is_harmless(refused[1]):
        return None
    name = refused[1] if "." in refused[1] else f"builtins.{refused[1]}"
    return None if name in allowed else {name: type(name, (StandIn,), {"__module__": "stand-in"})}


def _is_harmless(name: str) -> bool:
    if _HARMLESS.fullmatch(name):
        return True
    return "." in name and name.partition(".")[0] not in _PYTHONS


def _told(allowed: Mapping[str, Any]) -> list[str]:
    names = [name for name in allowed if name not in _REBUILT]
    return [name for name in names if not _HARMLESS.fullmatch(name.removeprefix("builtins."))]


def _failure(path: Path, error: Exception, allowed: Mapping[str, Any]) -> CheckpointError:
    refused = _REFUSED.search(str(error))
    if refused:
        return holds_objects(path, [refused[1]])
    if "Unsupported operand" in str(error) and _starts_as_zip(path):
        return unreadable(
            path, "was saved with another pickle protocol than PyTorch's own: save it again without pickle_protocol"
        )
    if re.search("Can only (append|extend|SETITEM|build|create)", str(error)) and (told := _told(allowed)):
        return holds_objects(path, told)
    return damaged(path, "PyTorch checkpoint")


def _starts_as_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def holds_objects(path: Path, names: list[str]) -> CheckpointError:
    """Return the error for a file of which nothing but Python objects would tell."""
    return unreadable(
        path,
        f"holds Python objects ({shortened(names)}) that only unpickling would bring back, which can run any code: "
        "load it in a program that you trust, and save its optimizer.state_dict()",
    )


def shortened(names: list[str]) -> str:
    """Return names for a message, the first few of many."""
    return quoted(names, 3).replace("'", "")
