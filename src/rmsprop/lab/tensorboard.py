"""TensorBoard without TensorFlow: its own stub reads and writes events as well, and is there at once."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

# TensorBoard's switch: where it can import this module, it takes its stub and doesn't look for TensorFlow.
_SWITCH = "tensorboard.compat.notf"


def without_tensorflow() -> None:
    """Make TensorBoard take its stub of TensorFlow's files, for as long as this process runs.

    To import TensorFlow takes seconds, and where it comes before Triton, Python ends with a segmentation fault. Where
    TensorFlow or TensorBoard's choice of it was made already, nothing is changed.

    Raises:
        ImportError: If TensorBoard isn't installed.
    """
    if "tensorflow" in sys.modules:
        return
    compat = importlib.import_module("tensorboard.compat")
    sys.modules[_SWITCH] = ModuleType(_SWITCH)
    try:
        str(compat.tf.__version__)  # looks for it now, once and for all
    finally:
        del sys.modules[_SWITCH]
