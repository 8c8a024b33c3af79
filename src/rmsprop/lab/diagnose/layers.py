"""Rules that look at what was measured of the layers: exploding, ε, centered variance, decay."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rmsprop.lab.diagnose.finding import Finding
from rmsprop.lab.diagnose.history import History, Statistics, median
from rmsprop.lab.diagnose.new_rate import search_anew, unless_it_learns
from rmsprop.lab.diagnose.warm_up import can_be_corrected
from rmsprop.lab.format import percent
from rmsprop.lab.verdict.outliers import lower_lr

NOTHING_MEASURED = "no measurements of layers: record the run with rmsprop.lab.Recorder"
# Fewer measurements than these say nothing.
_FEW = 3
# A gradient that has grown by so much since the beginning is on its way out of the numbers.
_EXPLODING = 1000.0
# A loss that ends so many times as high as it began has learnt nothing.
_ABOVE = 2.0
# ε decides the size of steps where it outweighs √v in so large a part of a layer, in so many of the measurements.
_DOMINATED, _MOSTLY = 0.5, 0.8
# A standard deviation that has collapsed in so large a part of a layer makes its steps a hundred times too large there.
_COLLAPSED = 0.2
# The first step of a rule that divides by more than ε is 1/√(1 − ρ) learning rates long: 32 at a decay of 0.999.
_LONG = 1000.0
# √v of a typical coordinate changes by 3 to 5 % per step at a decay of 0.9, and by 17 % at 0.5 (measured: Gaussian
# gradients). A cosine nearer to 0 means that two batches have little in common, so that √v only follows their noise;
# one near −1 is no noise, but a run that jumps to and fro.
_JITTER, _AGREEMENT = 0.1, 0.5
# Centered, or from v₀ = 1, steps are shorter in a longer memory: what made up for it was at most so many times the
# learning rate (measured: digits, batches of 1 and 32).
_HIGHER = 3.0
# After so many windows 1/(1 − ρ) the start of v has less than 1 % of the weight.
_GROWN = 5.0


def exploding(history: History) -> Sequence[Finding] | str:
    """Look for gradients that aren't finite, or keep growing."""
    gradient, statistics = _measured(history, "gradient")
    if gradient is None or statistics is None:
        return NOTHING_MEASURED
    broken = np.isinf(gradient)
    if broken.any():
        row = int(np.argmax(broken.any(axis=1)))
        return [_not_finite(statistics, np.flatnonzero(broken[row]), row)]
    third = len(gradient) // 3
    if third < _FEW and not _ends_above_its_start(history):
        return "fewer than nine measurements"
    with np.errstate(invalid="ignore", divide="ignore"):
        first = _before_growth(history, gradient)
        growth = np.nanmedian(gradient[-max(1, third) :], axis=0) / first
        grown = np.flatnonzero((growth > _EXPLODING) & np.isfinite(growth))
    if not len(grown):
        return []
    row = int(np.argmax(gradient[:, grown[0]] > np.sqrt(_EXPLODING) * first[grown[0]]))
    highest = grown[np.argmax(growth[grown])]
    return [
        Finding(
            kind="exploding gradients",
            severity="bad",
            evidence=f"The norm of the gradient grew {growth[highest]:.2g} times, from {first[highest]:.2g}.",
            # Clipping hardly helps: RMSProp takes the same steps whatever the length of the gradient.
            remedy=f"Lower the learning rate{_tenth(history)}.",
            since=statistics.steps[row],
            layers=_names(statistics, grown),
            panel="gradient",
        )
    ]


