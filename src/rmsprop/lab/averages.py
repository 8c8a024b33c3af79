"""Averages of a run's weights: which there are, and what each does unless told otherwise.

An exponential moving average (EMA) goes along with every step. Stochastic weight averaging (SWA, Izmailov et al. 2018,
https://arxiv.org/abs/1803.05407) is the plain mean of the weights at the ends of the last epochs, in which the learning
rate is constant. This module imports no framework, so that a command's help stays fast.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from rmsprop.horizon import decay_from_half_life

Average = Literal["none", "ema", "swa"]
# What the terminal and the figures call them.
NAMES: Mapping[str, str] = {"ema": "EMA", "swa": "SWA"}
# The share of the epochs before SWA begins: about 75 % in Izmailov et al. (2018), section 5.1.
SWA_START = 0.75
# The half-life of an EMA as a share of all steps.
EMA_HALF_LIFE = 0.05


def first_averaged_epoch(epochs: int) -> int:
    """Return the first epoch at whose end SWA takes the weights, unless told otherwise.

    Args:
        epochs: The run's epochs.

    Returns:
        The first of the last quarter, and at latest the last but one, because one epoch has no average.

    Examples:
        >>> [first_averaged_epoch(epochs) for epochs in (2, 8, 30)]
        [1, 7, 23]
    """
    return max(1, min(math.floor(SWA_START * epochs) + 1, epochs - 1))


def usual_decay(steps: int) -> float:
    """Return the decay of an EMA that fits a run's length: half of an old step is forgotten in a 20th of the run.

    Args:
        steps: The run's steps, at least 1.

    Returns:
        The decay, to 6 significant digits, so that it can be typed.

    Examples:
        >>> usual_decay(1020)
        0.986501
    """
    return float(f"{decay_from_half_life(max(1.0, EMA_HALF_LIFE * steps)):.6g}")
