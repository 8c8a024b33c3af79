"""The interactive page: one file that loads nothing, and computes the path itself."""

from __future__ import annotations

from dataclasses import asdict
from importlib.resources import files
from typing import Any

from rmsprop.dialects import DIALECTS
from rmsprop.lab.page import render
from rmsprop.lab.problems.builtin.surfaces import SURFACES, Surface
from rmsprop.lab.surfaces.choices import FARTHEST, MOST_STEPS
from rmsprop.lab.surfaces.derivative import javascript
from rmsprop.lab.surfaces.paths import MOST_GROWTH, dialect_of, rule_of
from rmsprop.lab.surfaces.picture import LEVELS, Scene
from rmsprop.rule import Rule

_SCRIPTS = ("update.js", "drawing.js", "page.js")
_SLIDERS = {
    "lr": "Learning rate η",
    "decay": "Decay ρ",
    "eps": "Epsilon ε",
    "momentum": "Momentum μ",
    "steps": "Steps",
}
_FLAGS = {
    "eps_inside_sqrt": "ε inside the root",
    "init_from_gradient": "v₀ from the first gradient",
    "delayed": "delayed v (ADOPT)",
    "centered": "centered",
    "nesterov": "Nesterov (needs momentum)",
    "averaged_momentum": "averaged momentum",
    "caution": "caution (needs momentum)",
    "bias_correction": "bias correction",
}
# What update.js has no part of: a walk on a surface decays no weights.
_NOT_WALKED = ("weight_decay", "weight_decay_mode", "weight_decay_max_lr")
# A framework without a default learning rate gets the book's for these surfaces.
_LR = 0.4


def page(scene: Scene) -> str:
    """Return the interactive page, which begins with the first RMSProp of a scene.

    Args:
        scene: Its surface, start and number of steps are what the page begins with, too.

    Returns:
        The HTML.

    Examples:
        >>> from rmsprop.lab.surfaces.choices import walks
        >>> bowl = SURFACES["bowl"]
        >>> page(Scene(name="bowl", surface=bowl, walks=walks(bowl, ["rmsprop"])[0])).splitlines()[0]
        '<!DOCTYPE html>'
    """
    here = files("rmsprop.lab.surfaces")
    return render(
        "rmsprop.lab.surfaces",
        "sliders.html.j2",
        data={
            "settings": _settings(scene),
            "dialects": {name: _fields(dialect.rule) for name, dialect in DIALECTS.items()},
            "growth": MOST_GROWTH,
            "most_steps": MOST_STEPS,
            "farthest": FARTHEST,
            "levels": LEVELS,
        },
        surfaces={name: _surface(surface) for name, surface in SURFACES.items()},
        sliders=_SLIDERS,
        flags=_FLAGS,
        scripts="\n".join(here.joinpath(name).read_text(encoding="utf-8") for name in _SCRIPTS),
    )


def _settings(scene: Scene) -> dict[str, Any]:
    first, walk = scene.walks[0], _first_rmsprop(scene)
    start = {"x": float(first.points[0, 0]), "y": float(first.points[0, 1]), "steps": first.steps}
    dialect, lr, rule = ("torch", _LR, Rule()) if walk is None else walk
    return {"surface": scene.name, "dialect": dialect, "lr": lr, **start, **_fields(rule)}


def _first_rmsprop(scene: Scene) -> tuple[str, float, Rule] | None:
    """Return the dialect, learning rate and rule."""
    for walk in scene.walks:
        rule = rule_of(walk.choice)
        if rule is not None:
            return dialect_of(walk.choice.name), walk.choice.lr, rule
    return None


def _fields(rule: Rule) -> dict[str, Any]:
    return {name: value for name, value in asdict(rule).items() if name not in _NOT_WALKED}


def _surface(surface: Surface) -> dict[str, Any]:
    """Return what the page needs to know, in what both Python and JavaScript read as lists."""
    return {
        "code": javascript(surface.f),
        "start": list(surface.start),
        "minima": [list(point) for point in surface.minima],
        "window": list(surface.window),
        "least": surface.least,
    }
