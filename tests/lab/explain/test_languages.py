"""The languages of the page say the same: every word is there in each, with the same numbers, places and marks."""

import re

import pytest

from rmsprop.lab.explain import LANGUAGES
from rmsprop.lab.explain.page import page as make_page
from rmsprop.lab.explain.page import words

OTHERS = [language for language in LANGUAGES if language != "en"]
# Numbers, places for numbers, and tags.
FIXED = re.compile(r"\d+(?:\.\d+)?|\{\w*\}|<[^>]*>")


def texts(part, path=""):
    """All texts by their paths."""
    if isinstance(part, str):
        yield path, part
        return
    for key, inner in part.items() if isinstance(part, dict) else enumerate(part):
        yield from texts(inner, f"{path}/{key}")


@pytest.mark.parametrize("language", OTHERS)
def test_a_language_has_every_text_with_the_same_numbers(language):
    ours, english = dict(texts(words(language))), dict(texts(words("en")))
    assert list(ours) == list(english)
    parted = {path for path in ours if sorted(FIXED.findall(ours[path])) != sorted(FIXED.findall(english[path]))}
    assert parted == set()
    letters = re.compile(r"[\u4e00-\u9fff]")
    untouched = {path for path, text in ours.items() if len(text) > 60 and not letters.search(text)}
    assert all(path.endswith("/formula") or path.startswith("/sources/") for path in untouched)


@pytest.mark.parametrize("language", OTHERS)
def test_a_page_in_another_language_works(chromium, tmp_path, language):
    file = tmp_path / "page.html"
    file.write_text(make_page(language), encoding="utf-8")
    assert file.stat().st_size <= 400_000
    context = chromium.new_context(viewport={"width": 390, "height": 844}, is_mobile=True)
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(file.as_uri() + "#ten&ten.rho=0.5&ten.guess=1")
    own = words(language)["figures"]["ten"]
    assert page.locator("#ten-verdict").inner_text() == f"{words(language)['ui']['right']} {own['why']}"
    assert page.locator("#ten-said").inner_text() == own["summary"].format(rho="0.5", sign="−8", rmsprop="−4.274")
    page.evaluate("NAMES.forEach((name) => { STATE[name].guess = 'skip'; show(name); })")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    context.close()
    assert said == []
