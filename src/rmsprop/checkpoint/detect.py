"""Which module reads a source whose format wasn't given."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rmsprop.checkpoint.archive import read_arrays
from rmsprop.checkpoint.arguments import called
from rmsprop.checkpoint.contents import kind_of
from rmsprop.checkpoint.files import check_is_file, is_distributed, unreadable
from rmsprop.checkpoint.formats import FORMATS
from rmsprop.checkpoint.neutral import CheckpointError, quoted
from rmsprop.checkpoint.orbax import checkpoint_in

_SUFFIXES = {
    ".pt": "torch",
    ".pth": "torch",
    ".bin": "torch",
    ".ckpt": "torch",
    ".tar": "torch",
    ".keras": "keras",
    ".h5": "keras",
    ".index": "tensorflow",
}
_ARRAYS = (".npz", ".safetensors")
_TENSORFLOWS_DATA = re.compile(r"\.data-\d{5}-of-\d{5}$")


def module_of(source: Any) -> str:
    """Return the module for a source whose format wasn't given.

    Args:
        source: What `rmsprop.checkpoint.load` takes.

    Returns:
        The name of a module under `rmsprop.checkpoint`.

    Raises:
        CheckpointError: If it can't be told.

    Examples:
        >>> module_of({"rule/decay": 0.9})
        'numpy'
    """
    if isinstance(source, Path):
        return _module_of_path(source)
    if isinstance(source, Mapping):
        return _module_of_mapping(source)
    module = type(source).__module__
    if module.startswith("rmsprop.numpy"):
        return "numpy"
    if hasattr(source, "param_groups"):
        return "torch"
    if hasattr(source, "iterations") and hasattr(source, "learning_rate"):
        return "keras"
    if isinstance(source, tuple):
        return "optax"
    raise CheckpointError(
        f"it can't be told what a {type(source).__name__} is: give its {called('format')}, one of {', '.join(FORMATS)}"
    )


def _module_of_path(path: Path) -> str:
    if path.suffix == ".index" or _TENSORFLOWS_DATA.search(path.name) or os.path.exists(f"{path}.index"):
        return "tensorflow"
    if is_distributed(path):
        return "torch"
    if os.path.isdir(path):
        checkpoint_in(path)
        return "optax"
    check_is_file(path)
    kind = kind_of(path)
    if kind is None and path.suffix in _SUFFIXES:
        return _SUFFIXES[path.suffix]
    if kind is None and path.suffix not in _ARRAYS:
        raise CheckpointError(
            f"it can't be told from {path} what it is: give its {called('format')}, one of {', '.join(FORMATS)}"
        )
    if kind is None or "optax" in kind.modules:
        return _module_of_arrays(path)
    if not kind.modules:
        raise unreadable(path, f"is {kind.words}: {kind.remedy}")
    return kind.modules[0]


def _module_of_arrays(path: Path) -> str:
    arrays = read_arrays(path)
    module = _module_of_mapping(arrays)
    if module == "torch":
        raise unreadable(
            path,
            f"has no optimizer's state in it, only arrays called {quoted(arrays, 3)}: give the file that the optimizer "
            "was saved to",
        )
    return module


def _module_of_mapping(source: Mapping[Any, Any]) -> str:
    """Return the module for a mapping: a torch checkpoint, or arrays by name."""
    keys = {str(key) for key in source}
    if "rule/decay" in keys:
        return "numpy"
    if any("/.OPTIMIZER_SLOT/" in key or key.endswith("/RMSProp") for key in keys):
        return "tensorflow"
    parts = {part for key in keys for part in key.split("/")}
    if parts & {"nu", "grad_var", "square_avg"}:
        return "optax"
    return "torch"
