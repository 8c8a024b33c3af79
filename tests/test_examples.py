"""Programs that others train with: each example runs, learns as with the framework's own RMSProp, and resumes."""

import ast
import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from examples.measuring import Run, measured
from examples.page import page
from examples.running import FOLDER, NAMES, run

ROOT = Path(__file__).parent.parent
# What is too much to install for every run of the tests: `make clients` has it.
EXTRA = {"in_ray": "ray", "in_transformers": "transformers", "in_trl": "trl"}
PATHS = {"in_flax": ["XLA"], "in_jax_sharded": ["XLA"], "in_torchtitan": ["kernel on shard"]}
SAVES_NOTHING = {"in_cleanrl"}
# Two updates by one gradient, with operations in another order, differ by at most 8 roundings of 2⁻²⁴ of what moves,
# and no example takes more than 40 steps, whose differences add up.
BOUND = 40 * 8 * 2.0**-24


@pytest.mark.parametrize("name", NAMES)
def test_a_client_trains_as_with_its_own(name):
    if name in EXTRA and find_spec(EXTRA[name]) is None:
        pytest.skip(f"{EXTRA[name]} is not installed; make clients installs it")
    found = run(name)
    assert_good(name, found)


def assert_good(name, found):
    assert len(found.losses) <= 40
    assert found.difference <= BOUND
    assert found.paths == PATHS.get(name, ["kernel"])
    assert (found.resumed == 0) == (name in SAVES_NOTHING)
    assert found.same


@pytest.mark.parametrize(
    ("theirs", "resumed", "difference", "same"),
    [
        ([4.0, 2.0], [2.0], 0.0, True),
        ([4.0, 3.0], [2.0], 0.25, True),
        ([4.0, 2.0], [2.0000002], 0.0, False),
        ([4.0, 2.0], [], 0.0, True),
    ],
)
def test_what_differs_is_seen(theirs, resumed, difference, same):
    ours = Run(losses=[4.0, 2.0], step=list, paths=["kernel"])
    found = measured("numpy", ours, Run(losses=theirs, step=list, paths=[]), resumed)
    assert (found.difference, found.same, found.resumed) == (difference, same, len(resumed))


def test_an_example_that_fails_says_why():
    with pytest.raises(RuntimeError, match=r"the example in_nothing failed: exit code 1\n[^$]*No module named"):
        run("in_nothing")


def the_log():
    return json.loads(max((ROOT / "benchmarks" / "results").glob("*-clients/clients.json")).read_text(encoding="utf-8"))


def test_the_page_is_that_of_the_log():
    assert (ROOT / "docs" / "clients.md").read_text(encoding="utf-8") == page(the_log())


@pytest.mark.parametrize("name", NAMES)
def test_the_log_has_every_example_as_it_should_be(name):
    assert_good(name, measured_in_log(name))


def measured_in_log(name):
    from examples.measuring import Measured

    return Measured(**the_log()["examples"][name])


@pytest.mark.parametrize("name", NAMES)
def test_an_example_says_what_it_shows(name):
    tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    assert len(ast.get_docstring(tree)) > 60
    (main,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main"]
    assert ast.unparse(main.returns) == "Measured"
