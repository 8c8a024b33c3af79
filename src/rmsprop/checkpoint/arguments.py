"""What a message calls an argument: as in a call of Python, unless a command line asks for its own options."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_UNSAID = object()
_SPELLING: ContextVar[Callable[..., str] | None] = ContextVar("spelling", default=None)


def called(name: str, value: Any = _UNSAID, python: str | None = None) -> str:
    """Return an argument as the person who reads the message writes it.

    Args:
        name: The argument of `rmsprop.checkpoint.convert`, or the field of a rule.
        value: What is to be given, or nothing.
        python: How Python has it where that isn't ``name=value``.

    Returns:
        ``momentum=0``, say, or ``--momentum 0``.

    Examples:
        >>> called("lr"), called("momentum", 0)
        ('lr', 'momentum=0')
    """
    spell = _SPELLING.get()
    if spell is not None:
        return spell(name) if value is _UNSAID else spell(name, value)
    if python is not None:
        return python
    return name if value is _UNSAID else f"{name}={value!r}"


@contextmanager
def spelled(spell: Callable[..., str]) -> Iterator[None]:
    """Have messages call arguments what ``spell(name)`` and ``spell(name, value)`` return.

    Args:
        spell: What a command line calls them.

    Examples:
        >>> with spelled(lambda name, *value: " ".join([f"--{name}", *map(str, value)])):
        ...     called("momentum", 0)
        '--momentum 0'
    """
    token = _SPELLING.set(spell)
    try:
        yield
    finally:
        _SPELLING.reset(token)
