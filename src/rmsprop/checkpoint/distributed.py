"""Folders of ``torch.distributed.checkpoint``: an optimizer's state dict, with whole tensors, of what ranks have saved.

Each stretch of a file is what ``torch.save`` writes, and is read as such a file is. `distributed_metadata` finds them.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rmsprop.checkpoint.distributed_metadata import (
    ByteRange,
    Item,
    items_of,
    not_covered,
    not_described,
)
from rmsprop.checkpoint.distributed_trees import is_optimizers, tree_of
from rmsprop.checkpoint.files import BAD_ZIP, DISTRIBUTED, damaged, flaw_of, unreadable
from rmsprop.checkpoint.unpickling import read_pickled


def read_folder(folder: Path) -> tuple[dict[Any, Any], list[str]]:
    """Return the optimizers' state dicts in a folder, as they stood in what was saved.

    Args:
        folder: One that `is_distributed`.

    Returns:
        What was saved, with None for what isn't an optimizer's, with flattened state dicts in their nested form and
        parameters by their numbers; and the names of classes whose instances are stand-ins.

    Raises:
        CheckpointError: If it isn't whole, or made to be something else.
    """
    left_out: dict[str, None] = {}
    items = items_of(folder, is_optimizers)
    values = {path: _value(folder, item, left_out) for path, item in items.items() if item}
    try:
        tree = tree_of(values)
    except (LookupError, TypeError, ValueError) as error:
        raise not_described(folder) from error
    return dict.fromkeys(path[0] for path in items if path not in values) | tree, list(left_out)


def _value(folder: Path, item: Item, left_out: dict[str, None]) -> Any:
    """Return a whole tensor, or an object."""
    if item.dtype is None:
        return _loaded(item.stretches[0], left_out)
    whole = torch.empty(item.shape, dtype=item.dtype, device="cpu")
    is_filled = torch.zeros(item.shape, dtype=torch.bool, device="cpu")
    for stretch in item.stretches:
        place = tuple(slice(start, start + size) for start, size in zip(stretch.offsets, stretch.sizes, strict=True))
        chunk = _loaded(stretch, left_out)
        if not _is_as_said(chunk, item, stretch):
            raise unreadable(stretch.file, f"has something else in the place of {item.name!r} than {DISTRIBUTED} says")
        if is_filled[place].any():
            raise not_covered(folder, item)
        is_filled[place] = True
        whole[place] = chunk
    return whole


def _is_as_said(chunk: Any, item: Item, stretch: ByteRange) -> bool:
    return isinstance(chunk, Tensor) and chunk.dtype == item.dtype and tuple(chunk.shape) == stretch.sizes


def _loaded(stretch: ByteRange, left_out: dict[str, None]) -> Any:
    with stretch.file.open("rb") as file:
        file.seek(stretch.start)
        content = io.BytesIO(file.read(stretch.length))
    _check_whole(stretch, content)
    value, names = read_pickled(stretch.file, content)
    left_out |= dict.fromkeys(names)
    return value


def _check_whole(stretch: ByteRange, content: io.BytesIO) -> None:
    """Check the checksums, which torch doesn't look at, and that nothing is packed, which torch never does."""
    try:
        with zipfile.ZipFile(content) as archive:
            is_whole = sum(part.file_size for part in archive.infolist()) < stretch.length and not flaw_of(archive)
    except (*BAD_ZIP, OSError):
        is_whole = False
    if not is_whole:
        raise damaged(stretch.file, "file of a distributed checkpoint")
    content.seek(0)
