"""The documentation as a whole: its menu, its gallery, plain words, formulas, and numbers that come from logs."""

import html
import re
from pathlib import Path

import pytest
from PIL import Image

from docs.generate import front, typeset

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
# Phrases of which a reader who knows English and optimizers wouldn't know what they mean.
UNCLEAR = ["speed of memory", "of the floor", "fits into theirs", "step fits into", "lab to look at"]
README_SPEEDS = {
    "one tensor of 20 M": "one tensor of 20 M",
    "ResNet-50, 161 tensors": "161 tensors, ResNet-50, 25.6 M",
    "an MLP of 9,000 weights": "MLP 64–64–64–10: 6 tensors, 9 k",
}


def read(path):
    return path.read_text(encoding="utf-8")


def names(paths):
    return sorted(path.relative_to(DOCS).as_posix() for path in paths)


def test_every_page_is_in_the_menu_once():
    menu = read(ROOT / "mkdocs.yml").split("\nnav:\n")[1]
    assert re.findall(r"^  - (\S+):", menu, re.MULTILINE) == ["Home", "Learn", "How-to", "Reference", "Why", "中文"]
    assert sorted(re.findall(r": (\S+\.md)$", menu, re.MULTILINE)) == names(DOCS.rglob("*.md"))


STATEMENTS = ["rule", "ε", "window", "weighted averages", "bias", "schedules", "compared", "pytorch", "keras"]
STATEMENTS += ["strengths", "weaknesses", "parameters", "trajectories", "adatune", "swa"]


def anchors(page):
    """The anchors of a page's headings: those that the site's own slugs give."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", read(page), flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_statement_of_the_founding_texts_has_a_place():
    page = DOCS / "learn" / "where-to-find.md"
    said = [line.split("|")[1].lower() for line in read(page).splitlines() if line.startswith("| ")][1:]
    assert [word for word, line in zip(STATEMENTS, said, strict=True) if word not in line] == []
    links = [re.findall(r"\]\(([^)#]+)#?([^)]*)\)", line) for line in read(page).splitlines() if line.startswith("| ")]
    assert all(links[1:])
    for file, anchor in (link for row in links for link in row):
        target = (page.parent / file).resolve()
        assert target.is_file(), file
        assert not anchor or anchor in anchors(target), f"{file}#{anchor}"


def test_every_picture_is_in_the_gallery():
    shown = re.findall(r"!\[[^]]+\]\((.*?)\)", read(DOCS / "gallery.md"))
    assert sorted(shown) == names([*DOCS.rglob("*.png"), *DOCS.rglob("*.svg")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_words_are_plain(page):
    assert [words for words in UNCLEAR if words in read(page)] == []


def formulas():
    """Every formula of the site: its page, its LaTeX, and whether it stands by itself."""
    for page in PAGES:
        text = re.sub(r"```.*?```|`[^`\n]*`", "", read(page), flags=re.DOTALL)
        for formula in re.findall(r"^\$\$\n(.*?)\n\$\$$", text, re.DOTALL | re.MULTILINE):
            yield page.stem, formula, True
        for formula in re.findall(r"(?<!\$)\$(?=[^\s$])([^$\n]+?)(?<=\S)\$(?!\$)", text):
            yield page.stem, formula, False


@pytest.mark.parametrize(("page", "formula", "alone"), [*formulas()])
def test_a_formula_becomes_mathml(page, formula, alone):
    tag, left, right = ("div", r"\[", r"\]") if alone else ("span", r"\(", r"\)")
    content = f'<{tag} class="arithmatex">{left}{html.escape(formula)}{right}</{tag}>'
    written = typeset.on_page_content(content)
    assert written.count("<math") == 1
    assert "\\" not in written


def test_the_first_picture_shows_what_is_stored():
    with Image.open(DOCS / front.PICTURE) as picture:
        assert picture.info["Data"] == front.fingerprint(), "run make pages"
    assert (DOCS / front.CHART).read_bytes() == (front.newest() / "chart.png").read_bytes(), "run make pages"


def rows(text):
    """The rows of the tables in a text: what stands first -> the other cells; the first of rows that begin alike."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line[:2] == "| " and "| -" not in line
    ]
    return {first: others for first, *others in reversed(cells)}


def test_speeds_are_those_of_the_log():
    log = rows(read(front.newest() / "summary.md"))
    page = rows(read(DOCS / "speed.md").split("## PyTorch\n")[1].split("\n## ")[0])
    shown = {title: cells for title, cells in page.items() if title in log}
    assert len(shown) == 10
    assert all(set(cells) <= {*log[title], "–"} for title, cells in shown.items())
    first = rows(read(ROOT / "README.md").split("## Speed\n")[1].split("\n## ")[0])
    for title, name in README_SPEEDS.items():
        time, *others = first[title]
        assert log[name][0].startswith(time)
        assert set(others) <= set(log[name])
