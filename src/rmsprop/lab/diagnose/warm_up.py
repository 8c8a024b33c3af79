"""The rule that looks at the first steps: a loss that jumps, and comes down again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rmsprop.lab.diagnose.finding import Finding
from rmsprop.lab.diagnose.history import History, Series, median
from rmsprop.lab.verdict.levels import SURE, noise

# A jump is a median of five losses that is so many times the first loss, and what the run ends with.
_JUMP, _MEDIAN_OF = 2.0, 5
# After so many windows of the average v has forgotten what it began with.
_WINDOWS = 3.0
# What of the learning rate to go on with. Of runs that jump (measured: digits, two models, learning rates over a factor
# of 15), all of 18 ended lower with bias correction and a third, 32 of 35 when that third was raised slowly; at the
# whole rate 14 and 21. Where the first steps aren't the largest, 14 of 14 did with a tenth, and 5 when only raised.
_THIRD, _TENTH = 3, 10
# Where no memory says how long: over this part of the run.
_FIFTH = 5
# A learning rate that begins below this share of its highest is being raised.
_RAISED = 0.5


def warm_up(history: History) -> Sequence[Finding] | str:
    """Look for a loss that jumps in the first steps; those of RMSProp are the largest where v₀ is 0.

    A run that doesn't come down again below its first loss isn't one: its learning rate is too high altogether.
    """
    if history.unit == "epoch":
        return "no losses of single steps"
    decay = float(history.group.get("decay", 0.99))
    until = min(_WINDOWS / max(1.0 - decay, 1e-9), 0.5 * history.end)
    early = [i for i, time in enumerate(history.train.times) if time <= until]
    losses = np.array(history.train.values)[early]
    if len(losses) < _MEDIAN_OF:
        return "fewer than five losses of first steps"
    medians = [float(np.median(losses[i : i + _MEDIAN_OF])) for i in range(len(losses) - _MEDIAN_OF + 1)]
    end = float(np.median(history.train.values[-max(_MEDIAN_OF, len(history.train) // 5) :]))
    peak = int(np.argmax(medians))
    if not (end < losses[0] and 0.0 < _jump(history) * losses[0] < medians[peak]):
        return []
    highest = peak + int(np.argmax(losses[peak : peak + _MEDIAN_OF]))
    at = history.train.times[early[highest]]
    return [
        Finding(
            kind="warm-up too hot",
            severity="warning",
            evidence=f"The loss rose from {losses[0]:.3g} to {losses[highest]:.4g} at step {at}, and ended at "
            f"{end:.3g}.{_first_strides(history, at)}",
            remedy=_slower(history),
            since=at,
        )
    ]


def _jump(history: History) -> float:
    """Return how many times the first loss is a jump: more where noise may have made that loss a low one."""
    late = [loss for loss in history.train.values[len(history.train) // 2 :] if np.isfinite(loss)]
    level = median(late)
    return _JUMP * (1.0 + SURE * noise(late) / level) if level > 0.0 else _JUMP


def starts_large(history: History) -> bool:
    """Tell whether the first steps are the largest: those of an RMSProp whose v begins at 0, uncorrected.

    Args:
        history: The run's history.

    Returns:
        The answer; False where it isn't known.
    """
    group = history.group
    is_rmsprop = "decay" in group and "rmsprop" in (history.optimizer or "RMSprop").lower()
    return is_rmsprop and history.begins_at_zero


def can_be_corrected(history: History) -> bool:
    """Tell whether bias correction makes the first steps as long as later ones.

    Centered it makes them longer: after one step there is no variance, so that the first is divided by ε alone.

    Args:
        history: The run's history.

    Returns:
        The answer; False where it isn't known.
    """
    return starts_large(history) and not history.group.get("centered")


def _slower(history: History) -> str:
    """Return the remedy for first steps that are too large; a warm-up has to leave half of the run."""
    if _is_raised(history.lr):
        return f"The learning rate was raised slowly already: lower it to {_part(history, _TENTH)}."
    if not starts_large(history):
        slowly = max(1, history.end // _FIFTH)
        # Adagrad's sums begin at 0, too.
        lower = "" if history.optimizer == "Adagrad" else f", to {_part(history, _TENTH)}"
        return f"Raise the learning rate slowly over the first {slowly} steps{lower}."
    memory = round(_WINDOWS / max(1.0 - float(history.group["decay"]), 1e-9))
    slowly = max(1, min(memory, history.end // 2))
    why = f"v forgets that it began at 0 in about {memory} steps"
    why += ", which is longer than the run" if memory > history.end else ""
    part = _part(history, _THIRD)
    if not can_be_corrected(history):
        return f"Raise the learning rate slowly over the first {slowly} steps, to {part}: {why}."
    return (
        "Begin with bias correction (bias_correction=True of rmsprop.torch.RMSprop) and lower the learning rate to "
        f"{part}, or raise the learning rate slowly to that over the first {slowly} steps: {why}."
    )


def _is_raised(lr: Series) -> bool:
    return bool(lr) and lr.values[0] < _RAISED * max(lr.values)


def _part(history: History, part: int) -> str:
    of = f" ({max(history.lr.values) / part:.2g})" if history.lr else ""
    return f"a {'third' if part == _THIRD else 'tenth'} of what it was{of}"


def _first_strides(history: History, until: int) -> str:
    """Return a sentence on the size of the first steps, with a space before it; empty if it isn't known."""
    strides = history.statistics.of("stride") if history.statistics else None
    if history.statistics is None or strides is None or history.statistics.steps[0] > until:
        return ""
    first = strides[[step <= until for step in history.statistics.steps]]
    if np.isnan(first).all():
        return ""
    return f" One of these steps moved a layer by {np.nanmax(first):.2g} learning rates (root mean square)."
