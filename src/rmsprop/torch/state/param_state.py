"""What is kept per parameter: a dict that tells of changes, and shows what torch's has.

Centered state holds the variance ``grad_var`` = v − m² instead of ``square_avg`` = v, which is rebuilt where somebody
asks for it (`rmsprop.torch.state.variance`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, KeysView, Mapping
from functools import wraps
from typing import Any, Self

import numpy as np
from torch import Tensor

from rmsprop.torch.local import is_shard
from rmsprop.torch.rows.clock import ROW_AVERAGE, ROW_STEPS, as_held, settle
from rmsprop.torch.state.counter import pinned
from rmsprop.torch.state.packing import ARRAYS, CODES, SCALES, is_held, unpacked
from rmsprop.torch.state.rounding import LOST
from rmsprop.torch.state.variance import rebuilt_square_avg

# What is brought up to date when it is read.
_AVERAGES = {*ARRAYS, *CODES.values(), *SCALES.values()}


class Changes:
    """What somebody has done to the states of an optimizer since this was last looked at.

    Attributes:
        seen: Whether anything was put into one.
        counters_shown: Whether a step counter was handed out, which may have been given other memory since.
    """

    def __init__(self) -> None:
        self.seen, self.counters_shown = False, True


class ParamState(dict[str, Any]):
    """The state of a parameter: a dict that tells when it is changed, so that a step need not look.

    Where it is centered it can be read as torch's: ``square_avg`` is rebuilt when it is asked for.

    Args:
        content: What it holds at first.

    Attributes:
        is_prepared: Whether somebody brings rows that move without a gradient up to date before they are read.

    Examples:
        >>> import torch
        >>> ParamState({"grad_var": torch.tensor(1.0), "grad_avg": torch.tensor(2.0)})["square_avg"]
        tensor(5.)
    """

    def __init__(self, content: Mapping[str, Any] | None = None) -> None:
        super().__init__(content or {})
        self.is_prepared = False
        self._changes: Changes | None = None
        self._counter_memory: np.ndarray[Any, Any] | None = None

    @classmethod
    def copied(cls, content: Mapping[str, Any]) -> Self:
        """Return a state that nobody else holds tensors of."""
        state = cls(content)
        if "step" in state:
            state.set_counter(state["step"])
        return state

    @classmethod
    def of(cls, states: dict[Tensor, Any], param: Tensor, changes: Changes | None) -> Self:
        """Return the state of a parameter, which tells of changes from now on; whatever there is becomes one."""
        state = states[param]
        if not isinstance(state, cls):
            state = states[param] = cls(state)
        state.tell(changes)
        return state

    def set_counter(self, step: Any) -> None:
        """Keep a copy of a step counter, in memory that stays with this state where that can be had."""
        made = pinned(step)
        self["step"], self._counter_memory = made or (step, None)

    @property
    def counter(self) -> Any:
        """The step counter, for whoever leaves its memory as it is."""
        return super().__getitem__("step")

    def has_pinned_counter(self) -> bool:
        """Whether the step counter is in memory that stays with this state."""
        memory = self._counter_memory
        return memory is not None and self.counter.data_ptr() == memory.ctypes.data

    def tell(self, changes: Changes | None) -> None:
        """Tell of changes from now on.

        Args:
            changes: Where; None: nowhere.
        """
        if self._changes is not None and self._changes is not changes:
            self._changes.seen = True  # two optimizers share this state, or another plan is made for it
        self._changes = changes

    def __reduce__(self) -> Any:
        """Return what a pickle or a copy keeps: what is held, not whom it tells."""
        return type(self).copied, (as_held(self),)

    def __copy__(self) -> Self:
        """Return a state of the same tensors."""
        return type(self)(as_held(self))

    def __getitem__(self, key: str) -> Any:
        """Return what is held or can be rebuilt."""
        if key == "step":
            self._shows_counter()
        elif key in _AVERAGES:
            settle(self)
        return super().__getitem__(key)

    def _shows_counter(self) -> None:
        if self._changes is not None:
            self._changes.counters_shown = True

    def get(self, key: str, default: Any = None) -> Any:
        """Return what is held or can be rebuilt, else a default."""
        try:
            return self[key]
        except KeyError:
            return default

    def __missing__(self, key: str) -> Tensor:
        """Return an array that is held in 8 bits, or ``square_avg``."""
        if key in CODES and CODES[key] in self:
            return unpacked(key, self[CODES[key]], self[SCALES[key]])
        if key == "square_avg" and is_held(self, "grad_var") and is_held(self, "grad_avg"):
            return rebuilt_square_avg(self)
        raise KeyError(key)

    def keys(self) -> KeysView[str]:  # type: ignore[override]
        """Return the names of what is held, all up to date."""
        settle(self)
        return super().keys()

    def __iter__(self) -> Iterator[str]:
        """Yield the names, ``square_avg`` among them: torch's distributed checkpoints load what they find here."""
        numbers = {name for name in CODES if CODES[name] in self and is_shard(dict.__getitem__(self, CODES[name]))}
        codes = {held[name] for name in numbers for held in (CODES, SCALES)}
        yield from (name for name in self.keys() if name not in codes)
        yield from numbers
        if ("grad_var" in self or "grad_var" in numbers) and "square_avg" not in self:
            yield "square_avg"


_WATCHED = {"step", *ARRAYS, *CODES.values(), *SCALES.values(), LOST, ROW_AVERAGE, ROW_STEPS}


def _telling(name: str) -> Callable[..., Any]:
    """Return a method of dict that tells of the change it makes."""
    change = getattr(dict, name)

    @wraps(change)
    def method(self: ParamState, *args: Any, **kwargs: Any) -> Any:
        changes = self._changes
        if changes is not None and not (args and isinstance(args[0], str) and args[0] not in _WATCHED):
            changes.seen = True  # not of what a user keeps beside
        return change(self, *args, **kwargs)

    return method


def _showing(name: str) -> Callable[..., Any]:
    """Return a method of dict that hands out everything, up to date."""
    show = getattr(dict, name)

    @wraps(show)
    def method(self: ParamState, *args: Any) -> Any:
        self._shows_counter()
        settle(self)
        return show(self, *args)

    return method


for _name in ("items", "values", "copy", "__or__", "__ror__"):
    setattr(ParamState, _name, _showing(_name))
# All that change a dict; written out they would be eight times the same two lines.
for _name in ("__setitem__", "__delitem__", "__ior__", "clear", "pop", "popitem", "setdefault", "update"):
    setattr(ParamState, _name, _telling(_name))
