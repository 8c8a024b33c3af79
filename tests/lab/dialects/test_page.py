"""The documentation's page of dialects and its picture are those that the table gives today."""

import re
from pathlib import Path

import pytest
from PIL import Image

from docs.generate import dialects as dialect_page
from docs.generate.picture import PANELS, fingerprint, groups
from rmsprop import DIALECTS
from rmsprop.lab.dialects.formulas import formulas, pseudocode
from rmsprop.lab.dialects.table import COLUMNS, rows

DOCS = Path(__file__).parents[3] / "docs"
OUTDATED = "run python -m docs.generate.dialects docs"


def test_the_committed_page_is_up_to_date():
    assert (DOCS / dialect_page.PAGE).read_text(encoding="utf-8") == dialect_page.page(), OUTDATED


def test_the_committed_picture_shows_todays_data():
    with Image.open(DOCS / dialect_page.PICTURE) as image:
        assert image.text["Data"] == fingerprint(), OUTDATED


def test_page_and_picture_are_written(tmp_path):
    dialect_page.main(str(tmp_path))
    assert (tmp_path / dialect_page.PAGE).read_text(encoding="utf-8") == dialect_page.page()
    with Image.open(tmp_path / dialect_page.PICTURE) as image:
        assert image.text["Data"] == fingerprint()
        assert image.size == (1300, 1365)


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_has_its_row_and_its_section(name):
    page, dialect = dialect_page.page(), DIALECTS[name]
    section = re.search(rf"^### {name}\n(.*?)(?=^### |\Z)", page, re.M | re.S).group(1)
    assert "\n".join(formulas(dialect.rule)) in section
    assert pseudocode(dialect.rule) in section
    assert dialect.source in section
    assert dialect.notes in section
    assert f"| [`{name}`](#{name}) | " in page


def test_the_cells_of_the_table():
    cells = {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in rows()}
    assert list(cells) == list(DIALECTS)
    assert cells["tensorflow1"] == {
        "name": "tensorflow1",
        "ε": "1e-10",
        "ε and the root": "inside",
        "centered": "no",
        "v₀": "1",
        "decay": "0.9",
        "momentum": "0",
        "lr and buffer": "inside",
        "lr": "none",
        "weight decay": "l2",
    }
    assert cells["keras_legacy"]["ε and the root"] == "outside; inside once momentum > 0"
    assert cells["mxnet"]["momentum"] == "0; 0.9 once centered"
    assert cells["keras"]["weight decay"] == "decoupled"


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_every_dialect_is_in_one_group_of_each_panel(panel):
    names = [name for group in groups(panel) for name in group.names]
    assert sorted(names) == sorted(DIALECTS)


def test_what_the_page_says_of_the_picture():
    same, small, momentum, _ = ({name: g for g in groups(panel) for name in g.names} for panel in PANELS)
    assert {"torch", "keras", "optax", "d2l"} <= set(same["hinton"].names)
    assert (same["tensorflow1"].loss[1:20] > same["hinton"].loss[1:20]).all()
    assert (same["dqn"].loss[5:40] < same["hinton"].loss[5:40]).all()
    # ε inside the root: the larger, the slower
    ends = [small[name].loss[30] for name in ("torch", "optax", "keras", "d2l", "dqn")]
    assert ends == sorted(ends)
    assert small["tensorflow1"].loss[100] > 0.9 * small["tensorflow1"].loss[0]
    # after the learning rate falls, the buffer that holds it goes on for a while
    inside, outside = momentum["optax"].loss, momentum["torch"].loss
    assert inside[40] == pytest.approx(outside[40], rel=0.01)
    assert inside[50] < 0.9 * outside[50]
