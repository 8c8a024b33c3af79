"""The reports of all commands, in Chromium: an audit of accessibility, letters that are text, nothing cut."""

import re

import pytest
from browser import PHONE, faults
from click.testing import CliRunner

from rmsprop.cli.group import rmsprop

QUICK = ["--seeds", "2", "--budget", "quick", "--epochs", "2"]
# What a command is given, and the page that it writes.
REPORTS = {
    "train": (["train", "wine", "--epochs", "3", "--average", "ema"], "report.html"),
    "compare": (["compare", "wine", *QUICK, "--optimizers", "sgd,adam,rmsprop"], "report.html"),
    "tune": (["tune", "wine", *QUICK], "tune.html"),
    "diagnose": (["diagnose", "train"], "diagnosis.html"),
}
LOOKS = {"light": {}, "dark": {"color_scheme": "dark"}, "phone": PHONE}
# Letters of a picture that lie outside of it. Their boxes have room for accents, which none of them has: a fifth.
CUT = """all => all.filter((one) => {
    const { left, right, top, bottom } = one.getBoundingClientRect(), room = (bottom - top) / 5;
    const sheet = one.ownerSVGElement.getBoundingClientRect();
    return left < sheet.left - 1 || right > sheet.right + 1 || top < sheet.top - room || bottom > sheet.bottom + room;
}).map((one) => one.textContent)"""
# Each of the letters of a picture, and where between its edges they begin.
PLACES = """all => all.map((one) => {
    const sheet = one.ownerSVGElement.getBoundingClientRect();
    return [one.textContent.trim(), (one.getBoundingClientRect().left - sheet.left) / sheet.width];
})"""


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, (arguments, _) in REPORTS.items():
            done = CliRunner().invoke(rmsprop, [*arguments, "--out", name])
            assert done.exit_code in (0, 1), done.output
    return {name: folder / name / page for name, (_, page) in REPORTS.items()}


@pytest.fixture
def open_report(chromium, reports):
    contexts = []

    def open_as(name, look):
        contexts.append(chromium.new_context(**LOOKS[look]))
        page = contexts[-1].new_page()
        page.goto(reports[name].as_uri())
        return page

    yield open_as
    for context in contexts:
        context.close()


# The look is the same in all: what is dark in one is so in the others.
@pytest.mark.parametrize(("name", "look"), [*((name, "light") for name in REPORTS), ("train", "dark")])
def test_an_audit_of_accessibility_finds_nothing(open_report, name, look):
    assert faults(open_report(name, look)) == []


@pytest.mark.parametrize("look", ["light", "phone"])
@pytest.mark.parametrize("name", REPORTS)
def test_nothing_is_cut(open_report, name, look):
    page = open_report(name, look)
    assert page.evaluate("document.documentElement.scrollWidth") == page.evaluate("innerWidth")
    assert page.eval_on_selector_all("svg text", CUT) == []


@pytest.mark.parametrize("name", REPORTS)
def test_letters_of_pictures_are_text_in_a_font_that_is_there(reports, name):
    text = reports[name].read_text(encoding="utf-8")
    fonts = set(re.findall(r"font-family: ([^;\"]+)", "".join(re.findall(r"<text [^>]*>", text))))
    assert fonts == {"'DejaVu Sans', 'Verdana', sans-serif"}
    assert "DejaVuSans-" not in text  # what outlines of letters are called


@pytest.mark.parametrize(
    ("name", "ends"),
    [
        ("train", {"training", "validation", "training, averaged", "validation, averaged"}),
        ("compare", {"SGD", "Adam", "RMSProp"}),
        ("diagnose", {"training", "validation"}),
    ],
)
def test_curves_have_their_names_at_their_ends(open_report, name, ends):
    page = open_report(name, "light")
    words = page.eval_on_selector_all("figure svg text", PLACES)
    assert ends <= {word for word, place in words if place > 0.6}
