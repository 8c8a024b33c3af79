"""A pickle of plain data, followed without Python's unpickler: what it names is never looked up, nor called."""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any


class RefusedNameError(ValueError):
    """The name of a class or function that isn't one of those expected."""


@dataclass(eq=False, slots=True)
class Record:
    """What stands for an object.

    Args:
        name: The name of its class, such as ``"torch.Size"``, or of a function that would have made it.
        args: What that was to be called with; empty for the class itself.
        state: Its attributes, where it has any.
    """

    name: str
    args: tuple[Any, ...] = ()
    state: Any = None


def read_plain(content: bytes, is_expected: Callable[[str], object]) -> Any:
    """Return what a pickle holds: numbers, strings, lists, tuples and dicts, and a `Record` for any object.

    Pickles of protocol 4 and 5 can be read, as far as they are made of what plain data need.

    Args:
        content: The whole pickle.
        is_expected: Whether a class or function of a name may be in it.

    Returns:
        The data. One object may stand in several places, and a list in itself, as the pickle has it.

    Raises:
        RefusedNameError: If it names another class or function.
        ValueError: If it is damaged, or no such pickle.

    Examples:
        >>> import pickle
        >>> read_plain(pickle.dumps({"a": (1, 2.0)}, protocol=4), is_expected=lambda name: False)
        {'a': (1, 2.0)}
    """
    machine = _Machine(is_expected)
    try:
        for code, value, _ in pickletools.genops(content):
            machine.follow(code.name, value)
        (result,) = machine.stack
    except RefusedNameError:
        raise
    except Exception as error:  # what is damaged can fail in any way
        raise ValueError("it is no pickle of plain data") from error
    return result


class _Machine:
    """The stack and the memory that a pickle is a program for."""

    def __init__(self, is_expected: Callable[[str], object]) -> None:
        self.is_expected = is_expected
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks that marks were set on
        self.memory: list[Any] = []

    def follow(self, code: str, value: Any) -> None:
        """Do what one instruction says."""
        if code in _LITERALS:
            self.stack.append(value)
        elif code in _CONSTANTS:
            self.stack.append(_CONSTANTS[code])
        elif code in _EMPTY:
            self.stack.append(_EMPTY[code]())
        elif code in _TUPLES:
            self.stack.append(tuple(self._taken(_TUPLES[code])))
        elif code not in _IGNORED:
            _OTHERS[code](self, value)

    def _taken(self, count: int) -> list[Any]:
        taken = [self.stack.pop() for _ in range(count)]
        return taken[::-1]

    def _since_mark(self) -> list[Any]:
        taken, self.stack = self.stack, self.below.pop()
        return taken

    def _mark(self, _: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def _remember(self, _: Any) -> None:
        self.memory.append(self.stack[-1])

    def _recall(self, number: int) -> None:
        self.stack.append(self.memory[number])

    def _tuple(self, _: Any) -> None:
        taken = self._since_mark()
        self.stack.append(tuple(taken))

    def _append(self, _: Any) -> None:
        self._extend_with(self._taken(1))

    def _appends(self, _: Any) -> None:
        self._extend_with(self._since_mark())

    def _extend_with(self, values: list[Any]) -> None:
        _of_type(self.stack[-1], list).extend(values)

    def _set_item(self, _: Any) -> None:
        self._set(self._taken(2))

    def _set_items(self, _: Any) -> None:
        self._set(self._since_mark())

    def _set(self, values: list[Any]) -> None:
        target = _of_type(self.stack[-1], dict)
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[_of_type(key, _KEYS)] = value

    def _named(self, _: Any) -> None:
        module, name = self._taken(2)
        full = f"{_of_type(module, str)}.{_of_type(name, str)}"
        if not self.is_expected(full):
            raise RefusedNameError(full)
        self.stack.append(Record(full))

    def _made(self, _: Any) -> None:
        made, args = self._taken(2)
        self.stack.append(Record(_of_type(made, Record).name, _of_type(args, tuple)))

    def _built(self, _: Any) -> None:
        (state,) = self._taken(1)
        _of_type(self.stack[-1], Record).state = state


def _of_type(value: Any, kind: Any) -> Any:
    if not isinstance(value, kind):
        raise TypeError
    return value


_KEYS = (str, int, Record)  # whose hash takes no time
_LITERALS = frozenset(
    {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "SHORT_BINUNICODE", "BINUNICODE", "SHORT_BINBYTES"}
)
_CONSTANTS: Mapping[str, Any] = MappingProxyType({"NONE": None, "NEWTRUE": True, "NEWFALSE": False})
_EMPTY: Mapping[str, Callable[[], Any]] = MappingProxyType(
    {"EMPTY_TUPLE": tuple, "EMPTY_LIST": list, "EMPTY_DICT": dict}
)
_TUPLES: Mapping[str, int] = MappingProxyType({"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3})
_IGNORED = frozenset({"PROTO", "FRAME", "STOP"})
_OTHERS: Mapping[str, Callable[[_Machine, Any], None]] = MappingProxyType(
    {
        "MARK": _Machine._mark,
        "MEMOIZE": _Machine._remember,
        "BINGET": _Machine._recall,
        "LONG_BINGET": _Machine._recall,
        "TUPLE": _Machine._tuple,
        "APPEND": _Machine._append,
        "APPENDS": _Machine._appends,
        "SETITEM": _Machine._set_item,
        "SETITEMS": _Machine._set_items,
        "STACK_GLOBAL": _Machine._named,
        "REDUCE": _Machine._made,
        "NEWOBJ": _Machine._made,
        "BUILD": _Machine._built,
    }
)
