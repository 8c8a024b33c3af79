"""All there is to say about one rule, and about two: the content of `rmsprop explain` and `rmsprop diff`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rmsprop.dialects import get_dialect
from rmsprop.horizon import half_life, mass_window, window
from rmsprop.lab.dialects.calls import calls
from rmsprop.lab.dialects.differences import Side, differences, parting, shown_steps
from rmsprop.lab.dialects.first_steps import first_steps, remarks
from rmsprop.lab.dialects.formulas import formulas, pseudocode
from rmsprop.lab.dialects.small_run import LR
from rmsprop.rule import Rule


def explanation(dialect: str, rule: Rule, lr: float | None = None) -> dict[str, Any]:
    """Return what a rule computes, remembers and does first, and how to call it.

    Args:
        dialect: A key of `rmsprop.DIALECTS`, whose defaults the rule starts from.
        rule: The rule.
        lr: The learning rate. Default: the dialect's in the calls, and a symbol in the formulas.

    Returns:
        Plain values: what `rmsprop explain --json` prints.

    Examples:
        >>> explanation("keras", Rule.from_dialect("keras"))["formulas"][-1]
        'θ ← θ − lr·g / √(v + 1e-7)'
    """
    row = get_dialect(dialect)
    return {
        "dialect": dialect,
        "rule": asdict(rule),
        "lr": lr,
        "default_lr": row.lr,
        "formulas": list(formulas(rule, lr)),
        "pseudocode": pseudocode(rule, lr),
        "memory": memory(rule.decay),
        "first_steps": _first_steps(rule),
        "remarks": remarks(rule),
        "calls": calls(dialect, rule, lr),
        "source": row.source,
        "notes": row.notes,
    }


def memory(decay: float) -> dict[str, float] | None:
    """Return what a decay means in steps.

    Args:
        decay: ρ.

    Returns:
        Half-life, window and the last steps that hold 95 % of the weight; None at 0 and 1, where there are none.

    Examples:
        >>> memory(0.5)["window"], memory(1.0)
        (2.0, None)
    """
    if not 0.0 < decay < 1.0:
        return None
    return {"half_life": half_life(decay), "window": window(decay), "mass_window_95": mass_window(decay)}


def comparison(a: Side, b: Side, lr: float | None = None) -> dict[str, Any]:
    """Return how two rules differ, what their first steps are, and where a small run parts.

    Args:
        a: One rule.
        b: The other.
        lr: The learning rate of the small run. Default 0.05.

    Returns:
        Plain values: what `rmsprop diff --json` prints.

    Examples:
        >>> comparison(Side(name="torch", rule=Rule()), Side(name="mlx", rule=Rule()))["same"]
        True
    """
    found = differences(a, b)
    lr = LR if lr is None else lr
    parted = parting(a, b, lr)
    rows = [
        {"step": step, "theta": [float(path[step]) for path in parted.thetas]}
        | {"loss": [float(loss[step]) for loss in parted.losses]}
        for step in shown_steps(parted.step)
    ]
    return {
        "names": [a.name, b.name],
        "same": not any(difference.matters for difference in found),
        "differences": [asdict(difference) for difference in found],
        "first_steps": {side.name: _first_steps(side.rule) for side in (a, b)},
        "remarks": {side.name: remarks(side.rule) for side in (a, b)},
        "small_run": {"lr": lr, "parts_at_step": parted.step, "gradients_times": parted.scale}
        | {"parameter": parted.parameter, "rows": rows},
    }


def _first_steps(rule: Rule) -> list[dict[str, Any]]:
    return [{"gradient": gradient, **asdict(sizes)} for gradient, sizes in first_steps(rule).items()]
