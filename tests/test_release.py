"""What a release says of itself agrees with what it is; what needs a compiler is done by `make wheels`."""

import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

import rmsprop

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
constraints, platforms = import_module("release.constraints"), import_module("release.platforms")


def test_the_page_has_a_row_for_every_wheel():
    page = (ROOT / "docs" / "releasing.md").read_text(encoding="utf-8")
    named = re.findall(r"`([^`]*)`", " ".join(re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)))
    assert named == [platform.tag for platform in platforms.PLATFORMS]


def test_the_citation_is_of_this_version():
    assert f"\nversion: {rmsprop.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["SECURITY.md", "CODE_OF_CONDUCT.md", "NOTICE", "LICENSE"])
def test_what_the_releases_refer_to_is_there(name):
    assert (ROOT / name).read_text(encoding="utf-8").strip()


FOUND = {"numpy": "2.4.6", "Torch": "2.14.0", "absl-py": "2.5.1"}


@pytest.mark.parametrize(
    ("lines", "kept", "written"),
    [
        (["# a comment", "numpy==1.0"], [], ["absl-py==2.5.1", "numpy==2.4.6", "Torch==2.14.0"]),
        (
            ["numpy==1.0", "torch==2.13.0  # why"],
            ["torch==2.13.0  # why"],
            ["absl-py==2.5.1", "numpy==2.4.6", "torch==2.13.0  # why"],
        ),
    ],
    ids=["none held", "one held"],
)
def test_pins_are_refreshed_but_for_those_with_a_comment(lines, kept, written):
    assert constraints.held(lines) == kept
    assert constraints.pinned(FOUND, kept).splitlines()[1:] == written


def test_the_pins_are_as_the_command_would_write_them():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    held = constraints.held(lines)
    found = dict(line.split("==") for line in lines[1:] if line not in held)
    assert constraints.pinned(found, held).splitlines() == lines
