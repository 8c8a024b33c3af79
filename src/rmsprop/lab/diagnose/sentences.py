"""How to speak of a loop that isn't `rmsprop train`: what can be changed is code of somebody's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rmsprop.lab.diagnose.history import History
from rmsprop.lab.verdict.facts import Change
from rmsprop.lab.wording import Terms

_SETTINGS: Mapping[Change, str] = {
    "lower lr": "lr={:.2g}",
    "raise lr": "lr={:.2g}",
    "warm up": "a warm-up",
    "let lr fall": "a cosine, say",
    "clip gradients": "torch.nn.utils.clip_grad_norm_, or max_grad_norm of rmsprop.torch.RMSprop",
}


def terms(history: History, *, has_points: bool) -> Terms:
    """Return how to speak of a history.

    Args:
        history: The history.
        has_points: Whether each of its losses is a point of its own, or several are put together.

    Returns:
        The terms.
    """
    if history.terms is not None:
        return replace(history.terms, judged=_judged(history))
    lengths: Mapping[Change, str] = {
        "train longer": f"{{:.0f}} {history.unit}s",
        "stop earlier": f"{{:.0f}} {history.unit}s",
    }
    point = history.unit if has_points else "stretch"
    return Terms({**_SETTINGS, **lengths}, history.unit, point, "at the beginning", _judged(history))


def _judged(history: History) -> str:
    return "validation loss" if history.holds_out and history.is_validated else "loss"
