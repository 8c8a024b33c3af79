"""What is in an HDF5 file itself: its groups and datasets by name.

HDF5 has ways to point out of a file: a dataset whose bytes are another file's, one made of parts of other files, a link
to a name in another file. A reader that follows them copies a file of whoever reads into what it writes. Nothing that
Keras writes does any of this.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from rmsprop.checkpoint.files import check_size, unreadable

# Name -> group or dataset, as h5py has them.
Items: TypeAlias = Mapping[str, Any]
# Layers in layers in layers: nobody's model is nested so deep.
_DEEPEST = 64


def plain_items(h5: Any, path: Path) -> Items:
    """Return the groups and datasets of a file, after a look at each.

    Args:
        h5: The file, open.
        path: What messages call it; its size bounds what the file may say that it holds.

    Returns:
        Name -> group or dataset, those of a group follow it.

    Raises:
        CheckpointError: If one points elsewhere, or they say that they hold far more than the file could.
    """
    found: dict[str, Any] = {}
    opened: set[int] = set()
    waiting = [("", h5)]
    size = 0
    while waiting:
        name, item = waiting.pop()
        found[name] = item
        if hasattr(item, "shape"):
            size += int(item.nbytes)
            check_size(path, size)
        elif hasattr(item, "keys"):
            _check_once(item, name, opened, path)
            prefix = f"{name}/" if name else ""
            waiting += reversed([(f"{prefix}{each}", _own(item, each, f"{prefix}{each}", path)) for each in item])
    del found[""]
    return found


def _check_once(group: Any, name: str, opened: set[int], path: Path) -> None:
    """Check that a group isn't in itself, nor too deep."""
    from h5py import h5o

    address = h5o.get_info(group.id).addr
    if address in opened or name.count("/") > _DEEPEST:
        raise unreadable(path, f"has the group {name[:80]} twice, or too deep: it is damaged or made up")
    opened.add(address)


def _own(group: Any, name: str, full: str, path: Path) -> Any:
    """Return a member of a group, which must be in the file itself."""
    from h5py import HardLink

    if not isinstance(group.get(name, getlink=True), HardLink):
        raise _elsewhere(path, full, "is a link to another place or file")
    item = group[name]
    if getattr(item, "is_virtual", False) or getattr(item, "external", None):
        raise _elsewhere(path, full, "has its numbers in another file")
    return item


def _elsewhere(path: Path, name: str, how: str) -> Exception:
    return unreadable(path, f"isn't whole in itself: {name} {how}, which is never followed; save the model again")
