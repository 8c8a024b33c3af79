"""`rmsprop dialects`, `explain`, `diff` and `recipes` as a person and a script use them."""

import json
import os
import subprocess
import sys
from dataclasses import asdict, fields
from functools import partial
from itertools import product

import pytest
from click.testing import CliRunner
from rich.console import Console

from rmsprop import DIALECTS, RECIPES, Rule, half_life
from rmsprop.cli.choices import rule_options
from rmsprop.cli.group import rmsprop
from rmsprop.lab.dialects.calls import recipe_calls
from rmsprop.lab.format import short

COMMAND = [sys.executable, "-c", "from rmsprop.cli import main; main()"]
PAGES = [
    ("dialects",),
    ("recipes",),
    *(("explain", name) for name in DIALECTS),
    *(("recipes", name) for name in RECIPES),
    *(("diff", a, b) for a, b in product(("torch", "tensorflow1", "graves"), DIALECTS)),
    ("explain", "torch", "--centered", "--eps", "0", "--momentum", "0.9", "--nesterov", "--bias-correction"),
    ("scale", "--from", "256", "--to", "4096", "--recipe", "efficientnet"),
    ("scale", "--from", "4096", "--to", "256", "--lr", "0.1", "--tokens", "2048", "--weight-decay", "0.1"),
    ("scale", "--from", "1", "--to", "1000000"),
    ("diff", "keras_legacy", "tensorflow1", "--weight-decay", "0.1", "--momentum", "1"),
]


