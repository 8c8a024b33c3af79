"""What the description of a distributed checkpoint says: which stretch of which file holds which part of what.

``.metadata`` is a pickle of the classes in ``torch.distributed.checkpoint.metadata``. It is followed and not unpickled.
Nothing in it is believed: a stretch must lie in a file of the folder, and be large enough for what it is to hold.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import torch

from rmsprop.checkpoint.distributed_trees import Key
from rmsprop.checkpoint.files import DISTRIBUTED, check_is_file, damaged, unreadable
from rmsprop.checkpoint.neutral import CheckpointError
from rmsprop.checkpoint.plain_pickles import Record, RefusedNameError, read_plain
from rmsprop.checkpoint.unpickling import holds_objects

_MODULE = re.escape("torch.distributed.checkpoint")
# What PyTorch writes into a description: its own classes, dtypes, and the path of the folder.
_EXPECTED = re.compile(
    rf"{_MODULE}\.metadata\.(Metadata|MetadataIndex|StorageMeta|_MEM_FORMAT_ENCODING|TensorProperties"
    rf"|(Tensor|Chunk|Bytes)StorageMetadata)|{_MODULE}\.filesystem\._StorageInfo"
    r"|torch\.(Size|bool|(q?u?int|b?float|complex)\d\w*|serialization\._get_layout)|pathlib\.(_local\.)?\w*Path"
)
_DEEPEST = 32  # levels of a state dict


@dataclass(frozen=True, kw_only=True, slots=True)
class ByteRange:
    """Where an object is, or a chunk of a tensor, and which of the tensor's numbers that has.

    Args:
        file: The file.
        start: Its first byte there.
        length: How many bytes it takes.
        offsets: Where the chunk begins in the tensor.
        sizes: Its shape.
    """

    file: Path
    start: int
    length: int
    offsets: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A tensor with its chunks, or an object.

    Args:
        name: Its name in the checkpoint.
        stretches: Where they are, or the one where it is.
        shape: The shape of the tensor.
        dtype: Its dtype; None for an object.
    """

    name: str
    stretches: tuple[ByteRange, ...]
    shape: tuple[int, ...] = ()
    dtype: torch.dtype | None = None


def items_of(folder: Path, is_wanted: Callable[[Key], bool]) -> dict[Key, Item | None]:
    """Return what was saved to a folder, in its order, with None for what isn't wanted.

    Args:
        folder: The folder.
        is_wanted: Whether that which stood under some keys is.

    Raises:
        CheckpointError: If the folder isn't a whole checkpoint, or made to be something else.
    """
    described = _description(folder)
    try:
        reader = _Reader(folder, described)
        found = {path: reader.item(name) if is_wanted(path) else None for name, path in _paths(described).items()}
    except CheckpointError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise not_described(folder) from error
    _check_apart(folder, [stretch for item in found.values() if item for stretch in item.stretches])
    return found


def not_described(folder: Path) -> CheckpointError:
    """Return the error for a description that isn't one."""
    return damaged(folder / DISTRIBUTED, "description of a distributed checkpoint of PyTorch")


def _description(folder: Path) -> Mapping[str, Any]:
    """Return the attributes of the description."""
    path = folder / DISTRIBUTED
    if not os.path.lexists(path):
        raise unreadable(
            folder,
            f"is a distributed checkpoint that wasn't written to its end: it has no {DISTRIBUTED}, which PyTorch "
            "writes last: give the folder of one that was",
        )
    _check_is_own(path)
    try:
        return _attributes(read_plain(path.read_bytes(), _EXPECTED.fullmatch), "Metadata")
    except RefusedNameError as error:
        raise holds_objects(path, [str(error)]) from error
    except (TypeError, ValueError) as error:
        raise not_described(folder) from error


def _check_is_own(path: Path) -> None:
    """Check that a file is in the folder itself, and doesn't lead out of it."""
    if path.is_symlink():
        raise unreadable(path, "is a symbolic link, which can lead out of the folder: put the file there")
    if not path.exists():
        raise unreadable(path, f"is missing, but {DISTRIBUTED} names it: give a checkpoint with all its files")
    check_is_file(path)


def _paths(described: Mapping[str, Any]) -> dict[str, Key]:
    """Return under which keys each item stood, in the order in which they were saved."""
    items = _mapping(described["state_dict_metadata"])
    planned = _mapping(described.get("planner_data") or {})
    names = [*(name for name in planned if name in items), *(name for name in items if name not in planned)]
    paths = {name: _path(planned.get(name, (name,))) for name in names}
    if len(set(paths.values())) < len(paths):
        raise ValueError
    return paths


def _path(value: Any) -> Key:
    if not isinstance(value, tuple) or not 0 < len(value) <= _DEEPEST:
        raise TypeError
    if not all(isinstance(key, str) or _is_count(key) for key in value):
        raise TypeError
    return value


