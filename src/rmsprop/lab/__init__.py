"""What one looks at: problems, training runs, diagnosis, figures and reports. Needs the ``lab`` extra.

Importing this package imports no framework: what needs one is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmsprop.lab.lazy import lazily

if TYPE_CHECKING:
    from rmsprop.lab.recorder.recorder import Recorder
    from rmsprop.lab.train.trained import TrainedModel, load
    from rmsprop.lab.tune.lr_finder import find_lr
    from rmsprop.lab.tune.lr_range import LrRange

__all__ = ["LrRange", "Recorder", "TrainedModel", "find_lr", "load"]

__getattr__ = lazily(
    __name__,
    {
        "LrRange": ".tune.lr_range",
        "Recorder": ".recorder.recorder",
        "TrainedModel": ".train.trained",
        "find_lr": ".tune.lr_finder",
        "load": ".train.trained",
    },
)
