"""The interactive page: one file that loads nothing, and computes the path itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from rmsprop.dialects import DIALECTS
from rmsprop.lab.optimizers import Choice, choose
from rmsprop.lab.page import render
from rmsprop.lab.problems.builtin.surfaces import SURFACES, Surface
from rmsprop.lab.surfaces.choices import FARTHEST, GRID, MOST_STEPS
from rmsprop.lab.surfaces.derivative import javascript
from rmsprop.lab.surfaces.paths import MOST_GROWTH, dialect_of, rule_of
from rmsprop.lab.surfaces.picture import LEVELS, Scene, other_settings
from rmsprop.rule import Rule

_SCRIPTS = ("update.js", "peers.js", "drawing.js", "page.js")
# Who can walk beside RMSProp: the order in which its function in peers.js takes what follows the learning rate.
_PEERS: dict[str, tuple[str, ...]] = {
    "sgd": (),
    "momentum": ("momentum",),
    "adagrad": ("eps",),
    "adam": ("beta1", "beta2", "eps"),
}
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
        scene: The page begins with its surface, start and number of steps, and with those optimizers beside RMSProp
            that the page has, too.

    Returns:
        The HTML.

    Examples:
        >>> from rmsprop.lab.surfaces.choices import walks
        >>> bowl = SURFACES["bowl"]
        >>> page(Scene(name="bowl", surface=bowl, walks=walks(bowl, ["rmsprop"])[0])).splitlines()[0]
        '<!DOCTYPE html>'
    """
    here = files("rmsprop.lab.surfaces")
    peers = {name: _beside(scene, name) for name in _PEERS}
    return render(
        "rmsprop.lab.surfaces",
        "sliders.html.j2",
        data={
            "settings": _settings(scene) | _settings_beside(scene, peers),
            "peers": {
                name: {"label": peer.label, "options": [dict(peer.options)[option] for option in _PEERS[name]]}
                for name, peer in peers.items()
            },
            "beside": list(_PEERS),
            "grid": list(GRID),
            "dialects": {name: _fields(dialect.rule) for name, dialect in DIALECTS.items()},
            "growth": MOST_GROWTH,
            "most_steps": MOST_STEPS,
            "farthest": FARTHEST,
            "levels": LEVELS,
        },
        surfaces={name: _surface(surface) for name, surface in SURFACES.items()},
        peers={name: ", ".join(other_settings(peer)) for name, peer in peers.items()},
        sliders=_SLIDERS,
        flags=_FLAGS,
        scripts="\n".join(here.joinpath(name).read_text(encoding="utf-8") for name in _SCRIPTS),
    )


def _settings(scene: Scene) -> dict[str, Any]:
    first, walk = scene.walks[0], _first_rmsprop(scene)
    start = {"x": float(first.points[0, 0]), "y": float(first.points[0, 1]), "steps": first.steps}
    dialect, lr, rule = ("torch", _LR, Rule()) if walk is None else walk
    return {"surface": scene.name, "dialect": dialect, "lr": lr, **start, **_fields(rule)}


def _beside(scene: Scene, name: str) -> Choice:
    """Return an optimizer as the scene has it, or else as it is by default."""
    return next((walk.choice for walk in scene.walks if walk.choice.name == name), choose(name))


def _settings_beside(scene: Scene, peers: Mapping[str, Choice]) -> dict[str, Any]:
    """Return who walks beside RMSProp, and each one's learning rate: RMSProp's, unless the scene has another."""
    walking = {walk.choice.name for walk in scene.walks}
    common = _settings(scene)["lr"]
    return {f"beside-{name}": name in walking for name in peers} | {
        f"lr-{name}": peer.lr if name in walking else common for name, peer in peers.items()
    }


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