def run(*arguments, code=0):
    result = CliRunner().invoke(rmsprop, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def squeezed(text):
    return " ".join(text.split())


@pytest.mark.parametrize("page", PAGES, ids=" ".join)
def test_what_is_printed_fits_a_hundred_columns(page):
    for line in run(*page).stdout.splitlines():
        assert len(line) <= 100 or "rmsprop." in line or "np." in line  # a line of code stays one


@pytest.mark.parametrize("page", PAGES, ids=" ".join)
def test_json_is_one_strict_object_in_ascii(page):
    text = run(*page, "--json").stdout
    assert text.isascii()
    assert isinstance(json.loads(text, parse_constant=pytest.fail), dict)


def test_the_algorithm_box_takes_the_options():
    text = run("explain", "tensorflow1", "--momentum", "0.9", "--lr", "0.5", "--latex").stdout
    assert text.startswith("% \\usepackage{amsmath, algorithm, algpseudocode}\n\\begin{algorithm}\n")
    assert r"\State $b \leftarrow 0.9 \cdot b + \frac{0.5 \cdot g}{\sqrt{v + 10^{-10}}}$" in text
    assert text.endswith("\\end{algorithm}\n")


def test_the_table_of_dialects():
    text = run("dialects").stdout
    for name, dialect in DIALECTS.items():
        row = next(line for line in text.splitlines() if line.split()[:1] == [name])
        assert (" inside " if dialect.rule.eps_inside_sqrt else " outside") in row
        assert f" {dialect.rule.decay} " in row
        assert dialect.source in squeezed(text)
    found = json.loads(run("dialects", "--json").stdout)
    assert {name: Rule(**row["rule"]) for name, row in found.items()} == {n: d.rule for n, d in DIALECTS.items()}
    assert found["keras_legacy"]["when"] == {"momentum": {"eps_inside_sqrt": True}}
    assert found["optax"]["lr"] is None


@pytest.mark.parametrize("width", [80, 90, 100])
def test_the_table_of_dialects_breaks_no_word(width, monkeypatch, capsys):
    monkeypatch.setattr("rmsprop.cli.output.Console", partial(Console, force_terminal=True, color_system=None))
    monkeypatch.setenv("COLUMNS", str(width))
    with pytest.raises(SystemExit):
        rmsprop(["dialects"])
    said = capsys.readouterr().out
    table = said[: said.index("* keras_legacy")].splitlines()
    assert len(table) == len(DIALECTS) + 3
    assert max(map(len, table)) <= width
    assert ("weight decay: l2, but decoupled in keras\n" in said) is (width < 100)
    assert any("decoupled" in row for row in table) is (width == 100)


@pytest.mark.parametrize("width", [80, 100])
def test_the_help_cuts_no_summary(width):
    said = CliRunner().invoke(rmsprop, ["--help"], terminal_width=width).stdout
    rows = said[said.index("Commands:") :].splitlines()[1:]
    assert [row.split()[0] for row in rows] == sorted(rmsprop.commands)
    assert all(row.endswith(".") and not row.endswith("...") for row in rows)


def test_explain_says_all_of_it():
    text = run("explain", "tensorflow1", "--momentum", "0.9", "--eps", "1e-3").stdout
    for part in (
        "b ← 0.9·b + lr·g / √(v + 0.001)",
        "      v = 0.9 * v + 0.1 * g**2\n",
        "half-life 6.58 steps, window 10, 95\u00a0% of the weight in the last 28.4",
        'rmsprop.torch.RMSprop(params, lr=lr, dialect="tensorflow1", eps=0.001, momentum=0.9)\n',
        'rmsprop.keras.RMSprop(learning_rate=lr, dialect="tensorflow1", epsilon=0.001, momentum=0.9)\n',
    ):
        assert part in text
    assert "0.0001 0.000105 0.000206 0.000919 0.03 at 0.0316 from step 101" in squeezed(text)
    assert "default lr none source tf.compat.v1.train.RMSPropOptimizer" in squeezed(text)


@pytest.mark.parametrize(
    ("options", "by", "size"),
    [
        (("torch", "--centered", "--bias-correction"), "ε alone, next to 0", 1e8),
        (("torch", "--centered", "--bias-correction", "--eps", 0), "0", None),
        (("tensorflow1", "--centered", "--bias-correction"), "√ε alone, next to 0", 1e5),
        (("torch", "--centered", "--bias-correction", "--eps", 1), "ε alone", 1.0),
        (("torch", "--centered", "--decay", 0), "ε alone, next to 0", 1e8),
        (("torch", "--decay", 1), "ε alone, next to 0", 1e8),
    ],
    ids=str,
)
def test_a_first_step_that_is_divided_by_eps_alone_is_explained(options, by, size):
    text, found = squeezed(run("explain", *options).stdout), json.loads(run("explain", *options, "--json").stdout)
    long = "infinite" if size is None else f"{short(size)} learning rates long at a gradient of 1"
    assert f"The first step is divided by {by}: it is {long}. " in text
    assert found["first_steps"][0]["sizes"]["1"] == (size and pytest.approx(size, rel=0.01))
    assert all(squeezed(remark) in text for remark in found["remarks"])


@pytest.mark.parametrize(
    ("options", "remarks"),
    [
        (("torch", "--centered"), 1),
        (("torch", "--bias-correction"), 0),
        (("tensorflow1", "--decay", 1), 0),
        (("keras",), 0),
    ],
    ids=str,
)
def test_no_other_first_step_is(options, remarks):
    assert "The first step is divided" not in run("explain", *options).stdout
    found = json.loads(run("explain", *options, "--json").stdout)
    assert len(found["remarks"]) == remarks
    assert found["first_steps"][0]["sizes"]["1"] < 11


def test_diff_says_what_bias_correction_does_to_a_centered_rule():
    text = squeezed(run("diff", "torch", "graves", "--bias-correction").stdout)
    assert "graves: The first step is divided by √ε alone" in text
    assert "torch: The first step" not in text


def test_explain_in_json():
    found = json.loads(run("explain", "keras", "--lr", "0.1", "--json").stdout)
    assert Rule(**found["rule"]) == DIALECTS["keras"].rule
    assert found["formulas"][-1] == "θ ← θ − 0.1·g / √(v + 1e-7)"
    assert found["memory"]["half_life"] == half_life(0.9)
    assert found["first_steps"][0]["sizes"]["1"] == pytest.approx(10**0.5, rel=1e-6)
    assert (found["lr"], found["default_lr"]) == (0.1, 1e-3)
    assert set(found["calls"]) == {"torch", "numpy", "jax", "keras"}
    endless = json.loads(run("explain", "torch", "--momentum", "1", "--decay", "1", "--json").stdout)
    assert endless["first_steps"][0]["final"] is None
    assert endless["memory"] is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--decay", 0.5), {"decay": 0.5}),
        (("--eps", 0.25), {"eps": 0.25}),
        (("--eps-inside-sqrt",), {"eps_inside_sqrt": True}),
        (("--momentum", 0.5, "--eps-outside-sqrt"), {"momentum": 0.5, "eps_inside_sqrt": False}),
        (("--initial-square-avg", 2), {"initial_square_avg": 2.0}),
        (("--centered",), {"centered": True}),
        (("--no-centered",), {"centered": False}),
        (("--momentum", 0.5, "--nesterov"), {"momentum": 0.5, "nesterov": True}),
        (("--no-nesterov",), {"nesterov": False}),
        (("--lr-in-momentum",), {"lr_in_momentum": True}),
        (("--lr-outside-momentum",), {"lr_in_momentum": False}),
        (("--bias-correction",), {"bias_correction": True}),
        (("--no-bias-correction",), {"bias_correction": False}),
        (("--weight-decay", 0.5), {"weight_decay": 0.5}),
        (("--weight-decay-mode", "decoupled"), {"weight_decay_mode": "decoupled"}),
    ],
    ids=str,
)
@pytest.mark.parametrize("dialect", ["graves", "keras_legacy"])
def test_an_option_wins_over_the_default(dialect, options, expected):
    found = json.loads(run("explain", dialect, *options, "--json").stdout)
    assert Rule(**found["rule"]) == DIALECTS[dialect].rule_with(**expected)


