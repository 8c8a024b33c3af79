"""The interactive page in a real browser: what it computes is what `rmsprop.reference` computes."""

import ast
import re
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from browser import luminance
from playwright.sync_api import expect

from rmsprop import DIALECTS, Rule
from rmsprop.lab.problems.builtin.surfaces import SURFACES
from rmsprop.lab.surfaces.derivative import gradient
from rmsprop.reference import init, update
from rmsprop.torch import RMSprop

# A little of ε changes fewer digits than a picture has.
SLIDERS = {"lr": "ArrowRight", "decay": "ArrowRight", "eps": "PageUp", "momentum": "ArrowRight", "steps": "ArrowRight"}
FLAGS = (
    "eps_inside_sqrt",
    "init_from_gradient",
    "delayed",
    "centered",
    "nesterov",
    "averaged_momentum",
    "caution",
    "bias_correction",
)


def reference(name, rule, lr, steps, start=None):
    """The path as rows of x, y and f."""
    surface = SURFACES[name]
    point = np.array(surface.start if start is None else start)
    state, rows = init(rule, point), []
    for step in range(steps + 1):
        value, *slopes = gradient(surface.f, *point.tolist())
        rows.append([*point, value])
        point, state = update(rule, lr, step + 1, point, np.array(slopes), state)
    return np.array(rows)


def table(page):
    """Every step that the page has computed, with all digits."""
    if not page.locator("#all").get_attribute("open"):
        page.evaluate("document.getElementById('all').open = true; table()")
    cells = page.eval_on_selector_all("#points td", "cells => cells.map((cell) => cell.textContent)")
    return np.array([float(cell) for cell in cells]).reshape(-1, 4)[:, 1:]


def number(page, name):
    return float(page.locator(f"#{name}").get_attribute("data-value"))


def test_it_opens_with_the_settings_of_the_command(open_page):
    page = open_page()
    np.testing.assert_array_equal(table(page), reference("bowl", DIALECTS["d2l"].rule, 0.4, 20))
    assert page.locator("#end-x").inner_text() == "−0.0106"
    assert page.locator("#end-y").inner_text() == "1.04e−14"
    assert [page.locator(f"#{name}").input_value() for name in ("surface", "dialect", "lr", "decay", "steps")] == [
        "bowl",
        "d2l",
        "0.4",
        "0.9",
        "20",
    ]


@pytest.mark.parametrize(("name", "key"), SLIDERS.items())
def test_a_slider_moves_by_keyboard_and_path_and_numbers_change(open_page, name, key):
    page = open_page()
    slider = page.locator(f"#{name}-slider")
    before = page.locator("#path").get_attribute("points"), number(page, "end-x"), slider.input_value()
    slider.focus()
    for _ in range(3):
        page.keyboard.press(key)
    after = page.locator("#path").get_attribute("points"), number(page, "end-x"), slider.input_value()
    assert all(old != new for old, new in zip(before, after, strict=True))
    value = float(page.locator(f"#{name}").input_value())
    assert slider.get_attribute("aria-valuetext") == page.locator(f"#{name}").input_value()
    given = {"lr": 0.4, "steps": 20} | {name: value}
    rule = replace(DIALECTS["d2l"].rule, **{k: v for k, v in given.items() if k not in ("lr", "steps")})
    expected = reference("bowl", rule, given["lr"], int(given["steps"]))
    np.testing.assert_array_equal(table(page), expected)
    assert [number(page, f"end-{axis}") for axis in "xyf"] == expected[-1].tolist()
    assert number(page, "end-moved") == pytest.approx(np.hypot(*(expected[-1, :2] - expected[-2, :2])), rel=1e-12)


