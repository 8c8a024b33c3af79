"""State dicts grown again from what a distributed checkpoint keeps by path, nested and flattened ones alike.

``get_optimizer_state_dict`` calls parameters by their names. Here they get the numbers that an optimizer counts by,
and keep their names as ``param_names``, as in a state dict that it makes itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

Key = tuple[str | int, ...]  # the keys, one after the other, under which something stands in a state dict
_PARTS = ("state", "param_groups")  # of an optimizer's state dict; a flattened one has state.NAME.step
_PLAIN = (int, float, str, type(None), torch.dtype)


class _Level(dict[Any, Any]):
    """What has been put together, unlike a dict that was saved as one object."""


def is_optimizers(path: Key) -> bool:
    """Whether something stood in a state dict of an optimizer.

    Examples:
        >>> is_optimizers(("optimizer", "state.0.weight.step")), is_optimizers(("model", "0.weight"))
        (True, False)
    """
    return any(str(key).partition(".")[0] in _PARTS for key in path)


def tree_of(values: Mapping[Key, Any]) -> dict[Any, Any]:
    """Return nested dicts and lists of what stood under some keys, with every optimizer's state dict in torch's form.

    Args:
        values: What stood where; a list has numbers as keys.

    Returns:
        The whole.

    Raises:
        LookupError: If a part of a list is missing.
        TypeError: If something stood where something else has parts, or is of another type than a state dict has.
        ValueError: Likewise.

    Examples:
        >>> tree_of({("a", "b"): 1, ("a", "c", 0): 2})
        {'a': {'b': 1, 'c': [2]}}
    """
    root = _Level()
    for path, value in values.items():
        level = root
        for key in path[:-1]:
            level = level.setdefault(key, _Level())
            if not isinstance(level, _Level):
                raise TypeError
        if path[-1] in level:
            raise ValueError
        level[path[-1]] = value
    return dict(_grown(root))


def _grown(level: Any) -> Any:
    if not isinstance(level, _Level):
        return level
    if level and all(isinstance(key, int) for key in level):
        return [_grown(level[number]) for number in range(len(level))]
    if any(str(key).startswith("param_groups.") for key in level):
        return _numbered(*_nested(level))
    grown = {key: _grown(part) for key, part in level.items()}
    groups = grown.get("param_groups")
    return _numbered(grown.get("state", {}), groups) if isinstance(groups, list) else grown


def _nested(level: Mapping[Any, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the state by parameter and the groups of a flattened state dict, which has options for each."""
    found: dict[str, dict[str, dict[str, Any]]] = {part: {} for part in _PARTS}
    for key, value in level.items():
        part, _, rest = str(key).partition(".")
        name, _, last = rest.rpartition(".")
        if part in _PARTS:
            found[part].setdefault(name, {})[last] = value
    groups: list[dict[str, Any]] = []
    for name, options in found["param_groups"].items():
        if groups and _are_same({**groups[-1], "params": None}, {**options, "params": None}):
            groups[-1]["params"].append(name)
        else:
            groups.append({**options, "params": [name]})
    return found["state"], groups


def _are_same(options: Mapping[str, Any], others: Mapping[str, Any]) -> bool:
    return options.keys() == others.keys() and all(_is_same(value, others[key]) for key, value in options.items())


def _is_same(value: Any, other: Any) -> bool:
    if isinstance(value, Tensor) and isinstance(other, Tensor):
        return torch.equal(value, other)
    return isinstance(value, _PLAIN) and isinstance(other, _PLAIN) and value == other


def _numbered(state: Any, groups: list[Any]) -> dict[str, Any]:
    """Return a state dict that calls parameters by their numbers."""
    by_name = {str(name): own for name, own in state.items()} if isinstance(state, dict) else {}
    numbered: dict[int, Any] = {}
    content = []
    first = 0
    for group in groups:
        names = [_name(name) for name in group["params"]]
        numbers = list(range(first, first := first + len(names)))
        numbered |= {number: by_name[name] for number, name in zip(numbers, names, strict=True) if name in by_name}
        own = {"param_names": names} if any(isinstance(name, str) for name in group["params"]) else {}
        content.append({**group, "params": numbers, **own})
    return {"state": numbered, "param_groups": content}


def _name(name: Any) -> str:
    if not isinstance(name, str | int):
        raise TypeError
    return str(name)
