"""Which module reads a source whose format wasn't given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rmsprop.checkpoint.archive import read_arrays
from rmsprop.checkpoint.files import check_is_file
from rmsprop.checkpoint.formats import FORMATS
from rmsprop.checkpoint.neutral import CheckpointError

_SUFFIXES = {
    ".pt": "torch",
    ".pth": "torch",
    ".bin": "torch",
    ".keras": "keras",
    ".h5": "keras",
    ".index": "tensorflow",
}


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
        return _module_of_file(source)
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
        f"it can't be told what a {type(source).__name__} is: give its format, one of {', '.join(FORMATS)}"
    )


def _module_of_file(path: Path) -> str:
    if path.suffix in _SUFFIXES:
        return _SUFFIXES[path.suffix]
    if path.with_name(path.name + ".index").exists():
        return "tensorflow"
    if path.suffix in (".npz", ".safetensors"):
        check_is_file(path)
        return _module_of_mapping(read_arrays(path))
    check_is_file(path)
    raise CheckpointError(
        f"it can't be told from the name {path} what it is: give its format, one of {', '.join(FORMATS)}"
    )


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
