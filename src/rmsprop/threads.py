"""The threads of PyTorch, for the kernel's parallel region, and what is left of them in a forked child.

torch itself is not imported: who has tensors of it has imported it.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

from rmsprop.batch import Batch
from rmsprop.native import prepared

# A forked child inherits OpenMP's memory, but not its threads, and would wait for them forever. Its own children too.
_forks = 0


def _on_fork() -> None:
    global _forks
    _forks += 1


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(after_in_child=_on_fork)


@cache
def torch_parallel_for() -> int | None:
    """Return the address of ``torch_parallel_for``, torch being imported; None where it does not export it."""
    folder = os.path.join(os.path.dirname(sys.modules["torch"].__file__ or ""), "lib")
    names = ("libtorch_cpu.so", "libtorch_cpu.dylib", "torch_cpu.dll")
    found = [path for path in (os.path.join(folder, name) for name in names) if os.path.exists(path)]
    function = getattr(ctypes.CDLL(found[0]), "torch_parallel_for", None) if found else None
    return ctypes.cast(function, ctypes.c_void_p).value if function else None


def is_forked() -> bool:
    """Whether this process was forked, so that torch's threads may not exist in it."""
    return _forks > 0


# How many threads of the library's own may be used where torch's can't.
_own_threads = 0


@contextmanager
def one_thread() -> Iterator[None]:
    """Return a context in which torch's operations use the calling thread alone, and wait for no others."""
    global _own_threads
    torch = sys.modules["torch"]
    before, own_before = torch.get_num_threads(), _own_threads
    _own_threads = own_before or before
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _own_threads = own_before


def torch_threads() -> tuple[int | None, int]:
    """Return ``parallel_for`` and ``threads`` of a call into C: torch's, in a forked child the library's own."""
    return None if _forks else torch_parallel_for(), _own_threads or sys.modules["torch"].get_num_threads()


class TorchUpdate:
    """The update of some batches as a call into C, on torch's threads; in a forked child on the library's own.

    Args:
        batches: What to update.
    """

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._batches = batches
        self._forks, self._threads = -1, 0
        self._call: Callable[[], int] = int

    def __call__(self) -> int:
        """Update; return 0 if it could be done."""
        return self.prepared()()

    def prepared(self) -> Callable[[], int]:
        """Return the call itself: no Python code runs in it, so no Ctrl-C comes between it and what C does next."""
        threads = _own_threads or sys.modules["torch"].get_num_threads()
        if (_forks, threads) != (self._forks, self._threads):
            self._call = prepared(self._batches, *torch_threads())
            self._forks, self._threads = _forks, threads
        return self._call
