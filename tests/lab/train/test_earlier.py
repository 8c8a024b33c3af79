"""The settings of an earlier run, with what is typed over them."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from rmsprop.cli.group import rmsprop
from rmsprop.lab.errors import InputError
from rmsprop.lab.train.earlier import earlier_settings, over_earlier
from rmsprop.lab.train.settings import resolve

OPTIONS = {
    "problem": "t.csv",
    "target": "y",
    "drop": ("z",),
    "na": ("-9",),
    "split": "group:who",
    "hidden": (5, 4),
    "lr": 0.02,
    "dialect": "keras",
    "momentum": 0.5,
    "centered": True,
    "schedule": "step",
    "epochs": 6,
    "batch_size": 16,
    "warmup": 1.0,
    "seed": 3,
    "keep": "last",
    "early_stop": 4,
}
EARLIER = resolve(OPTIONS).as_dict()


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"lr": 0.5},
        {"dialect": "torch"},
        {"dialect": "tensorflow1", "momentum": 0.9},
        {"schedule": "cosine"},
        {"schedule": "exponential", "epochs": 9},
        {"epochs": 12},
        {"model": "linear"},
        {"drop": ("who", "x")},
        {"keep": "best"},
        {"centered": False},
        {"problem": "other.csv"},
    ],
)
def test_what_is_typed_wins_and_what_it_decides_is_filled_in_anew(given):
    gone = {"hidden"} if given.get("model") == "linear" else set()
    expected = {name: value for name, value in OPTIONS.items() if name not in gone} | given
    typed = {"problem": "t.csv", "lr": None, "target": None} | given
    assert resolve(over_earlier(typed, EARLIER)) == resolve(expected)


@pytest.mark.parametrize("problem", ["digits", "bowl", "own:problem"])
def test_a_problem_of_another_kind_has_its_own_model_and_no_table(problem):
    kept = ("lr", "dialect", "momentum", "centered", "schedule", "epochs", "batch_size", "warmup", "seed", "keep")
    expected = {name: OPTIONS[name] for name in (*kept, "early_stop")} | {"problem": problem, "weight_decay": 1e-3}
    assert resolve(over_earlier({"problem": problem}, EARLIER)) == resolve(expected)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=60)
    pl.DataFrame({"x": x, "who": [f"g{n % 10}" for n in range(60)], "y": 2 * x + 1}).write_csv("t.csv")

    def train(*words, code=0):
        result = CliRunner().invoke(rmsprop, ["train", *map(str, words)])
        assert result.exit_code == code, result.output
        return result.stderr

    return train


def settings(folder):
    return json.loads(Path(folder, "config.json").read_text())["settings"]


FIRST = [
    "t.csv",
    "--target",
    "y",
    "--split",
    "group:who",
    "--lr",
    ".02",
    "--hidden",
    "3",
    "--epochs",
    "3",
    "--out",
    "a",
]


def test_a_run_is_made_again_without_naming_the_problem(run):
    run(*FIRST)
    run("--config", "a", "--out", "b")
    run("--config", "a/config.json", "--out", "c", "--lr", "0.05", "--no-centered")
    assert settings("b") == settings("a")
    assert Path("b/history.csv").read_bytes() == Path("a/history.csv").read_bytes()
    assert settings("c") == settings("a") | {"lr": 0.05}
    run("wine", "--config", "a", "--out", "d")
    assert (settings("d")["problem"], settings("d")["target"], settings("d")["lr"]) == ("wine", None, 0.02)
    run("--config", "a", "--out", "a", "--force", "--epochs", 2)
    assert settings("a")["epochs"] == 2


def spoiled(change):
    """A config.json of a run, changed."""

    def write():
        config = json.loads(Path("a/config.json").read_text())
        Path("a/config.json").write_text(change(config))

    return write


BAD = {
    "nothing there": ("nowhere", None, "--config nowhere: there is no such file: give the folder of a run"),
    "another folder": (".", None, "--config .: the folder holds no config.json: give the folder of a run"),
    "a table": ("t.csv", None, "--config: t.csv is damaged or was changed: give the folder of a run"),
    "half": ("a", spoiled(lambda config: json.dumps(config)[:99]), "a/config.json is damaged or was changed"),
    "a list": ("a", spoiled(lambda _: "[]"), "a/config.json is damaged or was changed"),
    "a number": ("a", spoiled(lambda _: "7"), "a/config.json is damaged or was changed"),
    "another's": ("a", spoiled(lambda _: '{"architectures": ["Bert"]}'), "a/config.json is damaged or was changed"),
    "a changed number": (
        "a",
        spoiled(lambda config: json.dumps(config | {"settings": config["settings"] | {"lr": 0.3}})),
        "a/config.json is damaged or was changed",
    ),
}


@pytest.mark.parametrize(("path", "prepare", "message"), BAD.values(), ids=BAD)
def test_what_is_no_config_of_a_run_is_one_line(run, path, prepare, message):
    run(*FIRST)
    if prepare:
        prepare()
    said = run("--config", path, "--out", "b", code=2)
    assert message in said
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert not Path("b").exists()


def test_it_is_not_for_a_run_that_is_resumed(run):
    run(*FIRST)
    assert "leave out --config" in run("--config", "a", "--out", "a", "--resume", code=2)


def test_settings_of_a_newer_version_are_refused_and_those_of_an_older_one_filled_in(tmp_path):
    from rmsprop.lab.train.folder import write_config

    older = {name: value for name, value in EARLIER.items() if name not in ("keep", "early_stop", "split")}
    write_config(tmp_path, {"settings": older, "data": {}, "versions": {}})
    assert resolve(over_earlier({"problem": "t.csv"}, earlier_settings(tmp_path))).keep is None
    write_config(tmp_path, {"settings": EARLIER | {"glow_up": 3}, "data": {}, "versions": {}})
    with pytest.raises(InputError, match="has --glow-up, which this version of rmsprop doesn't know"):
        earlier_settings(tmp_path)