RULES = {
    **{name: dialect.rule for name, dialect in DIALECTS.items()},
    "all at once": Rule(
        decay=0.8, eps=1e-3, eps_inside_sqrt=True, centered=True, momentum=0.9, nesterov=True, bias_correction=True
    ),
    "a short memory": Rule(decay=0.3, momentum=0.3, initial_square_avg=0.25),
    "nesterov and a start": Rule(decay=0.99, momentum=0.6, nesterov=True, initial_square_avg=2.0),
    "bias-corrected": Rule(decay=0.999, bias_correction=True),
    "averaged momentum": Rule(decay=0.9, momentum=0.9, averaged_momentum=True, nesterov=True),
    "ADOPT": Rule(decay=0.9, eps=1e-6, momentum=0.9, averaged_momentum=True, init_from_gradient=True, delayed=True),
    "delayed alone": Rule(decay=0.9, delayed=True, initial_square_avg=1.0),
    "averaged and corrected": Rule(decay=0.9, momentum=0.4, averaged_momentum=True, bias_correction=True),
    "caution": Rule(decay=0.9, momentum=0.9, caution=True),
    "caution inside": Rule(decay=0.9, momentum=0.9, caution=True, lr_in_momentum=True, nesterov=True, delayed=True),
    "no memory": Rule(decay=0.0, eps=0.0),
    "an endless memory": Rule(decay=1.0, initial_square_avg=1.0),
}


@pytest.mark.parametrize("name", SURFACES)
@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_browser_has_the_numbers_of_the_reference(one_page, name, rule):
    x, y = SURFACES[name].start
    fields = {field: value for field, value in asdict(rule).items() if not field.startswith("weight_decay")}
    switches = {field: str(value).lower() for field, value in fields.items() if isinstance(value, bool)}
    dialect = next(key for key, known in DIALECTS.items() if known.rule.lr_in_momentum == rule.lr_in_momentum)
    settings = fields | switches | {"surface": name, "dialect": dialect, "lr": 0.01, "steps": 40, "x": x, "y": y}
    expected = reference(name, rule, 0.01, 40)
    found = table(one_page(settings))
    # Powers of ρ, in the bias correction alone, come from the browser's own library.
    if rule.bias_correction:
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
    else:
        np.testing.assert_array_equal(found, expected)


def test_a_dialect_brings_its_choices_and_a_field_takes_any_number(open_page):
    page = open_page()
    page.get_by_label("Dialect").select_option("graves")
    rule = DIALECTS["graves"].rule
    assert {flag: page.locator(f"#{flag}").is_checked() for flag in FLAGS} == {f: getattr(rule, f) for f in FLAGS}
    assert float(page.locator("#momentum").input_value()) == rule.momentum
    page.get_by_label("Learning rate η", exact=True).fill("0.0123")
    page.get_by_label("Surface").select_option("rosenbrock")
    np.testing.assert_array_equal(table(page), reference("rosenbrock", rule, 0.0123, 20))
    page.get_by_label("centered").uncheck()
    page.get_by_label("ε inside the root").uncheck()
    page.get_by_label("v starts from").fill("0.5")
    rule = replace(rule, centered=False, eps_inside_sqrt=False, initial_square_avg=0.5)
    np.testing.assert_array_equal(table(page), reference("rosenbrock", rule, 0.0123, 20))


@pytest.mark.parametrize(
    ("name", "text"), [("lr", "-1"), ("decay", "1.5"), ("steps", "2.5"), ("x", ""), ("y", "1e7"), ("lr", "0")]
)
def test_a_number_that_cannot_be_is_marked_and_changes_nothing(open_page, name, text):
    page = open_page()
    before = table(page)
    field = page.locator(f"#{name}")
    field.fill(text)
    assert field.get_attribute("aria-invalid") == "true"
    np.testing.assert_array_equal(table(page), before)
    field.blur()
    assert field.input_value() not in ("", text)


def test_the_walk_is_looked_at_step_by_step(open_page):
    page = open_page()
    page.locator("#at").focus()
    page.keyboard.press("Home")
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    expected = reference("bowl", DIALECTS["d2l"].rule, 0.4, 20)[3]
    assert [number(page, f"end-{axis}") for axis in "xyf"] == expected.tolist()
    assert number(page, "at-step") == 3
    assert len(page.locator("#path").get_attribute("points").split(" ")) == 4


def test_a_click_on_the_picture_starts_there(open_page):
    page = open_page()
    box = page.locator("#picture").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.75, box["y"] + 60)
    start = [float(page.locator(f"#{axis}").input_value()) for axis in "xy"]
    assert start[0] > 1
    assert start[1] > 1
    np.testing.assert_array_equal(table(page), reference("bowl", DIALECTS["d2l"].rule, 0.4, 20, start))
    x, y = (float(page.locator("circle.start").get_attribute(name)) for name in ("cx", "cy"))
    assert (x, y) == (pytest.approx(box["width"] * 0.75, abs=2), pytest.approx(60, abs=2))


