import json
import math

import pytest

from rmsprop.lab.errors import InputError
from rmsprop.lab.options import option
from rmsprop.lab.problems.defaults import PROBLEMS
from rmsprop.lab.train.earlier import earlier_settings
from rmsprop.lab.train.folder import write_config
from rmsprop.lab.train.settings import FIELDS, Settings, resolve, resume


@pytest.mark.parametrize("problem", [*PROBLEMS, "table.csv"])
def test_defaults_are_valid_and_survive_json(problem):
    settings = resolve({"problem": problem})
    assert Settings.from_dict(json.loads(json.dumps(settings.as_dict()))) == settings


@pytest.mark.parametrize(
    ("given", "name", "expected"),
    [
        ({"dialect": "keras"}, "decay", 0.9),
        ({"dialect": "keras"}, "eps", 1e-7),
        ({"dialect": "keras", "eps": 1e-3}, "eps", 1e-3),
        ({"dialect": "keras"}, "lr", PROBLEMS["digits"].lr),
        ({"model": "softmax"}, "hidden", ()),
        ({"hidden": (8, 4)}, "hidden", (8, 4)),
        ({"schedule": "step"}, "step_size", 10),
        ({"schedule": "step", "epochs": 31}, "step_size", 11),
        ({"schedule": "step", "gamma": 0.5}, "gamma", 0.5),
        ({"schedule": "exponential", "epochs": 2}, "gamma", 0.1),
        ({"schedule": "cosine"}, "gamma", None),
        ({"momentum": None}, "momentum", 0.0),
        ({"dialect": "tensorflow1"}, "initial_square_avg", 1.0),
        ({"dialect": "keras_legacy", "momentum": 0.9}, "eps_inside_sqrt", True),
        ({"dialect": "keras"}, "weight_decay_mode", "decoupled"),
        ({"nesterov": True, "momentum": 0.9}, "nesterov", True),
    ],
)
def test_what_is_given_wins_over_the_defaults(given, name, expected):
    assert resolve({"problem": "digits", **given}).as_dict()[name] == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lr": 0.0}, "--lr is 0.0: it must be a finite number above 0"),
        ({"lr": math.nan}, "--lr is nan"),
        ({"lr": math.inf}, "--lr is inf"),
        ({"decay": 1.5}, "1.5"),
        ({"eps": math.nan}, "--eps: "),
        ({"momentum": -0.1}, "momentum"),
        ({"weight_decay": -1.0}, "--weight-decay: "),
        ({"dialect": "caffe3"}, "Unknown dialect 'caffe3'"),
        ({"epochs": 0}, "--epochs is 0"),
        ({"batch_size": 0}, "--batch-size is 0"),
        ({"batch_size": 10**20}, "it must be a whole number from 1 to 1000000000"),
        ({"hidden": (0,)}, "--hidden is 0"),
        ({"hidden": (4,) * 21}, "it must be at most 20 widths"),
        ({"hidden": ()}, "needs at least one hidden layer"),
        ({"model": "softmax", "hidden": (3,)}, "--hidden is for --model mlp"),
        ({"model": "forest"}, "--model is 'forest': choose one of linear"),
        ({"schedule": "zigzag"}, "--schedule is 'zigzag'"),
        ({"task": "ranking"}, "--task is 'ranking': choose one of regression, classification"),
        ({"warmup": 30.0}, "--warmup 30 must be shorter than --epochs 30"),
        ({"warmup": math.nan}, "--warmup is nan"),
        ({"gamma": 0.5}, "--gamma is for --schedule step"),
        ({"schedule": "step", "gamma": 1.0}, "--gamma is 1.0"),
        ({"step_size": 3}, "--step-size is for --schedule step"),
        ({"schedule": "step", "step_size": 0}, "--step-size is 0"),
        ({"seed": -1}, "--seed is -1"),
    ],
)
def test_a_bad_value_is_one_line_that_names_it(given, message):
    with pytest.raises(InputError) as caught:
        resolve({"problem": "digits", **given})
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_resuming_keeps_the_settings_and_refuses_others():
    kept = resolve({"problem": "digits", "lr": 0.01, "schedule": "step"})
    assert resume(kept, {"problem": "digits", "lr": None, "hidden": (64,)}) == kept
    with pytest.raises(InputError, match=r"--lr is 0\.1 here and 0\.01 in the run"):
        resume(kept, {"lr": 0.1})
    with pytest.raises(InputError, match="--centered is on here and off in the run"):
        resume(kept, {"centered": True})


def test_a_run_is_made_longer_unless_its_schedule_is_drawn_over_the_epochs():
    longer = resume(resolve({"problem": "digits", "schedule": "step"}), {"epochs": 60})
    assert (longer.epochs, longer.step_size) == (60, 10)
    with pytest.raises(InputError, match="cosine schedule is drawn over the epochs"):
        resume(resolve({"problem": "digits"}), {"epochs": 60})


def test_settings_of_another_version_are_refused():
    values = resolve({"problem": "digits"}).as_dict()
    with pytest.raises(InputError, match="another version"):
        Settings.from_dict(values | {"colour": "blue"})


OF_ANOTHER_TYPE = [(name, wrong) for name in FIELDS for wrong in ({}, [[]], [{}], 10**400, -(10**400))]
OF_ANOTHER_TYPE += [
    ("epochs", "six"),
    ("epochs", True),
    ("epochs", 2.5),
    ("lr", "0.1"),
    ("hidden", ["8"]),
    ("keep", 1),
    ("centered", 1),
]


@pytest.mark.parametrize(("name", "wrong"), OF_ANOTHER_TYPE)
def test_a_setting_of_another_type_in_a_file_is_one_line(tmp_path, name, wrong):
    settings = json.loads(json.dumps(resolve({"problem": "digits"}).as_dict())) | {name: wrong}
    with pytest.raises(InputError) as caught:
        Settings.from_dict(settings)
    assert f"the settings of the run were changed ({option(name)}): start over" in str(caught.value)
    write_config(tmp_path, {"settings": settings, "data": {}, "versions": {}})
    with pytest.raises(InputError) as caught:
        earlier_settings(tmp_path)
    assert f"was changed ({option(name)} is of another type): give the folder" in str(caught.value)
