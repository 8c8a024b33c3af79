"""The picture of a decay shows what the tables say."""

import io

import numpy as np
import pytest
from PIL import Image

from rmsprop.lab.window.gradients import averages, record
from rmsprop.lab.window.picture import draw, paint
from rmsprop.lab.window.weights import measure

DECAYS = (0.5, 0.9, 0.99, 0.95, 0.8, 0.7)


@pytest.fixture(scope="module")
def recorded():
    return record("wine", steps=20)


def panels(decays, recorded=None):
    from matplotlib.figure import Figure

    figure = Figure()
    paint(figure, measure(decays), 0.01, recorded)
    return figure.axes


def test_half_life_and_95_percent_are_marked_on_each_line():
    axes = panels([0.9, 0.99])[0]
    marks = {line.get_marker(): line.get_xydata()[0] for line in axes.lines[:3] if len(line.get_xydata()) == 1}
    np.testing.assert_allclose(marks["o"], (6.579, 0.05), rtol=1e-3)
    np.testing.assert_allclose(marks["D"], (28.43, 0.005), rtol=1e-3)


def test_every_line_has_a_look_of_its_own():
    lines = [line for line in panels(DECAYS)[0].lines if len(line.get_xydata()) > 1]
    assert len({line.get_color() for line in lines}) == len({str(line._dash_pattern) for line in lines}) == len(DECAYS)


def test_first_steps_fall_from_zero_and_rise_from_one():
    axes = panels([0.9])[2]
    from_zero, from_one = (line.get_ydata() for line in axes.lines[:2])
    assert from_zero[0] == pytest.approx(10**0.5)
    assert np.all(np.diff(from_zero) < 0)
    assert from_one[0] == pytest.approx(0.0105, rel=0.01)
    assert np.all(np.diff(from_one) > 0)


def test_labels_name_units_on_all_axes(recorded):
    for axes in panels([0.9, 0.99], recorded):
        assert axes.get_xlabel()
        assert axes.get_ylabel()
        assert axes.get_title(loc="left")


def test_real_gradients_are_drawn_with_v_and_what_it_lacks(recorded):
    axes = panels([0.9], recorded)[5]
    gradients = recorded.shown()["large"]
    v, corrected = averages(gradients, 0.9)
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), gradients**2)
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), v)
    assert axes.collections[0].get_paths()[0].vertices[:, 1].max() == pytest.approx(corrected.max())


def test_the_same_decays_are_the_same_file(recorded):
    windows = measure([0.9, 0.99])
    assert draw(windows, "svg") == draw(windows, "svg")
    assert Image.open(io.BytesIO(draw(windows, "png", recorded=recorded))).size == (1920, 1312)
