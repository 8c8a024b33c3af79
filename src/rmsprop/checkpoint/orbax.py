"""Folders of Orbax: which of the checkpoints in one is an optimizer's, and its arrays by path."""

from __future__ import annotations

import asyncio
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rmsprop.checkpoint.files import advice_on_folder, damaged, unreadable
from rmsprop.checkpoint.neutral import quoted

_METADATA = "_METADATA"  # describes one tree of arrays
_MARKS = (_METADATA, "_CHECKPOINT_METADATA", "manifest.ocdbt")
_UNFINISHED = "orbax-checkpoint-tmp"
_AVERAGES = {"nu", "square_avg", "grad_var"}
_DEPTH = 3  # a manager's folder, the step, the item


def checkpoint_in(folder: Path) -> Path:
    """Return the one checkpoint with an optimizer's averages in a folder: the folder itself, a step's or an item's.

    Raises:
        CheckpointError: If there is none or more than one, or the folder is something else.
    """
    if _UNFINISHED in folder.name:
        raise unreadable(folder, "was not written to its end: give a checkpoint that was")
    try:
        found = list(_trees(folder, _DEPTH))
    except OSError as error:
        raise unreadable(folder, f"can't be read: {error.strerror or error}") from error
    if not found:
        if any((folder / mark).exists() for mark in _MARKS):
            raise unreadable(folder, "is a folder of Orbax without the description of a tree of arrays (_METADATA)")
        raise unreadable(folder, f"is a folder: {advice_on_folder(folder)}")
    own = [tree for tree in found if any(_AVERAGES & set(path.split("/")) for path in _paths(tree))]
    if not own:
        raise unreadable(
            folder,
            f"has no optimizer's state in it, only {quoted(_paths(found[0]), 3)}: give the folder that was saved with "
            "the state of the optimizer (opt_state)",
        )
    if len(own) > 1:
        raise unreadable(folder, f"holds several checkpoints: give one of the folders {quoted(map(str, own))}")
    return own[0]


def _trees(folder: Path, depth: int) -> Iterator[Path]:
    if (folder / _METADATA).is_file():
        yield folder
    elif depth:
        for child in sorted(folder.iterdir()):
            if child.is_dir() and _UNFINISHED not in child.name:
                yield from _trees(child, depth - 1)


def _paths(tree: Path) -> list[str]:
    try:
        leaves = json.loads((tree / _METADATA).read_bytes())["tree_metadata"].values()
        return ["/".join(str(part["key"]) for part in leaf["key_metadata"]) for leaf in leaves]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(tree / _METADATA, "description of an Orbax checkpoint") from error


def read_tree(folder: Path) -> dict[str, Any]:
    """Return the arrays and numbers of a checkpoint by their paths, such as ``opt_state/0/nu/dense/kernel``.

    Raises:
        CheckpointError: If there is no optimizer's, or it is damaged.
        ImportError: If Orbax is not installed.
    """
    tree = checkpoint_in(folder)
    import orbax.checkpoint as ocp
    from jax.tree_util import tree_map

    try:
        with _quiet(), _to_the_end(), ocp.PyTreeCheckpointer() as checkpointer:
            described = checkpointer.metadata(tree.resolve()).item_metadata.tree
            as_numpy = tree_map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), described)
            restored = checkpointer.restore(tree.resolve(), args=ocp.args.PyTreeRestore(restore_args=as_numpy))
    except Exception as error:  # JSON, TensorStore and Orbax each have errors of their own
        raise damaged(tree, "checkpoint of Orbax") from error
    return dict(_flattened(restored, ""))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Orbax tells its developers (a file that older versions didn't write) from the log."""
    log = logging.getLogger("absl")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


class _Patient(asyncio.SelectorEventLoop):
    """An event loop that ends what it began before it closes."""

    def close(self) -> None:
        begun = asyncio.all_tasks(self)
        if begun:
            self.run_until_complete(asyncio.wait(begun))
        super().close()


@contextmanager
def _to_the_end() -> Iterator[None]:
    """Let Orbax end the reading of every array.

    At the first one that is damaged it closes its event loop, and the others, which threads still read, print a
    traceback each.
    """
    new_loop = asyncio.new_event_loop
    asyncio.new_event_loop = _Patient
    try:
        yield
    finally:
        asyncio.new_event_loop = new_loop


def _flattened(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping | list | tuple):
        items = node.items() if isinstance(node, Mapping) else enumerate(node)
        for name, child in items:
            yield from _flattened(child, f"{path}/{name}" if path else str(name))
    elif isinstance(node, int | float) or hasattr(node, "shape"):
        yield path, node
