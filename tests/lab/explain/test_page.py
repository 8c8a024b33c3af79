"""The page that explains RMSProp as a person meets it: questions, links, keys, phone, dark, print, no script."""

import re

import numpy as np
import pytest
from browser import PHONE, faint, faults, luminance
from playwright.sync_api import expect

from rmsprop.lab.explain.drawing import readable
from rmsprop.lab.explain.figures import FIGURES
from rmsprop.lab.explain.page import words

NAMES = [figure.name for figure in FIGURES]
PLOTTED = [figure.name for figure in FIGURES if figure.content(**figure.settings).plots]
TEXT = words("en")


def lines_in(page, name):
    return page.locator(f"#{name} svg path.line, #{name} svg path.dot").count()


def reveal(page):
    page.evaluate("NAMES.forEach((name) => { STATE[name].guess = 'skip'; show(name); })")


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_a_figure_asks_before_it_shows(open_page, figure):
    page, name, own = open_page(), figure.name, TEXT["figures"][figure.name]
    answer = page.locator(f"#{name} .answer")
    assert not answer.is_visible()
    before = lines_in(page, name)
    wrong = (figure.answer + 1) % len(own["choices"])
    page.locator(f"#{name} [data-guess='{wrong}']").click()
    assert answer.is_visible()
    assert page.locator(f"#{name}-verdict").inner_text() == f"{TEXT['ui']['wrong']} {own['why']}"
    assert page.locator(f"#{name} .right").inner_text().startswith(own["choices"][figure.answer])
    if name in PLOTTED:
        assert lines_in(page, name) > before
    page.locator(f"#{name} [data-guess='{figure.answer}']").click()
    assert page.locator(f"#{name}-verdict").inner_text() == f"{TEXT['ui']['right']} {own['why']}"
    assert page.evaluate("location.hash") == f"#{name}&{name}.guess={figure.answer}"


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.name)
def test_its_numbers_are_on_the_page_and_in_words(open_page, figure):
    page, name = open_page(), figure.name
    page.locator(f"#{name} .skip").click()
    content = figure.content(**figure.settings)
    for key in TEXT["figures"][name]["readouts"]:
        value, cell = content.readouts[key], page.locator(f"#{name}-{key}")
        assert cell.inner_text() == (TEXT["ui"]["never"] if value is None else readable(value))
        if isinstance(value, float):
            assert float(cell.get_attribute("data-value")) == pytest.approx(value, rel=1e-12, abs=1e-12)
    if name in PLOTTED:
        assert page.locator(f"#{name}-said").inner_text() == page.locator(f"#{name}-plot-0").get_attribute("aria-label")


@pytest.mark.parametrize("name", PLOTTED)
def test_all_numbers_are_in_a_table(open_page, name):
    page = open_page(f"#{name}&{name}.guess=skip")
    page.locator(f"#{name}-numbers summary").click()
    figure = next(figure for figure in FIGURES if figure.name == name)
    points = [point for plot in figure.content(**figure.settings).plots for line in plot.lines for point in line.points]
    expect(page.locator(f"#{name}-table tbody tr")).to_have_count(len(points))
    cells = page.eval_on_selector_all(f"#{name}-table td", "all => all.map((cell) => Number(cell.textContent))")
    np.testing.assert_allclose(np.array(cells).reshape(-1, 2), np.array(points), rtol=1e-12, atol=1e-12)


def test_controls_move_by_keyboard_and_the_link_follows(open_page):
    page = open_page("#ten&ten.guess=1")
    slider = page.locator("[id='ten.rho']")
    slider.focus()
    before = page.locator("#ten-rmsprop").inner_text()
    page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "0.95"
    assert before != page.locator("#ten-rmsprop").inner_text() == "−0.3353"
    assert page.evaluate("location.hash") == "#ten&ten.rho=0.95&ten.guess=1"


