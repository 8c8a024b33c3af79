"""Chromium, in which tests look at pages, and what several of them ask of it."""

import os
import re
import shutil
from contextlib import contextmanager

import numpy as np
import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# As root, the only user of many containers, Chromium doesn't start with its sandbox; the page is ours.
ARGUMENTS = ["--disable-gpu", *(["--no-sandbox"] if os.getuid() == 0 else [])]
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}


@pytest.fixture(scope="module")  # its event loop ends with the module
def chromium():
    """Chromium without a window. A machine without it fails here: the page would go untested."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.fail(
            "there is no Chromium for the tests of the interactive pages: apt-get install chromium", pytrace=False
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def opening(chromium, site=None):
    """Opens addresses, each with settings of its own; what a page says in its console is an error at the end.

    So is what it asks of others than a site, where one is given.
    """
    contexts, said = [], []

    def open_at(address, **options):
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        if site is not None:
            page.on("request", lambda asked: None if asked.url.startswith(site) else said.append(asked.url))
        page.goto(address)
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert said == []


def faults(page, impacts=("minor", "moderate", "serious", "critical")):
    """What an audit of accessibility finds on a page: the rule, how serious it is, and where."""
    from axe_playwright_python.sync_playwright import Axe

    # Colours are judged where they end, not on their way there.
    page.add_style_tag(content="*, ::before, ::after { transition: none !important; animation: none !important }")
    # Without preload it doesn't ask a folder for style sheets, which a browser refuses.
    found = Axe().run(page, options={"preload": False}).response["violations"]
    return [(one["id"], one["impact"], one["nodes"][0]["html"][:150]) for one in found if one["impact"] in impacts]


def luminance(colour):
    """The relative luminance of WCAG, from 0 to 1, of a colour as a browser writes it."""
    r, g, b = (int(part) for part in re.findall(r"\d+", colour)[:3])
    channels = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in (r, g, b)]
    return float(np.dot([0.2126, 0.7152, 0.0722], channels))


def faint(page, parts):
    """The words and lines among some parts of a page that stand out from its ground less than WCAG 2.2 asks for.

    That is 4.5 in words and 3 in graphics.
    """
    ground = luminance(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    colours = page.eval_on_selector_all(
        parts,
        """all => all.map((one) => {
            const style = getComputedStyle(one), isText = one.localName === "text";
            return [one.getAttribute("class") ?? one.localName, isText ? style.fill : style.stroke, isText ? 4.5 : 3];
        })""",
    )
    assert colours
    lights = [(kind, luminance(colour), least) for kind, colour, least in {tuple(row) for row in colours}]
    return [kind for kind, light, least in lights if (max(light, ground) + 0.05) / (min(light, ground) + 0.05) < least]
