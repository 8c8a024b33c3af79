"""The page that explains RMSProp: one HTML file that loads nothing, computes in the browser, and can be printed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from rmsprop.lab.explain import Language
from rmsprop.lab.explain.content import FigureContent
from rmsprop.lab.explain.controls import Control, Figure
from rmsprop.lab.explain.drawing import readable, svg
from rmsprop.lab.explain.figures import FIGURES
from rmsprop.lab.page import render
from rmsprop.lab.problems.builtin.surfaces import SURFACES
from rmsprop.lab.surfaces.derivative import javascript
from rmsprop.lab.surfaces.paths import MOST_GROWTH
from rmsprop.lab.surfaces.picture import LEVELS
from rmsprop.rule import Rule

_HERE = files("rmsprop.lab.explain")
_SHARED = files("rmsprop.lab.surfaces")
# The words that the script needs, too.
_SCRIPTED = ("ui", "axes", "lines")
_SCRIPTED_OF_FIGURES = ("summary", "unanswered", "why", "choices", "units")


def page(language: Language = "en") -> str:
    """Return the page.

    Args:
        language: Its language. Default English.

    Returns:
        The HTML.

    Examples:
        >>> page().splitlines()[0]
        '<!DOCTYPE html>'
    """
    text = words(language)
    return render(
        "rmsprop.lab.explain",
        "page.html.j2",
        text=text,
        style=_HERE.joinpath("style.css").read_text(encoding="utf-8").strip(),
        figures=[_shown(figure, text) for figure in FIGURES],
        data={
            "rule": _rule(),
            "growth": MOST_GROWTH,
            "levels": LEVELS,
            "figures": {figure.name: _scripted(figure) for figure in FIGURES},
        },
        words={
            **{name: text[name] for name in _SCRIPTED},
            "figures": {
                name: {key: own[key] for key in _SCRIPTED_OF_FIGURES if key in own}
                for name, own in text["figures"].items()
            },
        },
        surfaces={
            name: {"code": javascript(surface.f), "window": list(surface.window), "least": surface.least}
            for name, surface in SURFACES.items()
        },
        scripts=_scripts(),
    )


def words(language: Language) -> dict[str, Any]:
    """Return all words of the page.

    Args:
        language: Their language.

    Returns:
        What the file of that language holds.

    Examples:
        >>> words("en")["language"]
        'en'
    """
    found: dict[str, Any] = json.loads(_HERE.joinpath("texts", f"{language}.json").read_text(encoding="utf-8"))
    return found


def _scripts() -> str:
    shared = [_SHARED.joinpath(name) for name in ("update.js", "peers.js", "drawing.js")]
    own = [_HERE.joinpath(name) for name in ("common.js", "plot.js")]
    figures = [_HERE.joinpath("figures", f"{figure.name}.js") for figure in FIGURES]
    all_of_them = (*shared, *own, *figures, _HERE.joinpath("page.js"))
    return "\n".join(script.read_text(encoding="utf-8") for script in all_of_them)


def _rule() -> dict[str, Any]:
    return {name: value for name, value in asdict(Rule()).items() if not name.startswith("weight_decay")}


def _scripted(figure: Figure) -> dict[str, Any]:
    controls = [_control(control) for control in figure.controls]
    return {"controls": controls, "settings": figure.settings, "answer": figure.answer, "data": figure.data()}


def _control(control: Control) -> dict[str, Any]:
    return {key: value for key, value in asdict(control).items() if key != "start"}


def _shown(figure: Figure, text: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template needs of a figure, as it opens."""
    own, content = text["figures"][figure.name], figure.content(**figure.settings)
    said = summary(figure, content, text)
    shown = {key: _value(value, text) for key, value in content.readouts.items()}
    return {
        "name": figure.name,
        "answer": figure.answer,
        "controls": [asdict(control) for control in figure.controls],
        "plots": [
            svg(plot, text["lines"], text["axes"], said).replace("<svg ", f'<svg id="{figure.name}-plot-{i}" ', 1)
            for i, plot in enumerate(content.plots)
        ],
        "readouts": content.readouts,
        "shown": shown,
        "said": said,
        "caption": own["caption"],
    }


def summary(figure: Figure, content: FigureContent, text: Mapping[str, Any]) -> str:
    """Return in a sentence what a figure shows as it opens.

    Args:
        figure: The figure.
        content: What it shows.
        text: All words.

    Returns:
        The sentence.
    """
    values = {key: _value(value, text) for key, value in {**figure.settings, **content.readouts}.items()}
    return str(text["figures"][figure.name]["summary"]).format(**values)


def _value(value: Any, text: Mapping[str, Any]) -> str:
    if value is None:
        return str(text["ui"]["never"])
    return readable(value) if not isinstance(value, bool) else str(value).lower()
