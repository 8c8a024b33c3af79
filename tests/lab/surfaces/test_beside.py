"""The optimizers that walk beside RMSProp on the interactive page: they are those of ``torch.optim``."""

import numpy as np
import pytest
from browser import faults, luminance
from playwright.sync_api import expect

from rmsprop.lab.optimizers import choose
from rmsprop.lab.problems.builtin.surfaces import SURFACES
from rmsprop.lab.surfaces.choices import Values, walks
from rmsprop.lab.surfaces.page import page as make_page
from rmsprop.lab.surfaces.paths import walk
from rmsprop.lab.surfaces.picture import Scene

PEERS = {"sgd": "SGD", "momentum": "Momentum", "adagrad": "AdaGrad", "adam": "Adam"}
ALL = {f"beside-{name}": "true" for name in PEERS}
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
PATHS = "others.map((one) => [one.style, one.path.map((point) => [point.x, point.y, point.f])])"


def points(path):
    return np.column_stack([path.points, path.losses])


def beside(page):
    return [name for name in PEERS if page.locator(f"#beside-{name}").is_checked()]


def end(page, name):
    cells = page.locator(f"#at-{name} td")
    return cells.evaluate_all("all => all.map((cell) => Number(cell.dataset.value))")


def test_it_opens_with_the_optimizers_of_the_command(open_page):
    page = open_page()
    assert beside(page) == ["adam"]
    assert page.locator("#lr-adam").input_value() == "0.4"
    assert page.locator("#ends th").all_text_contents() == [" RMSProp", " Adam"]
    expected = points(walk(SURFACES["bowl"], choose("adam", lr=0.4), 20))[-1]
    np.testing.assert_allclose(end(page, "adam"), expected, rtol=1e-12)
    assert not page.locator("#row-sgd").is_visible()
    page.locator("#beside-adam").uncheck()
    assert not page.locator("#beside").is_visible()


def test_settings_of_the_command_other_than_the_learning_rate_hold(chromium, tmp_path):
    surface = SURFACES["bowl"]
    given = {"lr": Values(plain=0.1, named={"sgd": 0.2}), "decay": Values(named={"adam": 0.9})}
    found, _ = walks(surface, ["sgd", "adam", "rmsprop"], steps=30, **given)
    file = tmp_path / "walk.html"
    file.write_text(make_page(Scene(name="bowl", surface=surface, walks=found)), encoding="utf-8")
    page = chromium.new_page()
    page.goto(file.as_uri())
    assert "β₂ 0.9," in page.locator("label:has(#beside-adam)").inner_text()
    for (name, path), path_of_python in zip(page.evaluate(PATHS), found[:2], strict=True):
        assert name == path_of_python.choice.name
        np.testing.assert_allclose(path, points(path_of_python), rtol=1e-12, atol=1e-12)
    assert page.locator("#lr-momentum").input_value() == "0.1"  # RMSProp's
    page.close()


