"""How the rule changes by a move, and which one its target must have, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rmsprop.checkpoint.formats import FIELDS, FORMATS, Format
from rmsprop.checkpoint.neutral import Group, rule_fields
from rmsprop.keywords import KERAS, OPTAX

_OURS = {"torch": "rmsprop.torch", "optax": "rmsprop.jax", "keras": "rmsprop.keras"}
_TOLD = tuple(field for field in FIELDS if field not in ("initial_square_avg", "centered", "maximize"))
_KEYWORDS: Mapping[str, Mapping[str, str]] = {
    "rmsprop.jax": {"lr": "learning_rate"},
    "optax": OPTAX,
    "tensorflow1": {"lr": "learning_rate", "eps": "epsilon"},
    "keras_legacy": KERAS,
}


def tell_of_different(origins: Sequence[Group], settings: Mapping[str, Any], form: Format, notes: list[str]) -> None:
    """Tell which hyperparameters differ between groups that come into one, where it doesn't say its own.

    Args:
        origins: The source's groups.
        settings: What is known of the target's rule.
        form: The target's format.
        notes: Receives a sentence for each.
    """
    for field in FIELDS:
        values = {origin.settings[field]: None for origin in origins if field in origin.settings}
        if len(values) > 1 and field not in settings:
            notes.append(
                f"parameters had different {field} ({', '.join(map(repr, values))}) and come under one rule of "
                f"{form.program}: the run continues under another for some"
            )


def tell_rule(
    settings: Mapping[str, Any], lr: float | None, own: Mapping[str, Any], form: str, notes: list[str]
) -> None:
    """Tell which rule the target must have, where its state can't hold it.

    Args:
        settings: What is known of the rule.
        lr: The learning rate, unless the target keeps it.
        own: What the target says itself.
        form: The target's format.
        notes: Receives the sentence.
    """
    idle = set() if settings.get("momentum") else {"momentum", "nesterov", "averaged_momentum", "caution"}
    if not settings.get("weight_decay"):
        idle |= {"weight_decay", "weight_decay_mode", "weight_decay_max_lr"}
    if form == "optax":
        idle.add("bias_correction")  # shows in the state
    chosen = (field for field in _TOLD if field in FORMATS[form].choices and field not in {*own, *idle})
    rule = {field: settings[field] for field in chosen if field in settings}
    called = _KEYWORDS.get(form, {})
    told = {called.get(field, field): value for field, value in {"lr": lr, **rule}.items() if value is not None}
    if told:
        notes.append(
            f"{FORMATS[form].program} keeps no rule with its state: what goes on with it must have been made with "
            f"{rule_fields(told)}"
        )


def differences(source: Mapping[str, Any], target: Mapping[str, Any], form: Format) -> list[str]:
    """Return how the rule changes by the move, in words; a changed convention of the buffer is none.

    Args:
        source: What the checkpoint says of its rule.
        target: What is known of the target's.
        form: The target's format.

    Returns:
        A sentence for each field.
    """
    idle = {"initial_square_avg", "lr_in_momentum"}
    if not (source.get("weight_decay") or target.get("weight_decay")):
        idle |= {"weight_decay_mode", "weight_decay_max_lr"}
    if not target.get("momentum", True):
        idle |= {"nesterov", "averaged_momentum", "caution"}
    return [
        f"{form.program} goes on with {rule_fields({field: target[field]})} where the checkpoint has "
        f"{source[field]!r}: the run continues under another rule{_remedy(field, form)}"
        for field in FIELDS
        if field in source and field in target and field not in idle and not _alike(source[field], target[field])
    ]


def _remedy(field: str, form: Format) -> str:
    """Return which format could keep a setting that this one has no choice in."""
    ours = _OURS.get(form.module)
    return f"; {ours} can keep it" if ours and field not in form.choices and field in FORMATS[ours].choices else ""


def _alike(a: Any, b: Any) -> bool:
    """Whether two values of a setting are one, but for a rounding to float32."""
    return bool(a == b or (isinstance(a, float) and isinstance(b, float) and np.isclose(a, b, rtol=1e-6, atol=0.0)))
