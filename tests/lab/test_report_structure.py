"""What a screen reader finds in reports: names of pictures, captions and headings of tables, a main part."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import rmsprop.lab
from rmsprop.lab.drawing import single
from rmsprop.lab.page import Picture

LAB = Path(rmsprop.lab.__file__).parent
TEMPLATES = sorted(LAB.rglob("*.j2"))


def test_a_picture_has_a_name_and_a_description():
    picture = Picture("loss", "Loss & more", "A line, <seed 0>.", single(lambda axes: axes.plot([1, 2])))
    svg = ElementTree.fromstring(picture.svg())
    parts = {part.get("id"): part.text for part in svg.iter() if part.get("id")}
    assert svg.get("role") == "img"
    assert parts[svg.get("aria-labelledby")] == "Loss & more"
    assert parts[svg.get("aria-describedby")] == "A line, <seed 0>."


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.relative_to(LAB).as_posix())
def test_tables_have_captions_and_headings_say_what_they_head(template):
    text = template.read_text(encoding="utf-8")
    assert re.findall(r"<th(?! scope=|ead)[^>]*>", text) == []
    assert len(re.findall(r"<table[^>]*>\s*<caption", text)) == text.count("<table")


def test_a_report_has_one_main_part():
    text = (LAB / "page.html.j2").read_text(encoding="utf-8")
    assert text.index("<main>") < text.index("{% block body %}") < text.index("</main>") < text.index("<footer>")