@pytest.mark.parametrize("name", SURFACES)
def test_the_browser_has_the_numbers_of_torch(one_page, name):
    """To 1e-12: torch's kernels fuse a product and a sum."""
    x, y = SURFACES[name].start
    rates = {f"lr-{peer}": lr for peer, lr in zip(PEERS, (0.001, 0.0005, 0.3, 0.05), strict=True)}
    found = one_page({**ALL, **rates, "surface": name, "steps": 40, "x": x, "y": y}).evaluate(PATHS)
    assert [peer for peer, _ in found] == list(PEERS)
    for peer, path in found:
        expected = points(walk(SURFACES[name], choose(peer, lr=rates[f"lr-{peer}"]), 40))
        np.testing.assert_allclose(path, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("surface", ["bowl", "beale"])
def test_each_one_gets_the_best_learning_rate_of_16(open_page, surface):
    x, y = SURFACES[surface].start
    page = open_page({**ALL, "surface": surface, "steps": 50, "x": x, "y": y})
    page.get_by_role("button", name="Each one's best η of 16").click()
    found, _ = walks(SURFACES[surface], [*PEERS, "rmsprop-d2l"], steps=50)
    fields = [f"lr-{name}" for name in PEERS] + ["lr"]
    assert [float(page.locator(f"#{field}").input_value()) for field in fields] == [path.choice.lr for path in found]
    page.locator("#lr").fill("0.05")
    page.get_by_role("button", name="RMSProp's η for all").click()
    assert {page.locator(f"#{field}").input_value() for field in fields} == {"0.05"}


def test_a_link_brings_them_back(open_page):
    page = open_page()
    page.locator("#beside-sgd").check()
    page.locator("#lr-sgd-slider").press("ArrowRight")
    assert float(page.locator("#lr-sgd").input_value()) > 0.4
    before, link = page.evaluate(PATHS), page.url
    page.goto("about:blank")
    page.goto(link)
    assert page.evaluate(PATHS) == before
    assert [name for name, _ in before] == ["sgd", "adam"]


def test_a_refused_learning_rate_says_why_and_one_that_leaves_is_told(open_page):
    page = open_page(ALL)
    page.locator("#lr-sgd").fill("-1")
    assert page.locator("#lr-sgd-refused").inner_text() == "-1 isn't used: allowed is above 0. Still 0.4."
    page.locator("#lr-sgd").fill("100")
    assert page.locator("#lr-sgd-refused").inner_text() == ""
    assert page.locator("#summary").inner_text().endswith(" SGD leaves it at step 1.")


def test_the_step_is_looked_at_for_all(open_page):
    page = open_page(ALL)
    page.locator("#at").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    for name in PEERS:
        expected = points(walk(SURFACES["bowl"], choose(name, lr=0.4), 20))[1]
        np.testing.assert_allclose(end(page, name), expected, rtol=1e-12)


def test_paths_differ_by_more_than_their_colour(open_page):
    page = open_page(ALL)
    style = "all => all.map((one) => getComputedStyle(one).strokeDasharray + getComputedStyle(one).strokeWidth)"
    dashes = page.eval_on_selector_all("#picture .walk-line, #picture .path", style)
    shapes = page.eval_on_selector_all("#picture .mark", "all => all.map((one) => one.getAttribute('d').split('m')[1])")
    assert len(set(dashes)) == len(dashes) == 5
    assert len(set(shapes)) == len(shapes) == 4
    assert page.locator("#ends .sample").count() == 5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_their_lines_stand_out(open_page, scheme):
    page = open_page(ALL, color_scheme=scheme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    lines = page.eval_on_selector_all("#picture .walk-line", "all => all.map((one) => getComputedStyle(one).stroke)")
    marks = page.eval_on_selector_all("#picture .mark", "all => all.map((one) => getComputedStyle(one).fill)")
    assert len(lines) == len(marks) == 4
    for colour in lines + marks:
        dark, light = sorted([luminance(colour), luminance(ground)])
        assert (light + 0.05) / (dark + 0.05) >= 3


LOOKS = {"light": {}, "dark": {"color_scheme": "dark"}, "phone": PHONE}


@pytest.mark.parametrize("look", LOOKS)
def test_with_all_of_them_nothing_is_cut_and_an_audit_finds_nothing(open_page, look):
    page = open_page({**ALL, "surface": "rosenbrock"}, **LOOKS[look])
    expect(page.locator("#ends tr")).to_have_count(5)
    assert page.evaluate("document.documentElement.scrollWidth") == page.evaluate("innerWidth")
    assert faults(page) == []


def test_on_paper_it_is_light_and_pictures_come_before_settings(open_page):
    page = open_page(ALL, color_scheme="dark", viewport={"width": 794, "height": 1123})
    page.emulate_media(media="print", color_scheme="dark")
    style = page.locator("body").evaluate(
        "(one) => [getComputedStyle(one).color, getComputedStyle(one).backgroundColor]"
    )
    assert [luminance(colour) for colour in style] == [0.0, 1.0]
    assert page.locator("#loss").bounding_box()["y"] < page.locator("form").bounding_box()["y"]
    assert page.locator("input[type=range]:visible, button:visible").count() == 0
