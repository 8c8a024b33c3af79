from pathlib import Path

import pytest

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems import load
from rmsprop.lab.problems.defaults import PROBLEMS, is_function, row_of, short_name


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_problem_is_named_and_told_about_as_in_the_table(name):
    problem, row = load(name), PROBLEMS[name]
    assert (problem.name, problem.about) == (name, row.about)
    assert (problem.epochs, problem.batch_size) == (row.epochs, row.batch_size)
    assert (problem.dataset is not None) == (row.model is not None or name == "digits-cnn")


def test_a_table_has_the_defaults_of_tables(table):
    problem = load(str(table), target="churn", drop=["price"])
    assert (problem.name, problem.epochs) == ("customers", row_of(str(table)).epochs)
    assert problem.model(0).hidden1.out_features == 64
    assert "price" not in problem.dataset.inputs
    assert not hasattr(load(str(table), target="churn", model="logistic").model(0), "hidden1")
    assert load(str(table), target="churn", hidden=(3, 2)).model(0).hidden2.out_features == 2


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("digits", {"model": "linear"}, "--model linear is for numbers, and 'digit' has 10 classes: use soft"),
        ("digits", {"model": "logistic"}, "--model logistic is for two classes"),
        ("diabetes", {"model": "softmax"}, "--model softmax is for classes"),
        ("digits", {"hidden": (60_000, 60_000)}, "makes a model of 3,6"),
        ("digits", {"target": "digit"}, "--target is for a table of your own; digits is built in and needs none"),
        ("digits", {"task": "regression"}, "--task is for a table of your own"),
        ("digits", {"drop": ["pixel_0_0"]}, "--drop is for a table of your own"),
        ("bowl", {"model": "mlp"}, "--model is for a table; bowl has a model of its own"),
        ("english", {"hidden": (8,)}, "--hidden is for a table; english has a model of its own"),
        ("my:problem", {"target": "y"}, "--target is for a table; my:problem is a function"),
        ("zebra", {}, "zebra is not a table"),
    ],
)
def test_what_does_not_fit_is_one_line(name, given, message):
    with pytest.raises(InputError) as caught:
        load(name, **given)
    assert message in str(caught.value)


GOOD = """
import dataclasses
from rmsprop.lab.problems import load

def small():
    return dataclasses.replace(load("wine"), name="small", epochs=3, batch_size=7)

class Many:
    wine = staticmethod(small)

made = small()
number = 3

def needs(rows):
    return small()

def fails():
    return 1 / 0

def leaves():
    raise SystemExit("bye")

def gives_data():
    return load("wine").train

def broken():
    return dataclasses.replace(load("wine"), make_model=lambda: None)
"""


@pytest.mark.parametrize("function", ["small", "Many.wine", "made"])
def test_a_function_in_the_current_directory(own, function):
    Path("ownmodule.py").write_text(GOOD)
    problem = load(f"ownmodule:{function}")
    assert (problem.name, problem.epochs, problem.batch_size) == ("small", 3, 7)
    assert short_name(f"ownmodule:{function}") == function


def test_a_function_in_a_package(own):
    Path("ownpackage/deep").mkdir(parents=True)
    Path("ownpackage/deep/wines.py").write_text(GOOD)
    assert load("ownpackage.deep.wines:small").name == "small"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nosuch:f", "nosuch:f: there is no module nosuch, here or installed"),
        ("nosuch.deep:f", "nosuch.deep:f: there is no module nosuch, here or installed"),
        ("own.problem:f", "own.problem:f: there is no module own.problem, here or installed"),
        (":small", "'' is no name of a module: give package.module:function"),
        ("own/problem:small", "'own/problem' is no name of a module: give package.module:function"),
        ("own:", "own has no '': give package.module:function"),
        ("own:smal", "own has no 'smal': did you mean 'small'?"),
        ("own:number", "own:number is of type int: give a function"),
        ("own:needs", "own:needs is called without arguments and raised TypeError: needs() missing 1 required"),
        ("own:fails", "own:fails is called without arguments and raised ZeroDivisionError: division by zero"),
        ("own:leaves", "own:leaves is called without arguments and raised SystemExit: bye"),
        ("own:gives_data", "own:gives_data returned a Data: it must return a rmsprop.lab.problems.Problem"),
        ("own:broken", "problem wine: make_model() returned a NoneType: it must return a torch.nn.Module"),
        ("faulty:f", "faulty:f: importing faulty raised ValueError: no luck"),
        ("needy:f", "needy:f: importing needy raised ModuleNotFoundError: No module named 'nosuch'"),
        ("typo:f", "typo:f: importing typo raised SyntaxError: "),
    ],
)
def test_a_function_that_cannot_be_used_is_one_line(own, name, message):
    Path("own.py").write_text(GOOD)
    Path("faulty.py").write_text("raise ValueError('no luck')")
    Path("needy.py").write_text("import nosuch")
    Path("typo.py").write_text("def f(:")
    with pytest.raises(InputError) as caught:
        load(name)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.b:c", True), ("digits", False), ("C:\\t.csv", False), ("a:b.parquet", False), ("t.csv", False)],
)
def test_a_colon_means_a_function_unless_it_is_in_a_files_name(name, expected):
    assert is_function(name) == expected
