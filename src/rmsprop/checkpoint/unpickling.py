"""What of a pickle in a PyTorch checkpoint is brought back: tensors, numbers, plain containers. Nothing in it is run.

PyTorch's own reader does the work (``weights_only``). It refuses every class that it wasn't told of, and training
programs put much beside an optimizer's state that isn't needed: paths, dates, settings of their own. Instances of those
classes are replaced by an empty `StandIn`. What belongs to Python itself and isn't listed here is refused, because it
is what a hostile file would call.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np
import torch

from rmsprop.checkpoint.files import damaged, unreadable
from rmsprop.checkpoint.neutral import quoted


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


def _numpys() -> dict[str, Any]:
    """Return what numbers and arrays of NumPy are rebuilt with, under the names that its versions write."""
    scalar, array = np.float64(0.0).__reduce__()[0], np.zeros(0).__reduce__()[0]
    kinds = {type(np.dtype(code)) for code in np.typecodes["All"] if code != "O"}
    named: dict[str, Any] = {f"{kind.__module__}.{kind.__qualname__}": kind for kind in kinds}
    for core in ("numpy.core.multiarray", "numpy._core.multiarray"):
        named |= {f"{core}.scalar": scalar, f"{core}._reconstruct": array}
    return named | {"numpy.ndarray": np.ndarray, "numpy.dtype": np.dtype}


def _new_dict(*_: Any) -> dict[Any, Any]:
    return {}


def _new_list(*_: Any) -> list[Any]:
    return []


_REBUILT: Mapping[str, Any] = MappingProxyType(
    {**_numpys(), "collections.defaultdict": _new_dict, "collections.deque": _new_list}
)
# Of Python's own modules, what carries nothing but data.
_HARMLESS = re.compile(
    r"(argparse\.Namespace|types\.SimpleNamespace|pathlib\.\w*Path|pathlib\._local\.\w*Path|(_py)?datetime\.\w+"
    r"|zoneinfo\.ZoneInfo(\._unpickle)?|_?decimal\.Decimal|fractions\.Fraction|uuid\.(UUID|SafeUUID)"
    r"|typing\.\w+|collections\.\w+"
    r"|int|float|bool|str|bytes|list|dict|tuple|frozenset|slice|range|object)"  # of builtins
)
_REFUSED = re.compile(r"unsupported (?:global|class)\W+(?:global )?([\w.<>]+)", re.IGNORECASE)


def read_pickled(path: Path, file: Path | BinaryIO) -> tuple[Any, list[str]]:
    """Return what a file of ``torch.save`` holds, without running anything in it.

    Args:
        path: What messages call it.
        file: The file, or a part of one.

    Returns:
        Its content, and the names of the classes whose instances are stand-ins.

    Raises:
        CheckpointError: If it is damaged, or holds what only running it would bring back.
    """
    allowed = dict(_REBUILT)
    left_out: list[str] = []
    while True:
        try:
            with torch.serialization.safe_globals([(found, name) for name, found in allowed.items()]):
                return torch.load(file, map_location="cpu", weights_only=True), left_out
        except Exception as error:  # unpickling what is damaged can fail in any way
            refused = _REFUSED.search(str(error))
            name = refused[1] if refused else ""
            if not name or {name, f"builtins.{name}"} & allowed.keys() or not _is_harmless(name):
                raise _failure(path, name or _unfit(left_out, error), error) from error
        allowed[name if "." in name else f"builtins.{name}"] = StandIn
        if not _HARMLESS.fullmatch(name):
            left_out.append(name)
        if not isinstance(file, Path):
            file.seek(0)


def _is_harmless(name: str) -> bool:
    if _HARMLESS.fullmatch(name):
        return True
    return "." in name and name.partition(".")[0] not in sys.stdlib_module_names


def _unfit(left_out: list[str], error: Exception) -> str:
    """Return the classes that may have been more than attributes, if that is why reading failed."""
    is_container = re.search(r"Can only (append|extend|SETITEM|build|create)", str(error))
    return quoted(left_out) if is_container and left_out else ""


def _failure(path: Path, objects: str, error: Exception) -> Exception:
    if objects:
        return holds_objects(path, objects)
    if "Unsupported operand" in str(error) and isinstance(path, Path) and _starts_as_zip(path):
        return unreadable(
            path, "was saved with another pickle protocol than PyTorch's own: save it again without pickle_protocol"
        )
    return damaged(path, "PyTorch checkpoint")


def _starts_as_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def holds_objects(path: Path, objects: str) -> Exception:
    """Return the error for a file of which nothing but Python objects would tell."""
    return unreadable(
        path,
        f"holds Python objects ({objects}) that only unpickling would bring back, which can run any code: "
        "load it in a program that you trust, and save its optimizer.state_dict()",
    )