def test_no_point_leaves_the_picture_and_one_that_would_is_told(open_page):
    page = open_page({"lr": 3})
    view = [float(side) for side in page.locator("#picture").get_attribute("viewBox").split()]
    points = [[float(z) for z in p.split(",")] for p in page.locator("#path").get_attribute("points").split()]
    assert len(points) == 21
    assert all(0 <= u <= view[2] and 0 <= v <= view[3] for u, v in points)
    assert "Leaves" not in page.locator("#summary").inner_text()
    page.locator("#lr").fill("1000")
    assert page.locator("#summary").inner_text() == "Leaves this picture at step 1."
    assert page.locator("#picture rect.end").count() == 0
    assert page.locator("#loss rect.end").count() == 1


def test_the_call_in_python_walks_the_same_way(open_page):
    page = open_page({"decay": 0.95, "momentum": 0.5, "nesterov": "true", "centered": "true", "eps": 0.001})
    text = page.locator("#call").inner_text()
    call = ast.parse(text, mode="eval").body
    assert ast.unparse(call.func) == "rmsprop.torch.RMSprop"
    given = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    point = torch.tensor(SURFACES["bowl"].start, dtype=torch.float64, requires_grad=True)
    optimizer = RMSprop([point], **given)
    for _ in range(20):
        optimizer.zero_grad()
        SURFACES["bowl"].f(*point).backward()
        optimizer.step()
    np.testing.assert_allclose(table(page)[-1, :2], point.detach().numpy(), rtol=1e-12)


def test_a_link_brings_the_settings_back(open_page):
    page = open_page()
    page.locator("#decay").fill("0.77")
    page.get_by_label("Surface").select_option("beale")
    before, link = table(page), page.url
    page.goto("about:blank")
    page.goto(link)
    np.testing.assert_array_equal(table(page), before)


@pytest.mark.parametrize(
    "link",
    [
        {"x": "NaN", "y": "1e300"},
        {"lr": "Infinity", "eps": " ", "initial_square_avg": "Infinity"},
        {"surface": "toString", "dialect": "constructor", "toString": "1"},
    ],
)
def test_what_cannot_be_in_a_link_changes_nothing(open_page, link):
    np.testing.assert_array_equal(table(open_page(link)), reference("bowl", DIALECTS["d2l"].rule, 0.4, 20))


def test_it_loads_nothing(open_page, file):
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"(src|href)\s*=|url\(|@import|fetch\(|https?://(?!www\.w3\.org/2000/svg)", text)
    assert "default-src 'none'" in text
    page = open_page()
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.reload()
    assert [request.split("#")[0] for request in requests] == [file.as_uri()]


def test_every_control_has_a_name_and_is_reached_by_the_keyboard(open_page):
    page = open_page()
    controls = page.locator("input:visible, select:visible, button:visible")
    names = controls.evaluate_all(
        "all => all.map((one) => one.ariaLabel || one.labels?.[0]?.textContent || one.textContent)"
    )
    assert all(name.strip() for name in names)
    assert len(set(names)) == len(names)
    reached = set()
    for _ in range(len(names) + 3):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id"))
    enabled = controls.evaluate_all("all => all.filter((one) => !one.disabled).map((one) => one.id)")
    assert set(enabled) <= reached


PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}


