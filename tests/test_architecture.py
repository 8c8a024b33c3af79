"""Imports point one way, public names are these, documentation uses nothing else, and names mean one class."""

from pathlib import Path

import pytest
from architecture import circles, foreign, private_uses, public_paths, read, same_names, shown_on_page, upward

ROOT = Path(__file__).parent.parent
MODULES = read(ROOT / "src" / "rmsprop")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]

# A room imports rooms of lower tiers alone; ``rmsprop`` is the package's own ``__init__``.
TIERS = (
    {"hyperparameters", "keywords", "horizon", "options", "locks", "files"},
    {"rule"},
    {"dialects"},
    {"recipes"},
    {"rmsprop"},
    {"codes"},
    {"storage"},
    {"clipping", "decays"},
    {"layout"},
    {"library", "stretch_table", "update_numbers"},
    {"batch"},
    {"native", "reference"},
    {"averaging", "rates", "rows"},
    {"threads", "drift", "rowwise"},
    {"row_table"},
    {"torch", "numpy", "jax", "keras"},
    {"checkpoint"},
    {"lab"},
    {"cli"},
    {"__main__"},
)
# Packages that a room may import, beside the standard library.
PACKAGES = {
    "codes": {"numpy"},
    "storage": {"numpy"},
    "clipping": {"numpy"},
    "reference": {"numpy"},
    "batch": {"numpy"},
    "native": {"numpy"},
    "rows": {"numpy"},
    "decays": {"numpy"},
    "drift": {"numpy"},
    "rowwise": {"numpy"},
    "row_table": {"numpy"},
    "stretch_table": {"numpy"},
    "numpy": {"numpy"},
    "torch": {"numpy", "torch", "triton"},
    "jax": {"numpy", "jax", "optax"},
    "keras": {"numpy", "keras", "tensorflow"},
    "checkpoint": {"numpy", "torch", "triton", "jax", "keras", "tensorflow", "h5py", "safetensors", "orbax"},
    "lab": {
        *("numpy", "torch", "scipy", "sklearn", "polars", "safetensors", "cloudpickle", "filelock", "tensorboard"),
        "distributed",
        *("matplotlib", "contourpy", "PIL", "imageio_ffmpeg", "jinja2", "markupsafe", "fastexcel"),
    },
    "cli": {"click", "rich"},
}
PUBLIC = {
    "rmsprop": [
        *("DIALECTS", "RECIPES", "Dialect", "Recipe", "Rule", "decay_from_half_life", "decay_from_mass_window"),
        *("decay_from_window", "half_life", "mass_window", "window"),
    ],
    "rmsprop.reference": ["init", "update"],
    "rmsprop.rates": ["additive", "direction", "multiplicative", "tangent"],
    "rmsprop.native": ["INSTRUCTION_SETS", "instruction_set", "use_instruction_set"],
    "rmsprop.torch": ["HypergradientDescent", "Marthe", "RMSprop", "ScheduleFreeRMSprop", "step_in_backward"],
    "rmsprop.numpy": ["RMSprop"],
    "rmsprop.jax": ["RMSpropState", "from_recipe", "rmsprop", "scale_by_rmsprop"],
    "rmsprop.keras": ["RMSprop"],
    "rmsprop.checkpoint": [
        *("FORMATS", "Checkpoint", "CheckpointError", "ConversionWarning", "Format", "Group", "Parameter"),
        *("convert", "load", "save"),
    ],
    "rmsprop.lab": ["LrRange", "Recorder", "TrainedModel", "find_lr", "load"],
    "rmsprop.lab.compare": [
        *("Budget", "Comparison", "Facts", "Progress", "Run", "Trial", "analyse", "compare", "headline"),
    ],
    "rmsprop.lab.problems": ["Answers", "Baseline", "Data", "Metric", "Problem", "check", "load"],
    "rmsprop.lab.surfaces": ["SURFACES", "choose", "walk"],
    "rmsprop.lab.tune": ["Tuning", "summary", "tune"],
    "rmsprop.lab.window": ["deficit", "measure", "weights"],
}


@pytest.fixture
def tree(tmp_path):
    """A made-up package ``p``: path -> source."""

    def make(files):
        for name, source in {"__init__.py": "", **files}.items():
            path = tmp_path / "p" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        return read(tmp_path / "p")

    return make


