"""Maps in docstrings and the tree in CONTRIBUTING.md name what exists."""

from pathlib import Path

import pytest
from architecture import read
from docstring_maps import missing_files, missing_modules, missing_references

ROOT = Path(__file__).parent.parent
MODULES = read(ROOT / "src" / "rmsprop")


@pytest.mark.parametrize("name", [name for name, module in MODULES.items() if module.is_package])
def test_the_map_of_a_package_names_what_exists(name):
    assert missing_modules(MODULES[name], MODULES) == []


def test_docstrings_refer_to_what_exists():
    missing = {name: missing_references(module, MODULES) for name, module in MODULES.items()}
    assert {name: names for name, names in missing.items() if names} == {}


@pytest.fixture
def package(tmp_path):
    """A made-up package ``p`` with the modules ``a`` and ``b``, and a docstring."""

    def make(text):
        (tmp_path / "p").mkdir()
        (tmp_path / "p" / "__init__.py").write_text(f'"""A package.\n\n{text}\n"""\nfrom p.a import Thing\n')
        (tmp_path / "p" / "a.py").write_text("gone = 1\nclass Thing:\n    def method(self):\n        local = 1\n")
        (tmp_path / "p" / "b.py").write_text("")
        return read(tmp_path / "p")

    return make


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("Words about `gone`.", []),
        ("- `a`: one, with `Thing`.\n- `b`: two.", []),
        ("- `a`, `b`: both, and a `gone` that is defined.", []),
        ("- `a`: one, with\n  `b` beside it and `p.elsewhere`.", []),
        ("- `a`, `gone`: both.", ["gone"]),
        ("- `Thing`: a class where a module belongs.", ["Thing"]),
        ("- `a`: one; `local` the other,\n  `lost` the third.", ["local", "lost"]),
    ],
)
def test_a_wrong_map_is_seen(text, missing, package):
    modules = package(text)
    assert missing_modules(modules["p"], modules) == missing


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("`p`, `p.a`, `p.Thing`, `p.a.Thing`, `p.a.Thing.method`, `p.__version__`.", []),
        ("Words about ``p.literal``, `q.gone` and `p gone`.", []),
        ("Words about `p.c`, `p.b.Thing`.", ["p.c", "p.b.Thing"]),
    ],
)
def test_a_wrong_reference_is_seen(text, missing, package):
    modules = package(text)
    assert missing_references(modules["p"], modules) == missing


def test_the_tree_in_contributing_names_files_that_exist():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert "  checkpoint/" in page
    assert missing_files(page, ROOT) == []


@pytest.mark.parametrize(
    ("tree", "missing"),
    [
        ("a/   words about gone.py\n  b.py  words", []),
        ("a/   words\n  b.py, c.py  words", ["a/c.py"]),
        ("a/   words\n  b.py  words\nc/  words", ["c/"]),
        ("a/   words\n  d/  words\n    e.py  words\n  f.py", ["a/d/", "a/d/e.py", "a/f.py"]),
        ("a/   words\n  b.py, .cpp words, and more", ["a/b.cpp"]),
    ],
)
def test_a_wrong_tree_is_seen(tree, missing, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.py").write_text("")
    assert missing_files(f"# A page\n\n```\n{tree}\n```\n", tmp_path) == missing
