"""A real browser for the interactive page."""

import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
# As root, the only user of many containers, Chromium doesn't start with its sandbox; the page is ours.
ARGUMENTS = ["--disable-gpu", *(["--no-sandbox"] if os.getuid() == 0 else [])]


@pytest.fixture(scope="module")  # its event loop ends with the module
def chromium():
    """Chromium without a window. A machine without it fails here: the page would go untested."""
    from playwright.sync_api import sync_playwright

    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.fail(
            "there is no Chromium for the tests of the interactive page: apt-get install chromium", pytrace=False
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()
