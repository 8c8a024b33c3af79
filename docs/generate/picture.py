"""The picture of the dialects: one small problem under all of them, and where they part."""

from __future__ import annotations

import hashlib
import io
import json
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from rmsprop.dialects import DIALECTS, Dialect
from rmsprop.lab.dialects.small_run import DROP_AT, LR, STEPS, dropping, small_run
from rmsprop.lab.drawing import COLOURS, empty_figure
from rmsprop.rule import RuleOptions

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Curves that stay closer than this share of the highest loss are drawn once: about the width of a line.
_EQUAL = 0.01
_DECAY, _MOMENTUM, _MOMENTUM_LR, _SCALE, _NO_LR = 0.9, 0.9, 0.003, 1e-4, 0.01
# A group of curves is drawn in the manner of its first dialect, the same in every panel.
_LOOKS = {
    "hinton": (0, "-"),
    "graves": (1, "-"),
    "dqn": (2, "-"),
    "torch": (0, "--"),
    "tensorflow1": (3, "-"),
    "keras": (4, "-"),
    "keras_legacy": (4, "--"),
    "optax": (5, "--"),
    "timm": (3, ":"),
    "sb3": (3, "--"),
    "d2l": (6, "-"),
    "paddle": (6, "--"),
    "mxnet": (5, ":"),
    "chainer": (0, ":"),
    "mlx": (0, "-."),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """One comparison of all dialects.

    Args:
        title: What is held equal.
        settings: Fields of `rmsprop.Rule` that all are given.
        lr: From a dialect to the learning rate of each step.
        scale: What every gradient is multiplied with.
    """

    title: str
    settings: RuleOptions = field(default_factory=RuleOptions)
    lr: Callable[[Dialect], Callable[[int], float]]
    scale: float = 1.0


_SAME: RuleOptions = {"decay": _DECAY}
PANELS = (
    Panel(title=f"same lr {LR} and decay {_DECAY}", settings=_SAME, lr=lambda _: lambda step: LR),
    Panel(
        title=f"the same, every gradient × {_SCALE:g}",
        settings=_SAME,
        lr=lambda _: lambda step: LR,
        scale=_SCALE,
    ),
    Panel(
        title=f"decay {_DECAY}, momentum {_MOMENTUM}, lr {_MOMENTUM_LR} ÷ 10 after step {DROP_AT}",
        settings=_SAME | {"momentum": _MOMENTUM},
        lr=lambda _: dropping(_MOMENTUM_LR),
    ),
    Panel(
        title=f"each with its own defaults (lr {_NO_LR} where it has none)",
        lr=lambda dialect: lambda step: _NO_LR if dialect.lr is None else dialect.lr,
    ),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Bundle:
    """Dialects whose curves are the same to the eye.

    Args:
        names: The dialects.
        loss: The curve of the first.
    """

    names: tuple[str, ...]
    loss: np.ndarray


@cache
def groups(panel: Panel) -> list[Bundle]:
    """Return what a panel shows.

    Args:
        panel: A row of `PANELS`.

    Returns:
        The curves, in the order of the dialects.

    Examples:
        >>> [group.names for group in groups(PANELS[3])][3]
        ('torch', 'chainer', 'mlx')
    """
    found: list[tuple[list[str], np.ndarray]] = []
    for name, dialect in DIALECTS.items():
        loss = small_run(dialect.rule_with(**panel.settings), panel.lr(dialect), scale=panel.scale).loss
        for names, curve in found:
            if np.abs(curve - loss).max() < _EQUAL * loss[0]:
                names.append(name)
                break
        else:
            found.append(([name], loss))
    return [Bundle(names=tuple(names), loss=loss) for names, loss in found]


def fingerprint() -> str:
    """Return a digest of all that the picture shows; the committed picture carries the one it was drawn from.

    Returns:
        Hexadecimal digits, the same on every machine.

    Examples:
        >>> len(fingerprint())
        64
    """
    shown: list[Any] = [
        [panel.title, [[group.names, [f"{loss:.6g}" for loss in group.loss]] for group in groups(panel)]]
        for panel in PANELS
    ]
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()


def picture() -> bytes:
    """Return the picture as a PNG file, whose metadata ``Data`` is the `fingerprint`."""
    content = io.BytesIO()
    with empty_figure((10, 10.5)) as figure:
        for axes, panel in zip(figure.subplots(2, 2).flat, PANELS, strict=True):
            _paint(axes, panel)
        figure.savefig(content, format="png", dpi=130, metadata={"Data": fingerprint()})
    return content.getvalue()


def _paint(axes: Axes, panel: Panel) -> None:
    for group in groups(panel):
        colour, style = _LOOKS[group.names[0]]
        label = textwrap.fill(", ".join(group.names), 46)
        axes.plot(group.loss, color=COLOURS[colour], linestyle=style, label=label)
    axes.set_title(panel.title, fontsize=11, loc="left")
    axes.set_xlabel("step")
    axes.set_ylabel("mean squared error above the least")
    axes.set_xlim(0, STEPS)
    axes.set_ylim(0, None)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), fontsize=9, labelspacing=0.35)
