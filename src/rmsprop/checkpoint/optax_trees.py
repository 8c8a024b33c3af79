"""What the leaves of an Optax state are: averages and traces, counts, injected hyperparameters.

A live state says it by its classes, and only Optax's own RMSProp states are taken for one: those of Adam and its kin
have a ``nu`` too. A file has nothing but names, so that one which Adam could have written must be called an RMSProp's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rmsprop.checkpoint.archive import read_arrays
from rmsprop.checkpoint.arguments import called
from rmsprop.checkpoint.neutral import CheckpointError, quoted
from rmsprop.checkpoint.orbax import read_tree
from rmsprop.keywords import OPTAX as OPTAX_KEYWORDS
from rmsprop.rule import NUMBERS

Paths = Mapping[str, Any]

OPTAX = {"nu": "square_avg", "mu": "grad_avg", "trace": "momentum_buffer"}
OURS = {name: name for name in ("square_avg", "grad_var", "grad_avg", "momentum_buffer")}
LR = "lr"
# What optax.inject_hyperparams calls the learning rate and the numbers of a rule: by Optax's names and by ours.
_INJECTED = {OPTAX_KEYWORDS.get(name, name): name for name in (LR, *NUMBERS)} | {name: name for name in NUMBERS}
_STATES = (
    "ScaleByRmsState",
    "ScaleByRmsWithCountState",
    "ScaleByRStdDevState",
    "ScaleByRStdDevWithCountState",
    "TraceState",
    "RMSpropState",
)
# Fields of other states that hold trees of parameters, whose names say nothing.
_OTHER_TREES = ("hyperparams", "hyperparams_states", "acc_grads", "ema")


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a leaf is.

    Args:
        prefix: The path of the state that it is a part of, with a slash at its end unless it is empty.
        kind: A key of `OPTAX` or `OURS`.
        name: The name of its parameter.
    """

    prefix: str
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Leaves:
    """The leaves of a state.

    Args:
        by_path: Path -> leaf, in the tree's order.
        slots: Path -> what it is, for those that belong to parameters.
        is_live: Whether it says by its classes what they are.
    """

    by_path: Paths
    slots: Mapping[str, Leaf]
    is_live: bool

    def found(self) -> dict[str, dict[str, str]]:
        """Return, per parameter that has an average of squares, kind -> path.

        Raises:
            CheckpointError: If a parameter has two of a kind, or parameters come under different rules.
        """
        found: dict[str, dict[str, str]] = {}
        for path, slot in self.slots.items():
            kinds = found.setdefault(slot.name, {})
            if slot.kind in kinds:
                raise CheckpointError(
                    f"there are two {slot.kind} for {slot.name!r} in the state: give the state of one RMSProp"
                )
            kinds[slot.kind] = path
        found = {name: kinds for name, kinds in found.items() if kinds.keys() & {"nu", "square_avg", "grad_var"}}
        if not found:
            raise CheckpointError(
                "this is not the state of optax.rmsprop or rmsprop.jax: none of its leaves is called nu, square_avg or "
                "grad_var"
            )
        kept = {name: sorted([*kinds, *["count"] * bool(self.own_count(kinds))]) for name, kinds in found.items()}
        first = next(iter(kept))
        if other := next((name for name in kept if kept[name] != kept[first]), None):
            raise CheckpointError(
                f"the state has {', '.join(kept[first])} for {first!r} but {', '.join(kept[other])} for {other!r}, so "
                "they come under different rules: convert one inner state at a time"
            )
        return found

    def own_count(self, kinds: Mapping[str, str]) -> str | None:
        """Return the path of the count that stands beside a parameter's ``nu``, as under bias correction."""
        path = f"{self.slots[kinds['nu']].prefix}count" if "nu" in kinds else ""
        return path if path in self.by_path else None

    def counts(self) -> Iterator[str]:
        """Yield the paths of the leaves that count updates."""
        return (p for p in self.by_path if p.rpartition("/")[2] == "count" and p not in self.slots)

    def injected(self, found: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
        """Return, per field of a rule or `LR`, the paths of its values that ``optax.inject_hyperparams`` keeps.

        Args:
            found: What `found` returned.

        Raises:
            CheckpointError: If the values differ, or hold for a part of the parameters only.
        """
        prefixes = {self.slots[path].prefix for kinds in found.values() for path in kinds.values()}
        paths: dict[str, list[str]] = {}
        for path in self.by_path:
            head, _, name = path.rpartition("/")
            outside = head.removesuffix("hyperparams")
            covered = outside != head and any(prefix.startswith(outside) for prefix in prefixes)
            if name in _INJECTED and covered and path not in self.slots:
                paths.setdefault(_INJECTED[name], []).append(path)
        for field, those in paths.items():
            self._check_shared(field, those, prefixes)
        return paths

    def _check_shared(self, field: str, paths: list[str], prefixes: set[str]) -> None:
        called = "learning rates" if field == LR else f"values of {field}"
        values = sorted({self.number(path) for path in paths})
        if len(values) > 1:
            raise CheckpointError(
                f"transformations in the state have different {called} ({', '.join(f'{v:g}' for v in values)}): "
                "convert one inner state at a time"
            )
        outsides = tuple(path.rpartition("/")[0].removesuffix("hyperparams") for path in paths)
        if any(not prefix.startswith(outsides) for prefix in prefixes):
            raise CheckpointError(
                f"some transformations in the state keep their {called} in it and others don't: convert one inner "
                "state at a time"
            )

    def number(self, path: str) -> float:
        """Return a leaf that is one number."""
        return float(np.asarray(self.by_path[path]).item())

    def accumulated(self) -> int:
        """Return how many mini-steps ``optax.MultiSteps`` has gathered towards the next update."""
        steps = [int(self.number(p)) for p in self.by_path if p.rpartition("/")[2] == "mini_step"]
        return max(steps, default=0)

    def trace_is_last(self) -> bool:
        """Whether every trace is third and last in its chain and ``nu`` first, as ``optax.rmsprop`` has them."""
        firsts = {slot.prefix for slot in self.slots.values() if slot.kind == "nu"}
        for prefix in {slot.prefix for slot in self.slots.values() if slot.kind == "trace"}:
            chain, _, number = prefix.removesuffix("/").rpartition("/")
            chain = f"{chain}/" if chain else ""
            if number != "2" or f"{chain}0/" not in firsts or any(p.startswith(f"{chain}3/") for p in self.by_path):
                return False
        return True


def leaves_of(source: Any) -> Leaves:
    """Return the leaves of a live state, of a mapping from paths to arrays, or of a file of them.

    Args:
        source: One of those; a file, or a folder of Orbax.

    Returns:
        The leaves.

    Raises:
        CheckpointError: If they are of another method than RMSProp.
    """
    if isinstance(source, Path):
        source = read_tree(source) if source.is_dir() else read_arrays(source)
    if isinstance(source, Mapping) and all(isinstance(path, str) for path in source) and not _is_nested(source):
        return _named(dict(source))
    return _of_tree(source)


def _is_nested(source: Mapping[str, Any]) -> bool:
    return not all(hasattr(value, "shape") or isinstance(value, float | int) for value in source.values())


def _named(by_path: Paths) -> Leaves:
    slots = {path: slot for path in by_path if (slot := _split(path)) is not None}
    return Leaves(by_path, slots, is_live=False)


def _split(path: str) -> Leaf | None:
    """Return what a leaf is by its path alone: ``0/nu/dense/kernel`` is the ``nu`` of ``dense/kernel``."""
    parts = path.split("/")
    for position, part in enumerate(parts):
        if part in _OTHER_TREES:
            return None
        if (part in OPTAX or part in OURS) and "inner_states" not in parts[position - 1 : position]:
            prefix = "".join(f"{part}/" for part in parts[:position])
            return Leaf(prefix, part, "/".join(parts[position + 1 :]) or "0")  # a lone array has no path of its own
    return None


def _of_tree(tree: Any) -> Leaves:
    from jax.tree_util import keystr, tree_flatten_with_path

    def flattened(tree: Any, is_leaf: Any = None) -> list[tuple[str, Any]]:
        leaves = tree_flatten_with_path(tree, is_leaf=is_leaf)[0]
        return [(keystr(path, simple=True, separator="/"), leaf) for path, leaf in leaves]

    by_path = dict(flattened(tree))
    if len(by_path) != len(flattened(tree)):
        raise CheckpointError("two leaves of the state have the same path: give parameters names without slashes")
    nodes = [(path, node) for path, node in flattened(tree, _is_state) if _is_state(node)]
    known = [(path, node) for path, node in nodes if type(node).__name__ in _STATES]
    for _, node in nodes:
        is_optax = type(node).__module__.startswith("optax.")
        if type(node).__name__ not in _STATES and (is_optax or not known):
            raise CheckpointError(
                f"there is a {type(node).__name__} in the state, whose nu is not that of an RMSProp: give the state of "
                "an RMSProp alone"
            )
    if not known:
        return _named(by_path)
    slots = {}
    for path, node in known:
        prefix = f"{path}/" if path else ""
        for kind in node._fields:
            for name, _ in flattened(getattr(node, kind)) if kind in OPTAX or kind in OURS else ():
                slots["/".join(part for part in (path, kind, name) if part)] = Leaf(prefix, kind, name or "0")
    return Leaves(by_path, slots, is_live=True)


def _is_state(node: Any) -> bool:
    """Whether a node of a tree is a state that keeps averages or a trace, of RMSProp or another method."""
    fields = getattr(node, "_fields", ())
    return type(node).__name__ in _STATES if "nu" not in fields else True


def check_is_rmsprop(leaves: Leaves, found: Mapping[str, Mapping[str, str]], form: str | None) -> None:
    """Check that a file is no Adam's.

    Args:
        leaves: Its leaves.
        found: What belongs to which parameter.
        form: What the caller says it is.

    Raises:
        CheckpointError: If its names are an Adam's as well, and the caller didn't say what it is.
    """
    prefixes = {leaves.slots[kinds["nu"]].prefix for kinds in found.values() if "nu" in kinds}
    if any(path.startswith(f"{prefix}nu_max/") for path in leaves.by_path for prefix in prefixes):
        raise CheckpointError("this is not the state of an RMSProp: its nu_max is AMSGrad's")
    adams = [name for name, kinds in found.items() if "mu" in kinds and leaves.own_count(kinds)]
    if adams and form is None and not leaves.is_live:
        raise CheckpointError(
            f"count, mu and nu of {quoted(adams, 1)} can be those of Adam and its kin as well as of a centered, "
            f"bias-corrected optax.rmsprop: if it is that, give {called('format', 'optax')}"
        )
