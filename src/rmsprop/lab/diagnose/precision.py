"""Rules that look at dtypes: an ε that vanishes, averages that freeze, squares that underflow."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rmsprop.lab.diagnose.finding import Finding
from rmsprop.lab.diagnose.history import History, median
from rmsprop.lab.diagnose.layers import NOTHING_MEASURED
from rmsprop.lab.numbers import percent

# dtype -> the smallest number above 0, and the distance from 1 to the next number.
_SMALLEST = {"float16": 2.0**-24, "bfloat16": 2.0**-133}
_SPACING = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
# An average stops following when what it would change by is less than half the distance to its next number: here, when
# squared gradients have to be so many times as large as it is before it moves.
_FROZEN = 0.5
_UNDERFLOW = 0.1
_KEEP_32 = "keep the averages in 32 bits, as rmsprop.torch.RMSprop does"


def epsilon(history: History) -> Sequence[Finding] | str:
    """Look for an ε that is 0 in the dtype of the averages."""
    if history.statistics is None:
        return NOTHING_MEASURED
    eps = float(history.group.get("eps", 0.0))
    kinds = {layer["name"]: layer["averages"] for layer in history.statistics.layers}
    lost = [name for name, kind in kinds.items() if kind in _SMALLEST and 0.0 < eps < _SMALLEST[kind] / 2]
    if not lost:
        return []
    kind = kinds[lost[0]]
    return [
        Finding(
            kind="ε too small for the dtype",
            severity="bad",
            evidence=f"ε = {eps:g} is 0 in {kind}, in which the averages are kept: a gradient of 0 is divided by 0.",
            remedy=f"Take an ε of at least {_SMALLEST[kind] ** 0.5:.0e}, or {_KEEP_32}.",
            layers=() if len(lost) == len(kinds) else tuple(lost),
            panel="eps",
        )
    ]


def frozen(history: History) -> Sequence[Finding] | str:
    """Look for averages in 16 bits that can't follow at this decay."""
    if history.statistics is None:
        return NOTHING_MEASURED
    rho = history.group.get("decay")
    if rho is None or rho >= 1.0:
        return "no decay of the optimizer"
    kinds = {layer["name"]: layer["averages"] for layer in history.statistics.layers}
    coarse = {name: _SPACING[kind] / 2 / (1.0 - rho) for name, kind in kinds.items() if kind in _SPACING}
    stuck = [name for name, times in coarse.items() if times > _FROZEN]
    if not stuck:
        return []
    times = coarse[stuck[0]]
    return [
        Finding(
            kind="averages frozen",
            severity="warning",
            evidence=f"At decay {rho:g} an average in {kinds[stuck[0]]} moves only if the squared gradient is off by "
            f"over {times:.1g} times the average.",
            remedy=f"{_KEEP_32[0].upper()}{_KEEP_32[1:]}, or take a smaller decay.",
            layers=() if len(stuck) == len(kinds) else tuple(stuck),
            panel="effective",
        )
    ]


def underflow(history: History) -> Sequence[Finding] | str:
    """Look for gradients whose squares are lost."""
    share = history.statistics.of("underflow") if history.statistics else None
    if history.statistics is None or share is None:
        return NOTHING_MEASURED
    which = np.flatnonzero(np.array([median(column) for column in share.T]) > _UNDERFLOW)
    if not len(which):
        return []
    row = int(np.argmax((share[:, which] > _UNDERFLOW).any(axis=1)))
    return [
        Finding(
            kind="squared gradients underflow",
            severity="warning",
            evidence=f"In {percent(median(share[:, which]))} of the coordinates the gradient isn't 0, and its square "
            "is.",
            remedy=f"Scale the loss (torch.amp.GradScaler), or {_KEEP_32}.",
            since=history.statistics.steps[row],
            layers=tuple(history.statistics.layers[i]["name"] for i in which),
            panel="underflow",
        )
    ]