def _before_growth(history: History, gradient: np.ndarray) -> np.ndarray:
    """Return the norms of the beginning: of the first step where it may have exploded within a third of the run.

    A norm that is next to nothing in the first step, as behind weights that begin at 0, grows in healthy runs, too: in
    these the loss falls.
    """
    if _ends_above_its_start(history):
        return np.asarray(gradient[0])
    return np.asarray(np.nanmedian(gradient[: len(gradient) // 3], axis=0))


def _ends_above_its_start(history: History) -> bool:
    losses = [loss for loss in history.train.values if np.isfinite(loss)]
    return bool(losses) and median(losses[-max(1, len(losses) // 5) :]) > _ABOVE * max(losses[0], 0.0)


def _not_finite(statistics: Statistics, which: np.ndarray, row: int) -> Finding:
    return Finding(
        kind="gradient not finite",
        severity="bad",
        evidence=f"It holds an infinity or NaN in step {statistics.steps[row]}.",
        remedy="Leave out steps whose gradient isn't finite (clipping would make NaN of all of it), and look for a "
        "root, a division or a logarithm of 0 in the model: torch.autograd.set_detect_anomaly(True) names it.",
        since=statistics.steps[row],
        layers=_names(statistics, which),
        panel="gradient",
    )


def _tenth(history: History) -> str:
    return f" (to {lower_lr(max(history.lr.values)):.2g})" if history.lr else ""


def _names(statistics: Statistics, which: Sequence[int] | np.ndarray) -> tuple[str, ...]:
    return tuple(statistics.layers[i]["name"] for i in which)


def epsilon(history: History) -> Sequence[Finding] | str:
    """Look for an ε so large that it, and not √v, decides the size of the steps."""
    share, statistics = _measured(history, "eps")
    if share is None or statistics is None:
        return NOTHING_MEASURED
    dominated = np.nan_to_num(share) >= _DOMINATED
    quarter = max(1, len(share) // 4)
    which = [
        i
        for i in range(share.shape[1])
        if dominated[:quarter, i].mean() >= _MOSTLY and dominated[:, i].mean() >= _MOSTLY
    ]
    if not which:
        return []
    eps, inside = float(history.group.get("eps", 0.0)), bool(history.group.get("eps_inside_sqrt"))
    whole = sum(statistics.sizes[which]) >= _DOMINATED * sum(statistics.sizes)
    typical = _typical_root(history, statistics, which)
    smaller = f" ({(typical**2 if inside else typical) / 10:.1g} is a tenth of it)" if typical > 0.0 else ""
    lower = f"lower ε below the typical {'v' if inside else '√v'}{smaller}"
    remedy = unless_it_learns(history, f"{lower} and {search_anew(history, statistics, which)}")
    return [
        Finding(
            kind="ε too large to adapt",
            severity="warning",
            evidence=f"ε = {eps:g} outweighs v in {'√(v + ε)' if inside else '√v + ε'} for "
            f"{percent(float(np.nanmedian(share[:, which])))} of the coordinates{'' if whole else ' there'}: they all "
            "take steps of one learning rate, as in momentum or plain descent.",
            remedy=remedy,
            layers=() if whole else _names(statistics, which),
            panel="eps",
        )
    ]


def _typical_root(history: History, statistics: Statistics, which: Sequence[int]) -> float:
    """Return the typical √v, from the effective step."""
    effective = statistics.of("effective_q50")
    if effective is None or not history.lr:
        return float("nan")
    lr = np.interp(statistics.steps, history.lr.times, history.lr.values)
    eps, inside = float(history.group.get("eps", 0.0)), bool(history.group.get("eps_inside_sqrt"))
    bottom = median(lr[:, None] / effective[:, which])
    return float(np.sqrt(max(bottom**2 - eps, 0.0))) if inside else bottom - eps


def centered(history: History) -> Sequence[Finding] | str:
    """Look for a variance that has collapsed, so that next to nothing is left to divide by."""
    if not history.group.get("centered"):
        return "the gradient isn't centered" if history.group else "no options of the optimizer"
    share, statistics = _measured(history, "collapsed")
    if share is None or statistics is None:
        return NOTHING_MEASURED
    if history.group.get("bias_correction") and (first := _corrected(statistics)):
        return first
    # In the first steps m is still far from the gradient, so nothing has collapsed yet; it may do so near the end only.
    parts = share[len(share) // 4 :], share[-max(_FEW, len(share) // 4) :]
    which = [i for i in range(share.shape[1]) if max(median(late[:, i]) for late in parts) > _COLLAPSED]
    if not which:
        return []
    since = min(int(np.argmax(share[:, i] > _COLLAPSED)) for i in which)
    now, strides = max(median(late[:, which]) for late in parts), statistics.of("stride")
    size = (
        "" if strides is None else f", and steps are up to {np.nanmax(strides[since:, which]):.2g} learning rates long"
    )
    return [
        Finding(
            kind="centered variance collapsed",
            severity="bad",
            evidence=f"v − m² is below a ten-thousandth of v in {percent(now)} of the coordinates{size}.",
            remedy="The gradient hardly changes from step to step: turn centered off and "
            f"{search_anew(history, statistics, which)}.",
            since=statistics.steps[since],
            layers=_names(statistics, which),
            panel="collapsed",
        )
    ]


def _corrected(statistics: Statistics) -> Sequence[Finding]:
    strides = statistics.of("stride")
    first = 0.0 if strides is None or statistics.steps[0] != 1 else float(np.nanmax(strides[0]))
    if not first > _LONG:
        return []
    return [
        Finding(
            kind="centered variance collapsed",
            severity="bad",
            evidence=f"The first step was {first:.2g} learning rates long: one gradient has no variance, and bias "
            "correction takes away what v began with, so that ε alone divided it.",
            remedy="Turn bias correction off.",
            since=1,
            panel="stride",
        )
    ]


def decay(history: History) -> Sequence[Finding] | str:
    """Look for a decay that is too small for batches as noisy as these."""
    jitter, statistics = _measured(history, "jitter")
    agreement, _ = _measured(history, "agreement")
    if jitter is None or agreement is None or statistics is None:
        return NOTHING_MEASURED if history.statistics is None else "no averages of squares, or too few measurements"
    rho = history.group.get("decay")
    grown = _GROWN / max(1.0 - (rho or 0.0), 1e-9)  # before, v still grows from its start
    late = np.array([step > grown for step in statistics.steps])
    if late.sum() < _FEW:
        return f"fewer than {_FEW} measurements after v has grown from its start"
    weight = statistics.sizes / sum(statistics.sizes)
    typical, cosine = (float(np.nansum(_columns(x[late]) * weight)) for x in (jitter, agreement))
    if typical < _JITTER or abs(cosine) > _AGREEMENT:
        return []
    return [
        Finding(
            kind="decay too small for the batch",
            severity="warning",
            evidence=f"√v of a typical coordinate changes by {percent(typical)} per step, and the gradients of two "
            f"batches in a row have a cosine of {cosine:.2f}: v follows the noise of single batches.",
            remedy=_longer(history),
            panel="jitter",
        )
    ]


def _longer(history: History) -> str:
    """Return the remedy for a short memory: in a longer one, the steps that are left may be shorter or longer."""
    rho = history.group.get("decay")
    longer = "engthen the memory" + ("" if rho is None else f" ({1 - (1 - rho) / 10:.3g} instead of {rho:g})")
    if can_be_corrected(history):
        return f"L{longer} under bias correction, without which the first steps grow with it, or take larger batches."
    if not (history.group.get("centered") or history.group.get("initial_square_avg")):
        return f"L{longer}, or take larger batches."
    lr = max(history.lr.values, default=0.0)
    rates = f", from {lr:.2g} to {_HIGHER * lr:.2g}" if lr else ""
    return f"Take larger batches; or l{longer} and search the learning rate anew{rates}."


def _columns(matrix: np.ndarray) -> np.ndarray:
    return np.array([median(column) for column in matrix.T])


def _measured(history: History, name: str) -> tuple[np.ndarray | None, Statistics | None]:
    statistics = history.statistics
    return (None, None) if statistics is None else (statistics.of(name), statistics)