class _Reader:
    """What reads the description of each item."""

    def __init__(self, folder: Path, described: Mapping[str, Any]) -> None:
        self.folder = folder
        self.items = _mapping(described["state_dict_metadata"])
        self.places = {_index(key): place for key, place in _mapping(described["storage_data"]).items()}
        self.sizes: dict[str, int] = {}  # of the files

    def item(self, name: str) -> Item:
        record = self.items[name]
        if _is_of(record, "BytesStorageMetadata"):
            return Item(name=name, stretches=(self._stretch(name, None),))
        tensor = _attributes(record, "TensorStorageMetadata")
        shape = _shape(tensor["size"])
        dtype = _dtype(tensor["properties"])
        chunks = [self._chunk(name, dtype, _attributes(each, "ChunkStorageMetadata")) for each in tensor["chunks"]]
        item = Item(name=name, stretches=tuple(filter(None, chunks)), shape=shape, dtype=dtype)
        _check_covered(self.folder, item)
        return item

    def _chunk(self, name: str, dtype: torch.dtype, chunk: Mapping[str, Any]) -> ByteRange | None:
        offsets, sizes = _shape(chunk["offsets"]), _shape(chunk["sizes"])
        if 0 in sizes:  # the share of a rank that has none
            return None
        stretch = self._stretch(name, offsets, sizes)
        if prod(sizes) * dtype.itemsize > stretch.length:
            raise unreadable(
                self.folder,
                f"says that {name!r} has a chunk of shape {sizes}, which is larger than the {stretch.length} bytes it "
                "has for it: it is damaged or made to fill the memory",
            )
        return stretch

    def _stretch(self, name: str, offsets: tuple[int, ...] | None, sizes: tuple[int, ...] = ()) -> ByteRange:
        place = _attributes(self.places[name, offsets], "_StorageInfo")
        file, start, length = place["relative_path"], place["offset"], place["length"]
        if not (isinstance(file, str) and _is_count(start) and _is_count(length)):
            raise TypeError
        if place.get("transform_descriptors"):
            raise unreadable(
                self.folder, "was saved with extensions, which may compress or encrypt: save it again without them"
            )
        if start + length > self._size(file):
            raise unreadable(
                self.folder / file,
                f"ends before what {DISTRIBUTED} says that it holds: it is cut short, or of another checkpoint",
            )
        return ByteRange(file=self.folder / file, start=start, length=length, offsets=offsets or (), sizes=sizes)

    def _size(self, file: str) -> int:
        if file not in self.sizes:
            if file in ("", ".", "..") or re.search(r"[/\\:\0]", file):
                raise unreadable(
                    self.folder,
                    f"names the file {file[:100]!r}, which can be outside of it: a checkpoint's files are in it",
                )
            _check_is_own(self.folder / file)
            self.sizes[file] = (self.folder / file).stat().st_size
        return self.sizes[file]


def _check_covered(folder: Path, item: Item) -> None:
    """Check that a tensor's chunks lie in it and are as many numbers as it has."""
    inside = all(
        len(chunk.offsets) == len(chunk.sizes) == len(item.shape)
        and all(
            start + size <= whole for start, size, whole in zip(chunk.offsets, chunk.sizes, item.shape, strict=True)
        )
        for chunk in item.stretches
    )
    if not inside or sum(prod(chunk.sizes) for chunk in item.stretches) != prod(item.shape):
        raise not_covered(folder, item)


def _ends_inside(start: int, size: int, whole: int) -> bool:
    return start + size <= whole


def not_covered(folder: Path, item: Item) -> CheckpointError:
    """Return the error for a tensor some of whose numbers are saved twice, or not at all."""
    return unreadable(
        folder,
        f"has chunks of {item.name!r} that don't make up its shape {item.shape}, each number once: it is damaged",
    )


def _check_apart(folder: Path, stretches: Iterable[ByteRange]) -> None:
    """Check that no two stretches share bytes, which a small file would fill the memory with."""
    ordered = sorted(stretches, key=lambda stretch: (stretch.file, stretch.start))
    for before, after in pairwise(ordered):
        if before.file == after.file and before.start + before.length > after.start:
            raise unreadable(
                folder,
                f"has two items in the same bytes of {before.file.name}: it is damaged or made to fill the memory",
            )


def _is_of(record: Any, name: str) -> bool:
    return isinstance(record, Record) and record.name.rpartition(".")[2] == name


def _attributes(record: Any, name: str) -> Mapping[str, Any]:
    """Return the attributes of what stands for an object of a class."""
    if not _is_of(record, name):
        raise TypeError
    return _mapping(record.state)


def _mapping(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError
    return value


def _index(key: Any) -> tuple[str, tuple[int, ...] | None]:
    index = _attributes(key, "MetadataIndex")
    offset = index.get("offset")
    return index["fqn"], None if offset is None else _shape(offset)


def _shape(record: Any) -> tuple[int, ...]:
    if not _is_of(record, "Size") or len(record.args) != 1:
        raise TypeError
    (shape,) = record.args
    if not isinstance(shape, tuple) or not len(shape) <= _DEEPEST or not all(map(_is_count, shape)):
        raise TypeError
    return shape


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _dtype(properties: Any) -> torch.dtype:
    if not _is_of(properties, "TensorProperties"):
        raise TypeError
    dtype = getattr(torch, properties.state[0].name.removeprefix("torch."))
    if not isinstance(dtype, torch.dtype):
        raise TypeError
    return dtype
