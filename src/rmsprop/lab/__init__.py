"""What one looks at: problems, training runs, diagnosis, figures and reports. Needs the ``lab`` extra."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rmsprop.lab.recorder.recorder import Recorder
    from rmsprop.lab.tune.range_test import find_lr
    from rmsprop.lab.tune.reading import LrRange

# Where each public name is: importing this package imports no framework.
_MODULES = {
    "Recorder": "rmsprop.lab.recorder.recorder",
    "LrRange": "rmsprop.lab.tune.reading",
    "find_lr": "rmsprop.lab.tune.range_test",
}

__all__ = ["LrRange", "Recorder", "find_lr"]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