def test_there_is_an_option_for_every_field():
    names = {option.name for option in rule_options(lambda: None).__click_params__}
    assert names == {field.name for field in fields(Rule)}


def test_diff_in_words_and_numbers():
    text = run("diff", "torch", "keras").stdout
    assert "epsilon            torch: 1e-8 outside the root, keras: 1e-7 inside the root" in text
    assert "Where v is near 0, torch divides by 1e-8 and keras by √1e-7 = 0.000316" in squeezed(text)
    assert "parts at step 1:" in text
    assert "*1 0.499999993 0.158113881" in squeezed(text)


def test_diff_with_options_compares_the_rest():
    found = json.loads(run("diff", "tensorflow1", "sb3", "--momentum", 0.9, "--decay", 0.9, "--json").stdout)
    assert [difference["choice"] for difference in found["differences"]] == ["epsilon", "lr and the buffer"]
    assert not found["same"]
    assert found["small_run"]["parts_at_step"] == 41
    assert {"step", "theta", "loss"} == set(found["small_run"]["rows"][0])


def test_diff_of_what_is_the_same_says_so():
    assert run("diff", "torch", "chainer").stdout == "torch and chainer are the same rule at these settings.\n"
    text = run("diff", "tensorflow1", "timm", "--eps", 1e-3, "--lr-outside-momentum").stdout
    assert text == "tensorflow1 and timm are the same rule at these settings.\n"
    text = run("diff", "keras", "optax", "--eps", 1e-7).stdout
    assert text.startswith("keras and optax compute the same update at these settings.\nweight decay")
    assert json.loads(run("diff", "torch", "chainer", "--json").stdout)["same"]


def test_a_difference_that_only_small_gradients_show_is_found():
    assert "every gradient × 0.0001" in squeezed(run("diff", "torch", "keras", "--decay", 0.9).stdout)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_in_full(name):
    text, recipe = squeezed(run("recipes", name).stdout), RECIPES[name]
    for part in (recipe.dialect, recipe.schedule, recipe.around, recipe.source, *recipe_calls(name).values()):
        assert squeezed(part) in text
    found = json.loads(run("recipes", name, "--json").stdout)[name]
    assert found["rule"] == asdict(recipe.rule)
    assert found["lr"] == recipe.lr


def test_the_list_of_recipes_has_them_all():
    text = run("recipes").stdout
    assert [name for name in RECIPES if name not in text] == []
    assert list(json.loads(run("recipes", "--json").stdout)) == list(RECIPES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("explain", "tf"), "Unknown dialect 'tf' (known: chainer, d2l, dqn, "),
        (("diff", "torch", "tf"), "Unknown dialect 'tf' (known: chainer, d2l, dqn, "),
        (("recipes", "resnet"), "Unknown recipe 'resnet' (known: "),
        (("explain", "torch", "--decay", "2"), "Invalid --decay: 2.0 (allowed: a number from 0 to 1)"),
        (("explain", "torch", "--eps", "nan"), "Invalid --eps: nan (allowed: a finite number >= 0)"),
        (("explain", "torch", "--lr", "inf"), "Invalid --lr: inf (allowed: a finite number >= 0)"),
        (("diff", "torch", "keras", "--lr", "-1"), "Invalid --lr: -1.0 (allowed: a finite number >= 0)"),
        (("explain", "torch", "--nesterov"), "--nesterov needs a momentum"),
        (("diff", "torch", "keras", "--bias-correction", "--decay", "1"), "--bias-correction needs a --decay below 1"),
        (("explain", "torch", "--eps", "small"), "Invalid value for '--eps': 'small' is not a valid float."),
        (("explain", "torch", "--weight-decay-mode", "l1"), "Invalid value for '--weight-decay-mode': 'l1' is not"),
        (("explain",), "there is nothing to explain: name a dialect, such as torch"),
        (("explain", "torch", "--json", "--latex"), "--json and --latex each print nothing else"),
        (("explain", "--latex", "--html", "x.html"), "--latex is for one dialect, and --html is for all"),
        (("explain", "--latex"), "there is nothing to explain: name a dialect"),
        (("diff", "torch"), "Missing argument 'SECOND'."),
    ],
    ids=str,
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, message):
    result = run(*arguments, code=2)
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: {message}")
    assert result.stderr.count("\n") == 1


