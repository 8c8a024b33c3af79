"""A lock per optimizer, so that of two steps at once the second waits."""

from __future__ import annotations

import os
from threading import RLock
from typing import Any
from weakref import WeakSet

_owners: WeakSet[Any] = WeakSet()


def lock_of(owner: Any) -> Any:
    """Return a lock for an object to keep as its attribute ``_lock``.

    The thread that holds it may take it again: a signal that arrives during a step may have the state saved. A forked
    child finds it free, whoever held it in the parent, because that thread doesn't exist there. It can't be pickled.

    Args:
        owner: The object, whose attribute a fork replaces.

    Returns:
        The lock, for a ``with`` statement.

    Examples:
        >>> class Optimizer:
        ...     def __init__(self):
        ...         self._lock = lock_of(self)
        >>> with Optimizer()._lock:
        ...     pass
    """
    _owners.add(owner)
    return RLock()


def _renew() -> None:
    for owner in list(_owners):
        owner._lock = RLock()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_renew)
