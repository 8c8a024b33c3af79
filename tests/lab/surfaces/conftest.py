"""The page with sliders, in a real browser."""

from urllib.parse import urlencode

import pytest
from browser import opening

from rmsprop.lab.problems.builtin.surfaces import SURFACES
from rmsprop.lab.surfaces.choices import Values, walks
from rmsprop.lab.surfaces.page import page as make_page
from rmsprop.lab.surfaces.picture import Scene


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    bowl = SURFACES["bowl"]
    found, _ = walks(bowl, ["adam", "rmsprop-d2l"], lr=Values(plain=0.4), steps=20)
    path = tmp_path_factory.mktemp("page") / "walk.html"
    path.write_text(make_page(Scene(name="bowl", surface=bowl, walks=found)), encoding="utf-8")
    return path


@pytest.fixture
def open_page(chromium, file):
    """Opens the page, with settings in its link if there are any; what it says in its console is an error."""
    with opening(chromium) as open_at:
        yield lambda settings=None, **options: open_at(
            file.as_uri() + (f"#{urlencode(settings)}" if settings else ""), **options
        )


@pytest.fixture(scope="module")
def one_page(chromium, file):
    """Follows links without being loaded anew."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(file.as_uri())
    arrive = """link => new Promise((done) => {
        addEventListener("hashchange", () => done(), { once: true });
        location.hash = link;
    })"""

    def follow(settings):
        page.evaluate(arrive, urlencode(settings))
        return page

    yield follow
    context.close()
