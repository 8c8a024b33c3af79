"""The panels share their scale and contours, hold every point, and say in words what they can't show."""

import io
import re

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from rmsprop.lab.drawing import SIZE
from rmsprop.lab.optimizers import OPTIMIZERS
from rmsprop.lab.problems.builtin.surfaces import SURFACES
from rmsprop.lab.surfaces.choices import Values, walks
from rmsprop.lab.surfaces.picture import Layout, Scene, draw, paint

WALKERS = [name for name, row in OPTIMIZERS.items() if row.dense]


def scene(name="bowl", names=("sgd", "rmsprop"), **settings):
    found, searched = walks(SURFACES[name], names, **settings)
    return Scene(name=name, surface=SURFACES[name], walks=found, searched=searched)


def painted(shown):
    figure = Figure(figsize=Layout.of(shown).size)
    return figure, paint(figure, shown)


def words(axes):
    return [text.get_text() for text in axes.texts]


@pytest.mark.parametrize("name", SURFACES)
def test_no_point_is_outside_its_panel(name):
    shown = scene(name, ("sgd", "momentum", "adagrad", "adam", "rmsprop"))
    _, panels = painted(shown)
    for axes, walk in zip(panels, shown.walks, strict=True):
        low_x, high_x = axes.get_xlim()
        low_y, high_y = axes.get_ylim()
        assert walk.points[:, 0].min() >= low_x
        assert walk.points[:, 0].max() <= high_x
        assert walk.points[:, 1].min() >= low_y
        assert walk.points[:, 1].max() <= high_y
        np.testing.assert_array_equal(axes.lines[-3].get_xydata(), walk.points)


def test_all_panels_have_one_scale_and_the_same_contours():
    _, panels = painted(scene(lr=Values(named={"sgd": 0.5, "rmsprop": 1.0})))
    first, second = panels
    assert (first.get_xlim(), first.get_ylim()) == (second.get_xlim(), second.get_ylim())
    np.testing.assert_array_equal(first.collections[0].levels, second.collections[0].levels)
    assert len(first.collections[0].levels) > 5


@pytest.mark.parametrize(("name", "start"), [("beale", (1e6, -1e6)), ("bowl", (-5.0, -0.6)), ("saddle", (0.3, -2.74))])
def test_the_numbers_and_names_of_the_axes_stay_in_the_figure(name, start):
    figure, panels = painted(scene(name, ("rmsprop",), lr=Values(plain=0.01), start=start, steps=3))
    FigureCanvasAgg(figure).draw()
    for axis in (panels[0].xaxis, panels[0].yaxis):
        assert axis.get_offset_text().get_text() == ""
        box = axis.get_tightbbox()
        assert box.x0 >= 0
        assert box.y0 >= 0


def test_a_scene_grows_with_a_far_start():
    low_x, high_x, low_y, high_y = scene(start=(20.0, 1.0), lr=Values(plain=0.1)).window
    assert (low_x, low_y, high_y) == (-5.6, -2.8, 2.8)
    assert high_x > 20.0


@pytest.mark.parametrize(
    ("lr", "said"),
    [
        (0.1, "ends at (−4.52, −0.156), f = 2.09"),
        (0.6, "leaves at step 6 to (−2.3, −15)"),
        (1e308, "not finite from step 1 on"),
    ],
)
def test_a_panel_says_where_its_path_ends(lr, said):
    _, (axes,) = painted(scene(names=("sgd",), lr=Values(plain=lr), steps=5 if lr == 0.1 else 20))
    assert said in words(axes)


def test_a_path_that_left_is_drawn_as_far_as_it_was_inside_and_has_no_end():
    shown = scene(names=("sgd", "adam"), lr=Values(plain=0.6), steps=20)
    _, (left, stayed) = painted(shown)
    assert len(left.lines) == len(stayed.lines) - 1
    assert len(left.lines[-2].get_xydata()) == 6
    assert stayed.lines[-1].get_xydata().tolist() == [shown.walks[1].points[-1].tolist()]


def test_settings_stand_in_the_panels_and_below_them():
    shown = scene(lr=Values(named={"rmsprop": 0.25}), decay=Values(plain=0.5), start=(-3.0, 1.0))
    figure, panels = painted(shown)
    assert "lr 0.25, ρ 0.5, ε 1e-8" in words(panels[1])
    below = " ".join(figure.texts[0].get_text().split())
    assert "bowl: f(x, y) = 0.1·x² + 2·y², 50 steps from (−3, 1)." in below
    assert "* The learning rate with the lowest end, of 16 from 0.001 to 100." in below
    assert re.fullmatch(r"lr [\d.]+\*", words(panels[0])[0])


def below(*names):
    figure, _ = painted(scene(names=names, lr=Values(plain=0.1), steps=2))
    return " ".join(figure.texts[0].get_text().split())


def test_the_caption_says_which_colour_is_whose_where_there_are_two():
    said = "Orange: RMSProp, blue: the others."
    assert said in below("sgd", "rmsprop-keras")
    assert said not in below("sgd", "adam")
    assert said not in below("rmsprop", "rmsprop-keras")


def test_the_caption_says_of_each_dialect_what_the_settings_leave_out():
    assert "RMSProp, RMSProp + momentum: the dialect torch, ε outside the root." in below("rmsprop", "rmsprop-momentum")
    assert below("rmsprop-torch", "rmsprop-d2l", "rmsprop-tensorflow1", "rmsprop-timm", "rmsprop-dqn").endswith(
        "RMSProp (torch): ε outside the root. RMSProp (d2l): ε inside the root. "
        "RMSProp (tensorflow1), RMSProp (timm): ε inside the root, v₀ = 1. "
        "RMSProp (dqn): ε inside the root, centered."
    )
    assert "the root" not in below("sgd", "adam")


@pytest.mark.parametrize("count", range(1, 9))
def test_letters_are_readable_at_half_the_width_of_a_page(count):
    shown = scene(names=WALKERS[:count], lr=Values(plain=0.01), steps=2)
    assert Layout.of(shown).size[0] == pytest.approx(SIZE[0])
    figure, panels = painted(shown)
    assert min(text.get_fontsize() for text in [*figure.texts, *(text for axes in panels for text in axes.texts)]) >= 9


def test_a_long_line_has_smaller_letters_and_stays_above_its_panel():
    figure, (axes, _) = painted(scene(names=("rmsprop", "sgd"), lr=Values(plain=0.46)))
    figure.canvas.draw()
    settings, end = axes.texts
    assert len(end.get_text()) > 40
    assert end.get_fontsize() < settings.get_fontsize()
    assert end.get_window_extent().x1 <= axes.get_window_extent().x1


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6, 7, 9, 16])
def test_panels_and_caption_do_not_overlap(count):
    shown = scene(names=WALKERS[:count], lr=Values(plain=0.01), steps=2)
    figure, panels = painted(shown)
    figure.canvas.draw()
    boxes = [axes.get_tightbbox() for axes in panels] + [figure.texts[0].get_window_extent()]
    width, height = figure.bbox.size
    for i, box in enumerate(boxes):
        assert min(box.x0, box.y0) >= 0
        assert (box.x1 <= width, box.y1 <= height) == (True, True)
        assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_the_same_scene_is_the_same_file():
    shown = scene(lr=Values(plain=0.3))
    assert draw(shown, "svg") == draw(shown, "svg")
    image = Image.open(io.BytesIO(draw(shown, "png")))
    assert image.format == "PNG"
    assert image.width == round(Layout.of(shown).size[0] * 160)