def test_a_link_brings_everything_back(open_page):
    parts = ("kappa=200", "guess=skip"), ("rho=0.9", "correction=true", "weight=large", "guess=2")
    said = [f"{name}.{part}" for name, of in zip(("ravine", "memory"), parts, strict=True) for part in of]
    page = open_page("&".join(["#memory", *said]))
    state = page.evaluate("STATE")
    assert state["ravine"] == {"settings": {"kappa": 200, "share": 0.95}, "guess": "skip"}
    wanted = {"rho": 0.9, "start": "0", "correction": True, "weight": "large"}
    assert state["memory"] == {"settings": wanted, "guess": "2"}
    assert page.locator("#ravine-steps").inner_text() == "184"
    assert abs(page.locator("#memory").bounding_box()["y"]) < 50
    page.locator("[id='memory.correction']").focus()
    page.keyboard.press("Space")
    assert "memory.correction" not in page.evaluate("location.hash")
    page.evaluate("location.hash = '#ten&ten.rho=0.5&ten.guess=0'")
    expect(page.locator("#ten-rmsprop")).to_have_text("−4.274")
    assert page.evaluate("STATE.memory.guess") is None


def test_a_link_inside_the_page_leaves_guesses_and_settings(open_page):
    page = open_page("#ten&ten.rho=0.5&ten.guess=1")
    page.locator("nav a").nth(4).click()
    expect(page.locator("#memory")).to_be_in_viewport()
    assert page.evaluate("STATE.ten") == {"settings": {"rho": 0.5}, "guess": "1"}


def test_a_click_starts_the_race_there(open_page):
    page = open_page("#race&race.guess=2")
    page.locator("#race-plot-0").scroll_into_view_if_needed()
    box = page.locator("#race-plot-0").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.5)
    state = page.evaluate("STATE.race.settings")
    assert state["across"] > 20
    assert 10 < state["up"] < 30
    x, y = page.evaluate("FIGURES.race(STATE.race.settings).plots[0].lines[0].points[0]")
    drawn = page.locator("#race-plot-0 g path.dot").first.bounding_box()
    assert drawn["x"] + drawn["width"] / 2 == pytest.approx(box["x"] + box["width"] * 0.7, abs=15)
    assert (x, y) != (0, 0)


@pytest.mark.parametrize(
    "link",
    [
        "#ravine&ravine.kappa=21&ravine.share=Infinity&ravine.guess=7",
        "#nowhere&toString.kappa=20&ravine.toString=1&ravine.__proto__=1",
        "#memory&memory.start=%E0%A4%A&memory.correction=yes&memory.weight=<b>",
    ],
)
def test_what_cannot_be_in_a_link_changes_nothing(open_page, link):
    page = open_page(link)
    assert page.evaluate("NAMES.every((name) => JSON.stringify(STATE[name]) === JSON.stringify(opening(name)))")


def test_it_loads_nothing_and_is_small(open_page, file):
    text = file.read_text(encoding="utf-8")
    assert len(text.encode()) <= 400_000
    assert not re.search(r"\bsrc\s*=|url\((?!#)|@import|fetch\(|XMLHttpRequest|sendBeacon|<link", text)
    assert "default-src 'none'" in text
    page, requests = open_page(), []
    page.on("request", lambda request: requests.append(request.url))
    page.reload()
    assert [request.split("#")[0] for request in requests] == [file.as_uri()]


def test_the_figures_are_drawn_within_a_second(open_page):
    """In the page's own time, from the start of its loading to the end of its script, which draws every figure."""
    page = open_page()
    assert page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventStart") < 1000


def test_every_control_has_a_name_and_is_reached_by_the_keyboard(open_page):
    page = open_page()
    reveal(page)
    controls = page.locator("main input:visible, main select:visible, main button:visible, main summary:visible")
    names = controls.evaluate_all(
        "all => all.map((one) => one.ariaLabel || one.labels?.[0]?.textContent || one.textContent)"
    )
    assert all(name.strip() for name in names)
    page.evaluate(
        "window.reached = new Set(); addEventListener('focusin', (event) => window.reached.add(event.target), true)"
    )
    for _ in range(len(names) + 2 * len(NAMES) + 20):
        page.keyboard.press("Tab")
    missed = controls.evaluate_all("all => all.filter((one) => !window.reached.has(one)).map((one) => one.id)")
    assert missed == []


