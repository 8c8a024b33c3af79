"""The picture of a decay shows what the tables say."""

import io

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from rmsprop.lab.drawing import SIZE, STYLE
from rmsprop.lab.window.decay import measure
from rmsprop.lab.window.gradients import averages, record
from rmsprop.lab.window.picture import draw, paint

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


def test_a_decay_that_forgets_within_a_step_is_drawn_from_left_to_right():
    for axes in panels([0.001]):
        low, high = axes.get_xlim()
        assert low < high
        assert all(low <= x <= high for line in axes.lines for x in line.get_xdata() if line.get_marker() in "oD")


def test_two_coordinates_take_two_panels():
    axes = panels([0.9], record("bowl", steps=5))
    assert [one.get_visible() for one in axes] == 5 * [True] + [False]


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
    assert Image.open(io.BytesIO(draw(windows, "png", recorded=recorded))).size == (1024, 1536)


@pytest.mark.parametrize("count", [1, 3, 6])
@pytest.mark.parametrize("real", [False, True])
def test_letters_are_readable_at_half_the_width_of_a_page_and_do_not_overlap(count, real, recorded):
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(SIZE[0], 9.6 if real else 6.0), layout="constrained")
        FigureCanvasAgg(figure).draw()
        paint(figure, measure(DECAYS[:count]), 0.0123456, recorded if real else None)
        figure.canvas.draw()
    letters = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    assert min(text.get_fontsize() for text in letters) >= 9
    boxes = [axes.get_tightbbox() for axes in figure.axes] + [legend.get_window_extent() for legend in figure.legends]
    boxes += [figure._supxlabel.get_window_extent()] if real else []
    width, height = figure.bbox.size
    for i, box in enumerate(boxes):
        assert min(box.x0, box.y0) >= 0
        assert (box.x1 <= width, box.y1 <= height) == (True, True)
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_one_legend_serves_all_panels(recorded):
    from matplotlib.figure import Figure

    figure = Figure()
    paint(figure, measure([0.9, 0.99]), 0.01, recorded)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["ρ = 0.9", "ρ = 0.99"]
    assert not any(axes.get_legend() for axes in figure.axes)


@pytest.mark.parametrize("gradient", [1e-4, 0.01, 1.0])
def test_the_note_at_the_bottom_is_below_the_lines(gradient):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(SIZE[0], 6.0))
    paint(figure, measure(DECAYS), gradient, None)
    figure.canvas.draw()
    axes = figure.axes[2]
    (note,) = (text for text in axes.texts if text.get_text() == "from v₀ = 1")
    lowest = min(np.min(line.get_ydata()) for line in axes.lines)
    assert note.get_window_extent().y1 < axes.transData.transform((1, lowest))[1]
