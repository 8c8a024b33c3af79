"""The page of promises names tests that there are."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "promises.md").read_text()


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)?)`", PAGE))))
def test_a_promise_names_its_test(name):
    path, _, function = name.partition("::")
    assert f"def {function}" in (ROOT / path).read_text()
