"""Where in a PyTorch checkpoint an optimizer's state dict is. Files are loaded without running anything in them."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from rmsprop.checkpoint.files import damaged, unreadable, whole_zip
from rmsprop.checkpoint.neutral import CheckpointError, quoted

StateDict = dict[str, Any]


def find(source: Any, key: str | None) -> StateDict:
    """Return the one optimizer state dict in a live optimizer, a state dict, a checkpoint around it, or a file."""
    where = ""
    if isinstance(source, Path):
        where, source = f"{source}: ", _load(source)
    if isinstance(source, torch.optim.Optimizer):
        source = source.state_dict()
    found = dict(_state_dicts(source))
    if key is not None and key not in found:
        raise CheckpointError(f"{where}there is no optimizer state dict under {key!r}: {_listed(found)}")
    if not found:
        raise CheckpointError(
            f"{where}there is no optimizer state dict (a dict with 'state' and 'param_groups'): give one, or a "
            "checkpoint that contains one"
        )
    if key is None and len(found) > 1:
        raise CheckpointError(f"{where}there are several optimizer state dicts: say which with key; {_listed(found)}")
    return found[key if key is not None else next(iter(found))]


def _listed(found: Mapping[str, Any]) -> str:
    if "" in found:
        return "it is one itself, so leave out the key"
    return f"it is one of {quoted(found)}" if found else "there is none at all"


def _state_dicts(content: Any, path: str = "", depth: int = 3) -> Iterator[tuple[str, StateDict]]:
    """Find optimizer state dicts, a few levels deep."""
    if isinstance(content, Mapping):
        if isinstance(content.get("state"), Mapping) and _is_groups(content.get("param_groups")):
            yield path, dict(content)
            return
        items = [(str(key), value) for key, value in content.items()]
    elif isinstance(content, list | tuple) and len(content) < 100:
        items = [(str(number), value) for number, value in enumerate(content)]
    else:
        return
    if depth:
        for name, value in items:
            yield from _state_dicts(value, f"{path}.{name}" if path else name, depth - 1)


def _is_groups(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(group, Mapping) and "params" in group for group in value)


def _load(path: Path) -> Any:
    with path.open("rb") as file:
        is_archive = file.read(2) == b"PK"
    if is_archive:
        whole_zip(path)  # torch doesn't look at the checksums
    try:
        # Many training scripts put their arguments beside the state; a Namespace only carries attributes.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling what is damaged can fail in any way
        refused = re.search(r"unsupported (?:global|class)\W+(?:global )?([\w.]+)", str(error), re.IGNORECASE)
        if refused:
            raise unreadable(
                path,
                f"holds Python objects ({refused[1]}) that only unpickling would bring back, which can run any code: "
                "load it in a program that you trust, and save its optimizer.state_dict()",
            ) from error
        raise damaged(path, "PyTorch checkpoint") from error
