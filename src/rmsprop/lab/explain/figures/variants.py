"""Figure 9, fifteen RMSProps: two frameworks with the same settings, on gradients of any size."""

from __future__ import annotations

import math

import numpy as np

from rmsprop.dialects import DIALECTS
from rmsprop.lab.dialects.differences import APART
from rmsprop.lab.dialects.small_run import DROP_AT, LR, STEPS, SmallRun, dropping, small_run
from rmsprop.lab.explain.content import Axis, FigureContent, Line, Plot, points
from rmsprop.lab.explain.controls import Figure, Menu, Slider, Switch
from rmsprop.rule import Rule, RuleOptions

# What all have where their own settings are switched off.
COMMON: RuleOptions = {"decay": 0.9, "eps": 1e-7}


def data() -> dict[str, object]:
    """Return what the script needs: the rules, and how the small run goes."""
    fields = ("decay", "eps", "eps_inside_sqrt", "initial_square_avg", "centered", "momentum", "lr_in_momentum")
    return {
        "rules": {
            name: {"own": _fields(dialect.rule, fields), "common": _fields(dialect.rule_with(**COMMON), fields)}
            for name, dialect in DIALECTS.items()
        },
        "run": {"steps": STEPS, "lr": LR, "drop": DROP_AT, "apart": APART},
    }


def _fields(rule: Rule, names: tuple[str, ...]) -> dict[str, object]:
    return {name: getattr(rule, name) for name in names}


def _run(name: str, scale: float, own: bool) -> SmallRun:
    dialect = DIALECTS[name]
    return small_run(dialect.rule if own else dialect.rule_with(**COMMON), dropping(LR), scale=scale)


def _content(first: str, second: str, scale: float, own: bool) -> FigureContent:
    runs = [_run(name, scale, own) for name in (first, second)]
    slopes = [run.theta[:, 0] for run in runs]
    steps, found = np.arange(STEPS + 1), [value for slope in slopes for value in slope if abs(value) < 20.0]
    # On top of each other, the dashes of one line are seen on the other.
    lines = [Line(name=first, points=points(steps, slopes[0]), style=0)]
    lines += [Line(name=second, points=points(steps, slopes[1]), style=1)] if second != first else []
    plot = Plot(
        x=Axis(name="step", low=0.0, high=float(STEPS)),
        y=Axis(name="slope", low=min(-0.5, *found), high=max(2.5, *found)),
        lines=tuple(lines),
    )
    return FigureContent(
        plots=(plot,),
        readouts={
            "parts": _parts(*(run.theta for run in runs)),
            "one": float(slopes[0][1]),
            "other": float(slopes[1][1]),
            "one_loss": float(runs[0].loss[-1]),
            "other_loss": float(runs[1].loss[-1]),
        },
    )


def _parts(one: np.ndarray, other: np.ndarray) -> int | None:
    """Return the first step after which a parameter differs by more than a millionth of itself."""
    for step, (a, b) in enumerate(zip(one.tolist(), other.tolist(), strict=True)):
        if any(not _is_near(x, y) for x, y in zip(a, b, strict=True)):
            return step
    return None


def _is_near(a: float, b: float) -> bool:
    return a == b or abs(a - b) <= APART * max(abs(a), abs(b)) or (math.isnan(a) and math.isnan(b))


FIGURE = Figure(
    name="variants",
    controls=(
        Menu(name="first", options=tuple(DIALECTS), start="torch"),
        Menu(name="second", options=tuple(DIALECTS), start="keras"),
        Slider(name="scale", values=(1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0), start=1e-4),
        Switch(name="own", start=False),
    ),
    answer=2,
    content=_content,
    data=data,
)