def test_on_a_phone_nothing_is_cut_and_the_picture_stays_in_sight(open_page):
    page = open_page(**PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    sizes = page.eval_on_selector_all("#picture text", "all => all.map((one) => one.getBoundingClientRect().height)")
    assert min(sizes) >= 12
    page.locator("#momentum-slider").scroll_into_view_if_needed()
    page.evaluate("scrollBy(0, 300)")
    assert page.locator("#picture").bounding_box()["y"] >= 0
    page.set_viewport_size({"width": 700, "height": 740})
    expect(page.locator("#picture")).to_have_attribute("viewBox", re.compile("^0 0 668 "))


@pytest.mark.parametrize("size", [(740, 360), (768, 1024), (360, 740)])
@pytest.mark.parametrize("name", ["rosenbrock", "bowl"])
def test_beside_the_picture_there_is_room_for_controls(open_page, name, size):
    width, height = size
    page = open_page({"surface": name}, viewport={"width": width, "height": height}, is_mobile=True)
    picture = page.locator("#plot").bounding_box()
    assert picture["height"] <= 0.5 * height + 48 + 1
    assert picture["height"] >= 100
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_and_path_stand_out_in_both_schemes(open_page, scheme):
    page = open_page(color_scheme=scheme)
    style = "(one, name) => getComputedStyle(one)[name]"
    ground = luminance(page.locator("body").evaluate(style, "backgroundColor"))
    assert (ground > 0.5) == (scheme == "light")
    # WCAG 2.2 asks for 4.5 in words and 3 in graphics.
    for selector, name, least in (
        ("body", "color", 7),
        (".dim", "color", 4.5),
        ("#path", "stroke", 3),
        (".end", "fill", 3),
    ):
        colour = luminance(page.locator(selector).first.evaluate(style, name))
        assert (max(colour, ground) + 0.05) / (min(colour, ground) + 0.05) >= least, selector


def test_it_plays_to_the_end_unless_one_asks_for_less_motion(open_page):
    page = open_page()
    page.get_by_role("button", name="Play").click()
    expect(page.locator("#at-step")).to_have_text(re.compile("^[1-9]$"))
    expect(page.locator("#at-step")).to_have_text("20")
    assert not open_page(reduced_motion="reduce").get_by_role("button", name="Play").is_visible()


@pytest.mark.parametrize("size", [(390, 844), (390, 500), (360, 740)])
@pytest.mark.parametrize("key", ["Tab", "Shift+Tab"])
def test_a_control_that_is_reached_is_not_under_the_picture(open_page, size, key):
    width, height = size
    page = open_page({"surface": "rosenbrock"}, viewport={"width": width, "height": height})
    seen = set()
    for _ in range(40):
        page.keyboard.press(key)
        found = page.evaluate(
            """() => {
              const one = document.activeElement, box = one.getBoundingClientRect();
              return [one.id, box.top, box.bottom, document.getElementById("plot").getBoundingClientRect().bottom];
            }"""
        )
        name, top, bottom, below = found
        if name:
            seen.add(name)
            assert top >= below - 0.5, found
            assert bottom <= height + 0.5, found
    assert len(seen) > 20


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("decay", "1.5", "1.5 isn't used: allowed is from 0 to 1. Still 0.9."),
        ("lr", "0", "0 isn't used: allowed is above 0. Still 0.4."),
        ("steps", "2.5", "2.5 isn't used: allowed is a whole number from 1 to 10000. Still 20."),
        ("x", "", "Nothing is given: allowed is from −1000000 to 1000000. Still -5."),
        ("initial_square_avg", "-1", "-1 isn't used: allowed is 0 or more. Still 0."),
    ],
)
def test_a_refused_value_says_why_until_another_is_taken(open_page, name, text, said):
    page = open_page(viewport={"width": 390, "height": 500})
    why = page.locator(f"#{name}-refused")
    page.locator(f"#{name}").fill(text)
    assert why.inner_text() == said
    expect(why).to_be_in_viewport(ratio=0.95)  # the rest is a fraction of a pixel
    page.locator(f"#{name}").blur()
    assert why.inner_text() == said
    page.locator(f"#{name}").fill("1")
    assert why.inner_text() == ""


def test_a_refused_value_of_a_link_says_why(open_page):
    assert "1.5 isn't used" in open_page({"decay": 1.5}).locator("#decay-refused").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("part", "least"), [(".contour", 3), (".path", 3), ("rect.end", 3), ("#picture text", 4.5)])
def test_lines_and_words_stand_out(open_page, scheme, part, least):
    """1.4.11 and 1.4.3 of WCAG 2.1."""
    page = open_page(color_scheme=scheme)
    style = "[getComputedStyle(one).stroke, getComputedStyle(one).fill]"
    stroke, fill = page.eval_on_selector(part, f"one => {style}")
    colour = fill if part in ("rect.end", "#picture text") else stroke
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    dark, light = sorted([luminance(colour), luminance(ground)])
    assert (light + 0.05) / (dark + 0.05) >= least
