"""Rules that look at dtypes: an ε that vanishes, averages that freeze, squares that underflow, weights held still."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rmsprop.lab.diagnose.finding import Finding
from rmsprop.lab.diagnose.history import History, Statistics, median
from rmsprop.lab.diagnose.layers import NOTHING_MEASURED
from rmsprop.lab.diagnose.new_rate import search_anew, unless_it_learns
from rmsprop.lab.format import percent, short

# dtype -> the smallest number above 0, and the distance from 1 to the next number.
_SMALLEST = {"float16": 2.0**-24, "bfloat16": 2.0**-133, "float32": 2.0**-149}
_SPACING = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
# An average stops following when what it would change by is less than half the distance to its next number: here, when
# squared gradients have to be so many times as large as it is before it moves.
_FROZEN = 0.5
_UNDERFLOW = 0.1
# A layer most of whose weights stay where they are in a typical step is not being trained.
_HELD = 0.5
_KEEP_32 = "keep the averages in 32 bits, as rmsprop.torch.RMSprop does"


def epsilon(history: History) -> Sequence[Finding] | str:
    """Look for an ε that is 0 in the dtype of the averages, or too small for what underflows there."""
    statistics = history.statistics
    if statistics is None:
        return NOTHING_MEASURED
    kinds = [str(layer["averages"]) for layer in statistics.layers]
    lost = [i for i, kind in enumerate(kinds) if kind in _SMALLEST and _is_lost(history, statistics, i, kind)]
    if not lost:
        return []
    kind = kinds[lost[0]]
    eps, least = float(history.group.get("eps", 0.0)), _least(history, kind)
    if eps < _SMALLEST[kind] / 2:
        evidence = f"ε = {eps:g} is 0 in {kind}, in which the averages are kept: a gradient of 0 is divided by 0."
    else:
        evidence = (
            f"Squared gradients underflow in {kind}, in which the averages are kept, so that ε = {eps:g} is all that "
            "these gradients are divided by: they may be as large as the root of the smallest number, "
            f"{_SMALLEST[kind] ** 0.5:.0e}."
        )
    otherwise = "multiply the loss by a large number" if kind == "float32" else _KEEP_32
    return [
        Finding(
            kind="ε too small for the dtype",
            severity="bad",
            evidence=evidence,
            remedy=f"Take an ε of at least {least:.0e}, or {otherwise}.",
            layers=() if len(lost) == len(kinds) else tuple(str(statistics.layers[i]["name"]) for i in lost),
            panel="eps",
        )
    ]


def _least(history: History, kind: str) -> float:
    """Return an ε by which no gradient whose square underflows is divided into a step far above the learning rate."""
    return _SMALLEST[kind] if history.group.get("eps_inside_sqrt") else float(_SMALLEST[kind] ** 0.5)


def _is_lost(history: History, statistics: Statistics, layer: int, kind: str) -> bool:
    eps = float(history.group.get("eps", 0.0))
    if not 0.0 < eps < _least(history, kind):
        return False
    lost = statistics.of("underflow")
    return (eps < _SMALLEST[kind] / 2 and kind != "float32") or (
        lost is not None and bool((lost[:, layer] > _UNDERFLOW).any())
    )


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
            remedy=f"{_KEEP_32[0].upper()}{_KEEP_32[1:]}.",
            layers=() if len(stuck) == len(kinds) else tuple(stuck),
            panel="effective",
        )
    ]


def underflow(history: History) -> Sequence[Finding] | str:
    """Look for gradients whose squares are lost, so that ε alone divides them."""
    statistics = history.statistics
    share = statistics.of("underflow") if statistics else None
    if statistics is None or share is None:
        return NOTHING_MEASURED
    if history.group.get("decay") == 1.0:
        return "v never changes at decay 1"
    which = np.flatnonzero(np.array([median(column) for column in share.T]) > _UNDERFLOW)
    if not len(which):
        return []
    row = int(np.argmax((share[:, which] > _UNDERFLOW).any(axis=1)))
    larger = _larger(statistics, which)
    if any(statistics.layers[i]["averages"] in _SPACING for i in which):
        larger += f" (GradScaler doesn't help: it divides the gradients again), or {_KEEP_32}, with an ε of 1e-8"
    remedy = unless_it_learns(history, f"{larger}; then {search_anew(history, statistics, which)}")
    return [
        Finding(
            kind="squared gradients underflow",
            severity="warning",
            evidence=f"In {percent(median(share[:, which]))} of the coordinates the gradient isn't 0, and its square "
            "is.",
            remedy=remedy,
            since=statistics.steps[row],
            layers=tuple(str(statistics.layers[i]["name"]) for i in which),
            panel="underflow",
        )
    ]


def held(history: History) -> Sequence[Finding] | str:
    """Look for weights of 16 bits that most updates are too small for: rounding to nearest undoes them, every time."""
    statistics = history.statistics
    share = statistics.of("held") if statistics else None
    if statistics is None or share is None:
        return NOTHING_MEASURED
    coarse = np.array([layer["dtype"] in _SPACING for layer in statistics.layers])
    which = np.flatnonzero(coarse & np.array([median(column) > _HELD for column in share.T]))
    if not len(which):
        return []
    row = int(np.argmax((share[:, which] > _HELD).any(axis=1)))
    kind = statistics.layers[which[0]]["dtype"]
    return [
        Finding(
            kind="weights held still by rounding",
            severity="warning",
            evidence=f"{percent(median(share[:, which]))} of the weights that have a gradient don't move in a step: "
            f"their update is below half the distance to the next number of {kind}, and rounding to nearest undoes it.",
            remedy="Pass rounding='stochastic' or rounding='kahan' to rmsprop.torch.RMSprop, or keep the weights in "
            "float32, under torch.autocast.",
            since=statistics.steps[row],
            layers=() if len(which) == len(coarse) else tuple(str(statistics.layers[i]["name"]) for i in which),
            panel="held",
        )
    ]


def _larger(statistics: Statistics, which: np.ndarray) -> str:
    """Return what to multiply gradients with, so that their root mean square is 1, in the middle of small numbers."""
    norms = statistics.of("gradient")
    typical = median(norms[:, which] / np.sqrt(statistics.sizes[which])) if norms is not None else 0.0
    return f"multiply the loss by {'about ' + short(1.0 / typical, 1) if typical > 0.0 else 'a large number'}"
