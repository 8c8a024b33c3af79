"""The optimizer's part of Keras' files, read and replaced without Keras: nothing in them is run or unpickled."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rmsprop.checkpoint.files import damaged, unreadable, whole_zip
from rmsprop.checkpoint.neutral import Array, CheckpointError
from rmsprop.files import replacing

_WEIGHTS = "model.weights.h5"
_NUMBERED = "optimizer/vars"
_NAMED = "optimizer_weights"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """An optimizer's variables as a file has them.

    Args:
        path: The file.
        config: The optimizer's configuration, or None if the file has none.
        is_ours: Whether it is that of `rmsprop.keras.RMSprop`.
        arrays: Number -> array.
    """

    path: Path
    config: Mapping[str, Any] | None
    is_ours: bool
    arrays: Mapping[str, Array]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the numbered variables, in their order."""
        return [self.arrays[str(number)].shape for number in range(sum(name.isdecimal() for name in self.arrays))]

    def array(self, number: str) -> Array:
        """Return a variable by its number."""
        if number not in self.arrays:
            raise unreadable(self.path, f"lacks the optimizer's variable {number}: it is damaged")
        return self.arrays[number]


def read_file(path: Path) -> Stored:
    """Read an optimizer's variables from a .keras, .weights.h5 or .h5 file.

    Raises:
        CheckpointError: If it is damaged, or has no RMSProp in it.
    """
    _h5py()
    try:
        if path.suffix == ".keras":
            whole_zip(path)
            with zipfile.ZipFile(path) as archive:
                compiled = json.loads(archive.read("config.json")).get("compile_config") or {}
                return _stored(path, io.BytesIO(archive.read(_WEIGHTS)), compiled.get("optimizer"))
        return _stored(path, path, None)
    except CheckpointError:
        raise
    except Exception as error:  # HDF5 reports damage as OSError, KeyError, RuntimeError and others
        raise damaged(path, f"{path.suffix} file of Keras") from error


def _h5py() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise ImportError("Keras' files need h5py: pip install h5py") from error
    return h5py


def _stored(path: Path, file: Any, optimizer: Mapping[str, Any] | None) -> Stored:
    with _h5py().File(file, "r") as h5:
        if "training_config" in h5.attrs:
            optimizer = json.loads(h5.attrs["training_config"]).get("optimizer_config")
        places = _places(h5)
        if not places:
            raise unreadable(
                path, "has no optimizer's variables in it: save the model compiled, after at least one step of training"
            )
        arrays = {number: np.array(h5[place]) for number, place in places.items()}
    if optimizer is not None and optimizer.get("class_name", "").rpartition(">")[2] != "RMSprop":
        raise unreadable(path, f"is of the optimizer {optimizer.get('class_name')}, not of RMSprop")
    config = None if optimizer is None else optimizer["config"]
    is_ours = any(name.endswith("_variance") for name in arrays) or (config is not None and "eps_inside_sqrt" in config)
    return Stored(path=path, config=config, is_ours=is_ours, arrays=arrays)


def _places(h5: Any) -> dict[str, str]:
    """Return, per number, where in the file the variable is."""
    if _NUMBERED in h5:
        return {name: f"{_NUMBERED}/{name}" for name in h5[_NUMBERED]}
    if _NAMED in h5:
        names = h5[_NAMED].attrs["weight_names"]
        texts = (name.decode() if isinstance(name, bytes) else str(name) for name in names)
        return {str(number): f"{_NAMED}/{name}" for number, name in enumerate(texts)}
    return {}


def write_file(arrays: Mapping[str, Array], path: Path, like: Path) -> None:
    """Write a copy of a file with some of the optimizer's variables replaced, whole or not at all.

    Args:
        arrays: Number -> array.
        path: The new file.
        like: The file to copy.

    Raises:
        CheckpointError: If ``path`` has another suffix than ``like``.
    """
    if path.suffix != like.suffix:
        raise unreadable(path, f"must end in {like.suffix}, as the file given with like does")
    with replacing(path) as temporary:
        if path.suffix == ".keras":
            _copy_archive(arrays, temporary, like)
        else:
            shutil.copyfile(like, temporary)
            _replace(arrays, temporary)


def _copy_archive(arrays: Mapping[str, Array], path: Path, like: Path) -> None:
    with zipfile.ZipFile(like) as old, zipfile.ZipFile(path, "w") as new:
        for item in old.infolist():
            content = old.read(item)
            if item.filename == _WEIGHTS:
                weights = io.BytesIO(content)
                _replace(arrays, weights)
                content = weights.getvalue()
            new.writestr(item, content)


def _replace(arrays: Mapping[str, Array], file: Any) -> None:
    with _h5py().File(file, "r+") as h5:
        places = _places(h5)
        for number, array in arrays.items():
            h5[places[number]][...] = array
