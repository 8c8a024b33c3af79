"""Where in a PyTorch checkpoint an optimizer's state dict is. Files are loaded without running anything in them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rmsprop.checkpoint.arguments import called
from rmsprop.checkpoint.contents import check_contents
from rmsprop.checkpoint.distributed import read_folder
from rmsprop.checkpoint.files import is_distributed, whole_zip
from rmsprop.checkpoint.neutral import CheckpointError, quoted
from rmsprop.checkpoint.unpickling import holds_objects, read_pickled

StateDict = dict[str, Any]
_SB3 = ".pth"  # the suffix of the parts of Stable-Baselines3's .zip


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """What a checkpoint holds.

    Args:
        value: Its content, a state dict or something around it.
        form: Whose state dicts it says that they are, or None.
        left_out: The classes of Python objects in it that were not brought back.
    """

    value: Any
    form: str | None = None
    left_out: tuple[str, ...] = ()


def content_of(source: Any) -> Content:
    """Return what is in a live optimizer, a file, or anything that is in memory already."""
    if isinstance(source, Path):
        return _load(source)
    return Content(value=source.state_dict() if isinstance(source, torch.optim.Optimizer) else source)


def find(source: Any, content: Content, key: str | None) -> StateDict:
    """Return the one optimizer state dict in a checkpoint.

    Args:
        source: Where it comes from; a path is named in messages.
        content: What `content_of` returned.
        key: Where in it the state dict is, with dots between levels.

    Raises:
        CheckpointError: If there is none, or there are several and ``key`` doesn't say which.
    """
    where = f"{source}: " if isinstance(source, Path) else ""
    found = dict(_state_dicts(content.value))
    if not found and content.left_out and isinstance(source, Path):
        raise holds_objects(source, list(content.left_out))
    if key is not None and key not in found:
        raise CheckpointError(f"{where}there is no optimizer state dict under {key!r}: {_listed(found)}")
    if not found:
        raise CheckpointError(
            f"{where}there is no optimizer state dict (a dict with 'state' and "
            f"'param_groups'){_instead(content)}: give "
            "one, or a checkpoint that contains one"
        )
    if key is None and len(found) > 1:
        raise CheckpointError(
            f"{where}there are several optimizer state dicts: say which with {called('key')}; {_listed(found)}"
        )
    return found[key if key is not None else next(iter(found))]


def _instead(content: Content) -> str:
    """Return what is there instead, in parentheses, for somebody who took the wrong file."""
    value = content.value
    if not isinstance(value, Mapping) or not value:
        return ""
    if all(isinstance(tensor, torch.Tensor) for tensor in value.values()):
        return ", only weights"
    return f", only {quoted(map(str, value))}"


def _listed(found: Mapping[str, Any]) -> str:
    if "" in found:
        return f"it is one itself, so leave out {called('key', python='the key')}"
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


def _load(path: Path) -> Content:
    if is_distributed(path):
        tree, missed = read_folder(path)
        return Content(value=tree, left_out=tuple(missed))
    check_contents(path, "torch")
    with path.open("rb") as file:
        is_archive = file.read(2) == b"PK"
    if is_archive:
        whole_zip(path)  # torch doesn't look at the checksums
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith(_SB3) for name in archive.namelist()):
                return _of_sb3(path, archive)
    value, left_out = read_pickled(path, path)
    return Content(value=value, left_out=tuple(left_out))


def _of_sb3(path: Path, archive: zipfile.ZipFile) -> Content:
    """Return the parts of a .zip of Stable-Baselines3 by their names, without the suffix."""
    value, left_out = {}, list[str]()
    for name in archive.namelist():
        if name.endswith(_SB3):
            value[name.removesuffix(_SB3)], more = read_pickled(path, io.BytesIO(archive.read(name)))
            left_out += more
    return Content(value=value, form=_form_told(archive), left_out=tuple(left_out))


def _form_told(archive: zipfile.ZipFile) -> str | None:
    """Return whose optimizer it is by the agent's description, which is JSON."""
    try:
        policy = json.loads(archive.read("data"))["policy_kwargs"]
        optimizer = str(policy["optimizer_class"])
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    classes = {"RMSpropTFLike": "sb3", "torch.optim.rmsprop.RMSprop": "torch"}
    return next((form for name, form in classes.items() if name in optimizer), None)
