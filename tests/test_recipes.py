"""The rows of the recipe table: their numbers, the rules they make, and the page that lists them."""

import re
from dataclasses import fields
from inspect import signature
from pathlib import Path

import pytest
import torch
from stable_baselines3 import A2C
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike

from rmsprop import DIALECTS, RECIPES, Recipe, Rule
from rmsprop.recipes import get_recipe

# What the sources say, typed from them: dialect, lr, decay, momentum, epsilon, centered, weight decay of everything.
# None: the source is silent, and the dialect's default holds.
ROWS = {
    "efficientnet": ("tensorflow1", 0.256, 0.9, 0.9, 0.001, None, None),
    "efficientnet_v2": ("tensorflow1", 0.016 * 4096 / 256, 0.9, 0.9, 0.001, None, None),
    "efficientnet_timm": ("timm", 0.016, 0.9, 0.9, 0.001, None, None),
    "mobilenet_v2": ("tensorflow1", 0.045, 0.9, 0.9, None, None, None),
    "mobilenet_v3": ("tensorflow1", 0.1, None, 0.9, None, None, None),
    "mobilenet_v3_torchvision": ("torch", 0.064, 0.9, 0.9, 0.0316, None, 0.00001),
    "inception_v3": ("tensorflow1", 0.045, 0.9, None, 1.0, None, None),
    "slim": ("tensorflow1", 0.01, 0.9, 0.9, 1.0, None, None),
    "graves": ("graves", 0.0001, 0.95, 0.9, 0.0001, True, None),
    "char_rnn": ("torch", 0.002, 0.95, None, 1e-8, None, None),
    "wgan": ("torch", 0.00005, 0.99, None, 1e-8, None, None),
    "dqn": ("dqn", 0.00025, 0.95, None, 0.01, True, None),
    "dqn_dopamine": ("tensorflow1", 0.00025, 0.95, None, 0.00001, True, None),
    "a2c_baselines": ("tensorflow1", 0.0007, 0.99, None, 0.00001, None, None),
    "a2c_sb3": ("sb3", 0.0007, 0.99, None, 0.00001, None, None),
    "impala": ("tensorflow1", 0.00048, 0.99, None, 0.1, None, None),
    "impala_torchbeast": ("torch", 0.00048, 0.99, None, 0.01, None, None),
    "qmix": ("torch", 0.0005, 0.99, None, 0.00001, None, None),
    "dreamerv3": ("torch", 0.00004, 0.999, 0.9, 1e-20, None, None),
    "dpo": ("torch", 0.000001, 0.99, None, 1e-8, None, None),
}
# What else they say, by the names of the rule.
MORE = {"dreamerv3": {"averaged_momentum": True, "bias_correction": True}}
FIELDS = ("decay", "momentum", "eps", "centered", "weight_decay")
PAGE = Path(__file__).parent.parent / "docs" / "recipes.md"


# Which of them clip, and how: typed from the sources too.
CLIPPING = {
    "char_rnn": {"max_grad_value": 5.0},
    "a2c_baselines": {"max_grad_norm": 0.5},
    "a2c_sb3": {"max_grad_norm": 0.5},
    "impala_torchbeast": {"max_grad_norm": 40.0},
    "qmix": {"max_grad_norm": 10.0},
    "dpo": {"max_grad_norm": 10.0},
}


@pytest.mark.parametrize("name", ROWS)
def test_clipping_is_that_of_the_source(name):
    recipe = RECIPES[name]
    assert recipe.clipping == CLIPPING.get(name, {})
    for limit in recipe.clipping.values():
        assert re.search(rf"clipped (at|to) ±?{limit:g}\b", recipe.around)


def given(name):
    """Field -> value, of what a source says."""
    numbers = {field: value for field, value in zip(FIELDS, ROWS[name][2:], strict=True) if value is not None}
    return numbers | MORE.get(name, {})


@pytest.mark.parametrize("name", ROWS)
def test_the_numbers_are_those_of_the_source(name):
    recipe = RECIPES[name]
    assert (recipe.dialect, recipe.lr) == ROWS[name][:2]
    assert recipe.settings == given(name)


@pytest.mark.parametrize("name", ROWS)
def test_the_rule_has_the_recipes_settings_and_otherwise_the_dialects(name):
    rule, dialect = RECIPES[name].rule, DIALECTS[ROWS[name][0]].rule
    for field in fields(Rule):
        assert getattr(rule, field.name) == given(name).get(field.name, getattr(dialect, field.name)), field.name


@pytest.mark.parametrize("name", ROWS)
def test_a_row_says_where_it_was_read_and_what_belongs_to_it(name):
    recipe = RECIPES[name]
    assert recipe.schedule
    assert recipe.around
    # A paper's number, or a file of a repository at a commit.
    assert re.search(r"arXiv \d{4}\.\d{4,5}\b|\b[0-9a-f]{7}\)", recipe.source)


def test_rows_that_lean_on_installed_defaults_have_them():
    defaults = torch.optim.RMSprop([torch.zeros(1)]).defaults
    for name in ("wgan", "dpo"):
        assert RECIPES[name].settings == {"decay": defaults["alpha"], "eps": defaults["eps"]}
    a2c, optimizer = signature(A2C).parameters, signature(RMSpropTFLike).parameters
    recipe = RECIPES["a2c_sb3"]
    assert (recipe.lr, recipe.rule.decay) == (a2c["learning_rate"].default, optimizer["alpha"].default)
    assert recipe.rule.eps == a2c["rms_prop_eps"].default
    assert f"clipped at {a2c['max_grad_norm'].default}" in recipe.around


def test_the_table_is_complete_and_read_only():
    assert set(RECIPES) == set(ROWS)
    assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in RECIPES)
    with pytest.raises(TypeError):
        RECIPES["mine"] = RECIPES["dqn"]


def test_an_unknown_name_lists_the_known_ones():
    message = f"Unknown recipe 'dqm' (known: {', '.join(sorted(ROWS))})"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        get_recipe("dqm")


def test_a_recipe_with_a_wrong_setting_says_so():
    recipe = Recipe(dialect="torch", lr=0.1, settings={"decay": 1.5}, schedule="constant", around="", source="")
    with pytest.raises(ValueError, match=r"Invalid decay value: 1\.5"):
        _ = recipe.rule


def number(value):
    return str(value) if isinstance(value, bool) else f"{value:g}".replace("e-0", "e-")


def as_markdown():
    """The lines of the page from its table on."""
    lines = ["| name | dialect | lr | settings |", "|---|---|---|---|"]
    for name, recipe in RECIPES.items():
        settings = ", ".join(f"{field} {number(value)}" for field, value in recipe.settings.items())
        lines.append(f"| [`{name}`](#{name}) | `{recipe.dialect}` | {number(recipe.lr)} | {settings} |")
    for name, recipe in RECIPES.items():
        lines += ["", f"### {name}", "", f"- Schedule: {recipe.schedule}."]
        lines += [f"- Around it: {recipe.around.removesuffix('.')}.", f"- Source: {recipe.source}."]
    return lines


def test_the_page_shows_every_row_as_it_is():
    heading, expected = "## The rows\n\n", as_markdown()
    _, _, shown = PAGE.read_text(encoding="utf-8").partition(heading)
    assert shown.splitlines() == expected


def test_rows_are_read_only():
    with pytest.raises(TypeError):
        RECIPES["dqn"].settings["decay"] = 0.1
    with pytest.raises(TypeError):
        DIALECTS["mxnet"].when["centered"]["momentum"] = 0.1