def test_on_a_phone_nothing_is_cut(open_page):
    page = open_page(**PHONE)
    reveal(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    sizes = page.eval_on_selector_all("svg text", "all => all.map((one) => one.getBoundingClientRect().height)")
    assert min(sizes) >= 12
    cut = """all => all.filter((one) => {
        const box = one.getBoundingClientRect(), sheet = one.ownerSVGElement.getBoundingClientRect();
        return box.left < sheet.left - 1 || box.right > sheet.right + 1;
    }).map((one) => one.textContent)"""
    assert page.eval_on_selector_all("svg text", cut) == []
    small = (
        """all => all.filter((one) => !one.hidden && one.getBoundingClientRect().height < 24).map((one) => one.id)"""
    )
    assert page.eval_on_selector_all("main input:not([type=checkbox]), main select, main button", small) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_and_lines_stand_out_in_both_schemes(open_page, scheme):
    page = open_page(color_scheme=scheme)
    reveal(page)
    ground = luminance(page.locator("body").evaluate("(one) => getComputedStyle(one).backgroundColor"))
    assert (ground > 0.5) == (scheme == "light")
    assert faint(page, "svg path:not([class='']), svg text") == []


@pytest.mark.parametrize("name", PLOTTED)
def test_lines_differ_by_more_than_their_colour(open_page, name):
    page = open_page(f"#{name}&{name}.guess=skip")
    for plot in range(page.locator(f"#{name} svg").count()):
        dashes = page.eval_on_selector_all(
            f"#{name}-plot-{plot} > path.line",  # the samples of the legend
            "all => all.map((one) => getComputedStyle(one).strokeDasharray + getComputedStyle(one).strokeWidth)",
        )
        assert len(set(dashes)) == len(dashes)


def test_on_paper_every_answer_is_seen(open_page):
    page = open_page()
    before = sum(lines_in(page, name) for name in NAMES)
    page.emulate_media(media="print")
    expect(page.locator(".asking")).to_have_count(0)
    assert sum(lines_in(page, name) for name in NAMES) > before
    assert page.locator(".answer").first.is_visible()
    for figure in FIGURES:
        assert TEXT["figures"][figure.name]["why"] in page.locator(f"#{figure.name} .guess").inner_text()
    assert not page.locator("input[type=range], .skip").first.is_visible()
    page.emulate_media(media="screen")
    expect(page.locator(".asking")).to_have_count(len(NAMES))


def test_without_javascript_all_is_there_and_stands_still(open_page):
    page = open_page(java_script_enabled=False)
    for figure in FIGURES:
        name = figure.name
        assert page.locator(f"#{name} .answer").is_visible()
        if name in PLOTTED:
            assert page.locator(f"#{name} svg path.line").count() > 0
            assert page.locator(f"#{name}-said").inner_text() == page.locator(f"#{name} svg").first.get_attribute(
                "aria-label"
            )
        assert TEXT["figures"][name]["why"] in page.locator(f"#{name} .guess").inner_text()


@pytest.mark.parametrize("name", PLOTTED)
def test_the_still_picture_is_the_one_that_moves(chromium, open_page, name):
    """With the same words and as many lines."""
    still, moving = open_page(java_script_enabled=False), open_page(f"#{name}&{name}.guess=skip")
    for page in (still, moving):
        page.set_viewport_size({"width": 700, "height": 900})
    words_of = [page.locator(f"#{name} svg text").all_text_contents() for page in (still, moving)]
    assert set(words_of[0]) == set(words_of[1])
    assert lines_in(still, name) == lines_in(moving, name)


@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark"}, PHONE], ids=["light", "dark", "phone"])
@pytest.mark.parametrize("is_revealed", [False, True])
def test_an_audit_of_accessibility_finds_nothing(open_page, options, is_revealed):
    page = open_page(**options)
    if is_revealed:
        reveal(page)
    assert faults(page) == []
