"""The homes of the site, on which one can play at once: built as they are published, and looked at from a folder."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from browser import PHONE, chromium, faint, faults, opening  # noqa: F401  # chromium is a fixture
from mkdocs.commands.build import build
from mkdocs.config import load_config
from playwright.sync_api import expect

from docs.generate import home
from rmsprop.lab.explain.figures import FIGURES
from rmsprop.lab.explain.page import words

ROOT = Path(__file__).parents[1]
HOMES = sorted(path.name for path in (ROOT / "docs").glob("index*.md"))
# A page with formulas and one with wide tables stand for the others: what they are made of is the same.
OTHERS = ["learn/averages.md", "speed.md"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site without most of its pages: these are built strictly by `make docs`."""
    folder = tmp_path_factory.mktemp("site")
    kept = "\n".join(["*.md", *(f"!/{name}" for name in (*HOMES, *OTHERS)), "/generate/"])
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), exclude_docs=kept)
    build(config)
    return folder


@pytest.fixture
def open_page(chromium, site):  # noqa: F811
    """Opens a page of the site; what it says in its console, and what it asks of others, is an error."""
    with opening(chromium, site.as_uri()) as open_at:
        yield lambda link, **options: open_at(f"{site.as_uri()}/{link}", **options)


def address(name):
    """Where the page of a home is in the site, and its language."""
    language = "zh" if ".zh." in name else "en"
    return ("" if language == "en" else "zh/") + "index.html", language


@pytest.mark.parametrize("name", HOMES)
def test_a_home_holds_the_whole_explanation(open_page, site, name):
    where, language = address(name)
    text = words(language)
    page = open_page(where)
    assert page.locator("h1").count() == 1
    assert page.locator(".explain h2").first.inner_text() == text["title"]
    assert page.locator(".explain").get_attribute("lang") == language
    sections = page.locator(".explain section[id] h3").all_text_contents()
    assert [title.split(". ")[1].rstrip("#\n") for title in sections] == [
        text["figures"][figure.name]["title"] for figure in FIGURES
    ]
    assert len((site / where).read_bytes()) <= 400_000


def test_it_plays_there_and_the_address_is_a_link_to_what_is_seen(open_page):
    page = open_page("index.html")
    page.locator("#ten .skip").click()
    page.locator("[id='ten.rho']").press("ArrowRight")
    assert page.locator("#ten-rmsprop").inner_text() == "−0.3353"
    assert page.evaluate("location.hash") == "#ten&ten.rho=0.95&ten.guess=skip"
    page = open_page("index.html#ten&ten.rho=0.5&ten.guess=0")
    expect(page.locator("#ten-rmsprop")).to_have_text("−4.274")
    top = page.locator("#ten-title").bounding_box()["y"]
    assert page.locator(".md-header").bounding_box()["height"] <= top < 200


PAGES = [address(name)[0] for name in HOMES] + [name.replace(".md", ".html") for name in OTHERS]
REVEAL = "document.querySelectorAll('.explain .skip').forEach((button) => button.click())"
LOOKS = {"light": {}, "dark": {"color_scheme": "dark"}, "phone": PHONE}


@pytest.mark.parametrize("where", PAGES)
@pytest.mark.parametrize("look", LOOKS)
def test_an_audit_of_accessibility_finds_nothing_serious(open_page, where, look):
    page = open_page(where, **LOOKS[look])
    page.evaluate(REVEAL)
    assert faults(page, ["serious", "critical"]) == []
    width = page.evaluate("innerWidth")
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("look", ["light", "dark"])
def test_lines_stand_out_on_the_ground_of_the_theme(open_page, look):
    page = open_page("index.html", **LOOKS[look])
    page.evaluate(REVEAL)
    assert faint(page, ".explain svg path:not([class='']), .explain svg text") == []


def test_the_search_works_in_a_folder(open_page):
    page = open_page("index.html")
    page.locator(".md-search__input").click()
    page.keyboard.type("interleaved rounds")
    expect(page.locator(".md-search-result__link").first).to_have_attribute("href", re.compile(r"/speed\.html"))


@pytest.mark.parametrize("missing", ["</head>", "</main>"])
def test_a_theme_without_a_place_for_it_is_an_error(missing):
    whole = "<head></head><main></main>".replace(missing, "")
    with pytest.raises(ValueError, match=f"no {missing}, before which the explanation belongs"):
        home.on_post_page(whole, page=SimpleNamespace(meta={"explain": "en"}))


@pytest.mark.parametrize(
    ("rule", "nested"),
    [
        (":root { color: red }", "& { color: red }"),
        ("  body { margin: 0 auto }", "  & { margin: 0 auto }"),
        (".asking .answer, .script .open .plain { top: 0 }", ".asking .answer, .script & .open .plain { top: 0 }"),
        ("h2 { margin: 0.5rem 1px }", "h3 { margin: 0.4rem 1px }"),
        ("@media (max-width: 30rem) {", "@media (max-width: 30rem) {"),
    ],
)
def test_what_a_style_says_of_the_document_is_said_of_the_part(rule, nested):
    assert home.scoped(rule) == nested
