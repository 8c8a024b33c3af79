"""The page that explains RMSProp, in a real browser."""

import pytest
from browser import opening

from rmsprop.lab.explain.page import page as make_page


@pytest.fixture(scope="session")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("explain") / "page.html"
    path.write_text(make_page(), encoding="utf-8")
    return path


@pytest.fixture
def open_page(chromium, file):
    """Opens the page at a link; what it says in its console is an error."""
    with opening(chromium) as open_at:
        yield lambda link="", **options: open_at(file.as_uri() + link, **options)


@pytest.fixture(scope="module")
def one_page(chromium, file):
    """The page, loaded once."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(file.as_uri())
    yield page
    context.close()