FRAMEWORKS = {"torch", "jax", "keras", "matplotlib", "polars", "sklearn", "scipy"}


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (("--help",), FRAMEWORKS | {"numpy", "rich"}),
        (("explain", "--help"), FRAMEWORKS | {"numpy", "rich"}),
        (("dialects",), FRAMEWORKS),
        (("explain", "torch"), FRAMEWORKS),
        (("explain", "torch", "--latex"), FRAMEWORKS | {"rich"}),
        (("diff", "torch", "keras"), FRAMEWORKS),
        (("recipes",), FRAMEWORKS),
    ],
    ids=str,
)
def test_they_start_at_once_because_they_import_little(arguments, heavy):
    code = (
        "import sys; from rmsprop.cli.group import rmsprop\n"
        "try: rmsprop(sys.argv[1:])\n"
        "finally: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    imported = {name.partition(".")[0] for name in done.stderr.split()}
    assert "click" in imported
    assert not imported & heavy


def test_a_pipe_in_ascii_gets_all_of_it():
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*COMMAND, "explain", "torch"], capture_output=True, text=True, env=ascii_only)
    assert done.returncode == 0, done.stderr
    assert r"\u2190" in done.stdout


def test_json_to_a_closed_output():
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" "$@" >&-', *COMMAND, "explain", "torch", "--json"], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "page", [("explain", "torch"), ("diff", "torch", "keras"), ("dialects",), ("recipes",)], ids=str
)
def test_a_narrow_terminal_cuts_no_number(page, monkeypatch):
    monkeypatch.setattr(Console, "is_terminal", True)
    monkeypatch.setenv("COLUMNS", "40")
    assert "…" not in run(*page).stdout


def test_diff_says_when_a_run_is_lost():
    text = run("diff", "torch", "keras", "--weight-decay", "1e308").stdout
    assert "\nkeras diverged: by step 2 its run has left the finite numbers.\n" in text
    assert "torch diverged" not in text
    assert "diverged" not in run("diff", "torch", "keras").stdout


def test_what_a_rule_becomes_at_another_batch_size():
    text = squeezed(run("scale", "--from", "256", "--to", "1024", "--decay", "0.9", "--tokens", "2").stdout)
    assert "κ = 4" in text
    assert "lr 0.01 0.02 lr·√κ" in text
    assert "decay 0.9 0.6561 ρ^κ" in text
    assert "half-life of decay: 1,684 samples, 3,368 tokens, which are 6.579 steps, and then 1.645" in text
    single = squeezed(run("scale", "--from", "1024", "--to", "4", "--decay", "0.5").stdout)
    assert "half-life of decay: 1,024 samples, which are 1 step, and then 256" in single
    assert "RMSprop(params, lr=0.02, alpha=0.6561, eps=5e-9)" in text
    assert "mostly noise" in text
    content = json.loads(run("scale", "--from", "4096", "--to", "256", "--recipe", "efficientnet", "--json").stdout)
    assert (content["dialect"], content["factor"]) == ("tensorflow1", 1 / 16)
    assert {row["setting"]: row["after"] for row in content["settings"]}["initial_square_avg"] == 16.0
    assert any("16 times as many" in remark for remark in content["remarks"])
    far = squeezed(run("scale", "--from", "1", "--to", "1000").stdout)
    assert "half of the memory is the last batch" in far


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--from", "0", "--to", "4"), "Invalid value for '--from': 0 is not in the range x>=1."),
        (("--to", "4"), "Missing option '--from'."),
        (("--from", "2", "--to", "4", "--recipe", "dqn", "--dialect", "torch"), "leave out --dialect"),
        (("--from", "2", "--to", "4", "--recipe", "dnq"), "Unknown recipe 'dnq'"),
        (("--from", "2", "--to", "4", "--lr", "nan"), "Invalid --lr: nan"),
        (("--from", "2", "--to", "4", "--dialect", "optax"), "optax has no default learning rate: give the one for"),
        (
            ("--from", "1" + 20 * "0", "--to", "1", "--bias-correction"),
            "is too far: Invalid factor: 1e-20 makes decay=0.99 round to 1",
        ),
        (("--from", "1" + 20 * "0", "--to", "1"), "is too far: Invalid factor: 1e-20 makes decay=0.99 round to 1"),
    ],
)
def test_what_can_not_be_scaled(arguments, error):
    assert error in squeezed(run("scale", *arguments, code=2).stderr)
