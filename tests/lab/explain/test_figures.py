"""What the browser computes is what `rmsprop.reference` and ``torch.optim`` compute, at all settings of each figure."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from rmsprop import DIALECTS
from rmsprop.lab.explain.figures import FIGURES
from rmsprop.lab.explain.page import words

# Lines made by rmsprop.reference, or by plain arithmetic: these have the same bits. What torch.optim makes, whose
# kernels fuse a product and a sum, and what has a sine, a cosine or a power in it, is compared to 1e-12.
EXACT = {"start", "rmsprop", "rprop", "sign", "gradient", "size", "leak", "root", "steps", *DIALECTS}


def values(control):
    known = asdict(control)
    return known.get("values") or known.get("options") or (False, True)


def settings(figure):
    """The settings a figure opens with, each other value of each control, and all controls at either end."""
    start = figure.settings
    yield start
    for control in figure.controls:
        yield from ({**start, control.name: value} for value in values(control) if value != control.start)
    for end in (0, -1):
        yield {control.name: values(control)[end] for control in figure.controls}


ROWS = [(figure, given) for figure in FIGURES for given in settings(figure)]


def close(found, expected):
    found, expected = (np.array(side, dtype=float) for side in (found, expected))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("figure", "given"), ROWS, ids=lambda part: getattr(part, "name", None) or json.dumps(part))
def test_the_browser_has_the_numbers_of_python(one_page, figure, given):
    found = one_page.evaluate("([name, settings]) => FIGURES[name](settings)", [figure.name, given])
    expected = figure.content(**given)
    assert len(found["plots"]) == len(expected.plots)
    for ours, plot in zip(found["plots"], expected.plots, strict=True):
        drawn = asdict(plot)
        assert (ours.get("equal", False), ours.get("surface")) == (drawn["equal"], drawn["surface"])
        for side in "xy":
            found_axis, axis = ours[side], drawn[side]
            close([found_axis["low"], found_axis["high"]], [axis["low"], axis["high"]])
            assert (found_axis["name"], found_axis["log"]) == (axis["name"], axis["log"])
        for line, twin in zip(ours["lines"], drawn["lines"], strict=True):
            of, points = np.array(line.pop("points")), np.array(twin.pop("points"))
            assert line == twin
            exact = line["name"] in EXACT and not given.get("correction")
            np.testing.assert_array_equal(of, points) if exact else close(of, points)
        contours = [np.array(contour) for contour in drawn["contours"]]
        assert len(ours.get("contours", [])) == len(contours)
        for contour, twin in zip(ours.get("contours", []), contours, strict=True):
            close(contour, twin)
    assert found["readouts"].keys() == expected.readouts.keys()
    for key, value in expected.readouts.items():
        if value is None or isinstance(value, str | int):
            assert found["readouts"][key] == value
        else:
            close(found["readouts"][key], value)


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_every_name_has_its_words(figure):
    text = words("en")
    own, content = text["figures"][figure.name], figure.content(**figure.settings)
    for plot in content.plots:
        assert {plot.x.name, plot.y.name} <= text["axes"].keys()
    assert own["controls"].keys() == figure.settings.keys()
    assert own["readouts"].keys() <= content.readouts.keys()
    assert 0 <= figure.answer < len(own["choices"])
