"""The optimizer's part of Keras' files, read and replaced without Keras: nothing in them is run or unpickled."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rmsprop.checkpoint.arguments import called
from rmsprop.checkpoint.contents import check_contents
from rmsprop.checkpoint.files import damaged, unreadable, whole_zip
from rmsprop.checkpoint.hdf5 import Items, plain_items
from rmsprop.checkpoint.neutral import Array, CheckpointError, quoted
from rmsprop.files import replacing

_WEIGHTS = "model.weights.h5"
_OPTIMIZER = "optimizer"
_VARIABLES = "/vars"
_NAMED = "optimizer_weights"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """An optimizer's variables as a file has them.

    Args:
        path: The file.
        config: The optimizer's configuration, or None if the file has none.
        is_ours: Whether it is that of `rmsprop.keras.RMSprop`.
        arrays: Number -> array.
        group: The optimizer's name in the file.
        model: The shapes of the model's own variables.
    """

    path: Path
    config: Mapping[str, Any] | None
    is_ours: bool
    arrays: Mapping[str, Array]
    group: str
    model: Sequence[tuple[int, ...]]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The shapes of the numbered variables, in their order."""
        return [self.arrays[str(number)].shape for number in range(sum(name.isdecimal() for name in self.arrays))]

    def array(self, number: str) -> Array:
        """Return a variable by its number."""
        if number not in self.arrays:
            raise unreadable(self.path, f"lacks the optimizer's variable {number}: it is damaged")
        return self.arrays[number]


def read_file(path: Path, key: str | None) -> Stored:
    """Read an optimizer's variables from a .keras, .weights.h5 or .h5 file.

    Args:
        path: The file.
        key: The optimizer's name in it, if there are several.

    Raises:
        CheckpointError: If it is damaged, or has no RMSProp in it.
    """
    _h5py()
    check_contents(path, "keras")
    try:
        if path.suffix == ".keras":
            whole_zip(path)
            with zipfile.ZipFile(path) as archive:
                compiled = json.loads(archive.read("config.json")).get("compile_config") or {}
                return _stored(path, io.BytesIO(archive.read(_WEIGHTS)), compiled.get("optimizer"), key)
        return _stored(path, path, None, key)
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


def _stored(path: Path, file: Any, optimizer: Any, key: str | None) -> Stored:
    with _h5py().File(file, "r") as h5:
        items = plain_items(h5, path)
        if "training_config" in h5.attrs:
            optimizer = json.loads(h5.attrs["training_config"]).get("optimizer_config")
        group, places = _places(h5, items, path, key)
        kinds = {items[place].dtype.kind for place in places.values()}
        if "V" in kinds:
            raise unreadable(path, "keeps the optimizer's variables in bfloat16: convert the live optimizer instead")
        if not kinds <= set("fiu"):
            raise unreadable(path, "keeps something else than numbers in the optimizer's variables: it is damaged")
        arrays = {number: np.array(items[place]) for number, place in places.items()}
        model = _model_shapes(items)
    own = _configuration(optimizer, group)
    if own is not None and own.get("class_name", "").rpartition(">")[2] != "RMSprop":
        raise unreadable(path, f"is of the optimizer {own.get('class_name')}, not of RMSprop")
    config = None if own is None else own["config"]
    if config is not None and "decay" in config:  # its ε stands elsewhere
        raise unreadable(
            path,
            "is of tf_keras.optimizers.legacy or of Keras before 2.11, whose optimizer is read from a TensorFlow "
            "checkpoint only: save one with tf.train.Checkpoint",
        )
    is_ours = any(name.endswith("_variance") for name in arrays) or (config is not None and "eps_inside_sqrt" in config)
    return Stored(path=path, config=config, is_ours=is_ours, arrays=arrays, group=group, model=model)


def _configuration(optimizer: Any, group: str) -> Mapping[str, Any] | None:
    """Return the configuration of the optimizer of that name, or None if the file has none."""
    if not isinstance(optimizer, Mapping):
        return None
    if group == f"{_OPTIMIZER}/inner_optimizer":
        optimizer = optimizer["config"].get("inner_optimizer")
    elif group != _OPTIMIZER:
        return None
    return optimizer if isinstance(optimizer, Mapping) else None


def _places(h5: Any, items: Items, path: Path, key: str | None) -> tuple[str, dict[str, str]]:
    """Return the optimizer's name and, per number, where in the file the variable is."""
    if _NAMED in items:
        names = h5[_NAMED].attrs["weight_names"]
        texts = [name.decode() if isinstance(name, bytes) else str(name) for name in names]
        found = {_OPTIMIZER: {str(number): f"{_NAMED}/{name}" for number, name in enumerate(texts)}}
    else:
        counted = _counted(items)
        # An optimizer around another one keeps copies of its variables.
        inner = [name for name in counted if not any(other.startswith(f"{name}/") for other in counted)]
        groups = {name: items[name + _VARIABLES] for name in inner}
        found = {
            name: {number: f"{name}{_VARIABLES}/{number}" for number in group}
            for name, group in groups.items()
            if len(group) > 2 or any(items[f"{name}{_VARIABLES}/{number}"].shape for number in group)
        }
    if not found:
        raise unreadable(
            path, "has no optimizer's variables in it: save the model compiled, after at least one step of training"
        )
    if key is not None and key not in found:
        raise unreadable(path, f"has no optimizer called {key!r} in it: there is {quoted(found)}")
    if key is None and len(found) > 1:
        raise unreadable(path, f"has several optimizers in it: say with {called('key')} which of {quoted(found)}")
    name = next(iter(found)) if key is None else key
    return name, found[name]


def _counted(items: Items) -> list[str]:
    """Return what may be an optimizer: its numbered variables start with a count."""
    first = f"{_VARIABLES}/0"
    counts = [(name, item) for name, item in items.items() if name.endswith(first) and hasattr(item, "dtype")]
    return [name.removesuffix(first) for name, item in counts if item.shape == () and item.dtype.kind in "iu"]


def _model_shapes(items: Items) -> list[tuple[int, ...]]:
    """Return the shapes of all variables but those of optimizers and metrics."""
    apart = ("metrics", f"{_NAMED}/", *(f"{name}{_VARIABLES}/" for name in _counted(items)))
    return [item.shape for name, item in items.items() if hasattr(item, "shape") and not name.startswith(apart)]


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
        raise unreadable(path, f"must end in {like.suffix}, as the file given with {called('like')} does")
    with replacing(path) as temporary:
        if path.suffix == ".keras":
            _copy_archive(arrays, temporary, like)
        else:
            shutil.copyfile(like, temporary)
            _replace(arrays, temporary, like)


def _copy_archive(arrays: Mapping[str, Array], path: Path, like: Path) -> None:
    with zipfile.ZipFile(like) as old, zipfile.ZipFile(path, "w") as new:
        for item in old.infolist():
            content = old.read(item)
            if item.filename == _WEIGHTS:
                weights = io.BytesIO(content)
                _replace(arrays, weights, like)
                content = weights.getvalue()
            new.writestr(item, content)


def _replace(arrays: Mapping[str, Array], file: Any, like: Path) -> None:
    with _h5py().File(file, "r+") as h5:
        items = plain_items(h5, like)
        _, places = _places(h5, items, like, None)
        for number, array in arrays.items():
            items[places[number]][...] = array