def test_imports_point_one_way():
    assert upward(MODULES, TIERS) == []


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import p.high", ["p.low imports p.high"]),
        ("from p import high", ["p.low imports p.high"]),
        ("from .high import x", ["p.low imports p.high"]),
        ("from p.beside import x", ["p.low imports p.beside"]),
        ("def f():\n    from p.high import x", ["p.low imports p.high"]),
        ("if TYPE_CHECKING:\n    from p.high import x", ["p.low imports p.high"]),
        ("importlib.import_module('p.high')", ["p.low imports p.high"]),
        ("import os", []),
    ],
)
def test_an_import_upward_is_seen(tree, source, said):
    modules = tree({"low.py": source, "beside.py": "", "high/__init__.py": "from p import low\nx = 1"})
    assert upward(modules, ({"p"}, {"low", "beside"}, {"high"})) == said


def test_no_modules_import_each_other():
    assert circles(MODULES) == []


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        (("import p.b", "import p.c", "def f():\n    from p.a import x"), [["p.a", "p.b", "p.c"]]),
        (("import p.b", "if TYPE_CHECKING:\n    import p.a", ""), [["p.a", "p.b"]]),
        (("import p.b\nimport p.c", "import p.c", ""), []),
    ],
)
def test_a_circle_is_seen(tree, sources, found):
    assert circles(tree(dict(zip(("a.py", "b.py", "c.py"), sources, strict=True)))) == found


def test_only_the_lab_looks_and_only_the_command_prints():
    assert foreign(MODULES, PACKAGES) == []


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def f():\n    import matplotlib.pyplot as plt", ["p.a.b imports matplotlib"]),
        ("from click.testing import CliRunner", ["p.a.b imports click"]),
        ("import numpy as np\nimport os.path\nfrom p import a", []),
    ],
)
def test_a_package_out_of_place_is_seen(tree, source, said):
    assert foreign(tree({"a/__init__.py": "", "a/b.py": source}), {"a": {"numpy"}}) == said


@pytest.mark.parametrize("module", PUBLIC)
def test_the_public_names_of_a_package_are_these(module):
    assert MODULES[module].public == PUBLIC[module]


def test_no_other_module_says_what_is_public():
    assert {name for name, module in MODULES.items() if module.public is not None} <= PUBLIC.keys()


def test_every_public_name_has_one_heading_on_the_api_page():
    shown = shown_on_page((ROOT / "docs" / "api.md").read_text(encoding="utf-8"))
    assert shown == public_paths(MODULES)


def test_where_public_names_are_and_what_a_page_shows(tree):
    modules = tree({"__init__.py": "from p.a import x\ny = 1\n__all__ = ['x', 'y']", "a.py": "x = 1"})
    assert public_paths(modules) == ["p.x", "p.y"]
    assert shown_on_page("::: p.y\ntext about p.z\n::: p.a.x\n::: p.y\n") == ["p.a.x", "p.y", "p.y"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_documentation_uses_what_is_public(page):
    assert private_uses(page.read_text(encoding="utf-8"), MODULES) == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("from p import x", []),
        ("from p import hidden", ["p.hidden"]),
        ("from p.a import x", ["p.a.x"]),
        ("from p.b import z", []),
        ("import p.a", ["p.a"]),
        ("import p\np.x.anything\np.__version__", []),
        ("import p\np.hidden(1)", ["p.hidden"]),
        ("from p import b\nb.z()\nb.w", ["p.b.w"]),
        ("import p.b as c\nc.w", ["p.b.w"]),
    ],
)
def test_a_private_name_in_the_documentation_is_seen(tree, code, found):
    sources = {
        "__init__.py": "from p.a import x\n__all__ = ['x']\nhidden = 1",
        "a.py": "x = 1",
        "b.py": "__all__ = ['z']\nz = w = 1",
    }
    assert private_uses(f"Words.\n\n```python\n{code}\n```\n", tree(sources)) == found


def test_a_name_means_one_class():
    assert same_names(MODULES, allowed={"RMSprop"}) == {}


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ("class A: ...", "class A: ...", {"A": ["p.a", "p.b"]}),
        ("class A: ...", "def f():\n    class A: ...", {"A": ["p.a", "p.b"]}),
        ("class A: ...", "class B: ...", {}),
        ("class Main: ...", "class Main: ...", {}),
    ],
)
def test_two_classes_of_one_name_are_seen(tree, first, second, found):
    assert same_names(tree({"a.py": first, "b.py": second}), allowed={"Main"}) == found
