import numpy as np
import polars as pl
import pytest

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.datasets import from_file, prepare

NOT_TRAINED_ON = 7  # a row, of 30 with a number to predict


def frame(y, **columns):
    return pl.DataFrame({"x": np.arange(len(y), dtype=float), **columns, "y": y})


def test_the_split_is_fixed_stratified_and_covers_every_row_once():
    y = ["a"] * 60 + ["b"] * 30 + ["c"] * 10
    data = prepare("t", frame(y), "y", None)
    assert data.classes == ("a", "b", "c")
    counts = [np.bincount(part.y).tolist() for part in (data.train, data.validation, data.test)]
    assert counts == [[36, 18, 6], [12, 6, 2], [12, 6, 2]]
    x = np.concatenate([part.x for part in (data.train, data.validation, data.test)])
    assert len(np.unique(x)) == 100
    np.testing.assert_array_equal(prepare("t", frame(y), "y", None).test.x, data.test.x)


def test_inputs_are_prepared_with_what_the_training_rows_tell():
    random = np.random.default_rng(0)
    y = random.normal(size=200)
    numbers = pl.Series([None if i % 9 == 0 else float(i % 7) for i in range(200)])
    words = pl.Series([None if i % 10 == 0 else "aab"[i % 3] for i in range(200)])
    data = prepare("t", frame(y, n=numbers, w=words), "y", None)
    assert data.inputs == ("x", "n", "w=a", "w=b")
    np.testing.assert_allclose(data.train.x[:, 0].mean(), 0.0, atol=1e-6)
    np.testing.assert_allclose(data.train.x[:, 0].std(), 1.0, rtol=1e-6)
    assert abs(data.test.x[:, 0].mean()) > 1e-3
    np.testing.assert_array_equal(data.train.x[:, 2:].sum(axis=1), 1.0)
    np.testing.assert_allclose([data.train.y.mean(), data.train.y.std()], [0.0, 1.0], atol=1e-6)
    number, other, category = data.preparation
    assert (number["column"], other["missing"], category["missing"]) == ("x", 3.0, "a")
    assert category["categories"] == ["a", "b"]
    assert "n: 23 missing, imputed with the median" in data.notes
    assert "w: 20 missing, imputed with the most frequent one" in data.notes


def test_a_category_that_no_training_row_has_becomes_zeros():
    y = np.arange(100.0) / 7
    encoded = []
    for row in range(100):
        words = ["common"] * 100
        words[row] = "rare"
        data = prepare("t", frame(y, w=words), "y", None)
        encoded.append(len(data.inputs))
        parts = (data.train, data.validation, data.test)
        assert sum((part.x[:, 1:].sum(axis=1) == 0).sum() for part in parts) == (len(data.inputs) == 2)
    assert encoded.count(3) == 60


@pytest.mark.parametrize(
    ("y", "task", "classes"),
    [
        (["no", "yes"] * 10, "classification", ("no", "yes")),
        ([True, False] * 10, "classification", ("False", "True")),
        ([0, 1] * 10, "classification", ("0", "1")),
        ([3.0, 4.0, 5.0] * 10, "classification", ("3", "4", "5")),
        (list(range(20)), "regression", ()),
        ([0.5, 1.5] * 10, "regression", ()),
        ([f"{i / 3}" for i in range(20)], "regression", ()),
    ],
)
def test_the_task_is_inferred_and_said(y, task, classes):
    data = prepare("t", frame(y), "y", None)
    assert (data.task, data.classes) == (task, classes)
    assert any(task in note and "--task" in note for note in data.notes)


def test_the_task_can_be_chosen():
    assert prepare("t", frame([3, 4, 5] * 10), "y", "regression").task == "regression"
    assert prepare("t", frame([True, False] * 10), "y", "regression").task == "regression"
    assert prepare("t", frame([0.5, 1.5] * 10), "y", "classification").classes == ("0.5", "1.5")


def test_rows_without_a_target_are_left_out_and_said():
    data = prepare("t", frame([None, 1.5, float("nan")] + [0.5 * i for i in range(30)]), "y", None)
    assert data.rows == 31
    assert "y: 2 rows without a target left out" in data.notes


def test_rows_are_counted_as_in_the_file_where_targets_are_missing():
    y = [None] * 5 + [0.3 * i for i in range(25)]
    stray = ["zz" if i == 20 else str(i) for i in range(30)]
    with pytest.raises(InputError, match="column 'w' is numeric, but row 21 holds 'zz'"):
        prepare("t", frame(y, w=stray), "y", None)


@pytest.mark.parametrize("column", ["w", "y"])
def test_a_value_too_far_from_the_training_rows_is_one_line(column):
    columns = {name: np.arange(30.0) / 3 for name in ("w", "y")}
    columns[column][NOT_TRAINED_ON] = 1e140
    with pytest.raises(InputError, match=rf"column '{column}' holds a value in row 8 that is over 1e\+12"):
        prepare("t", frame(columns["y"], w=columns["w"]), "y", None)


@pytest.mark.parametrize("value", [1.5, "word"])
def test_a_column_without_values_in_the_training_rows_is_one_line(value):
    y = np.arange(30.0) / 7
    words = [value if row == NOT_TRAINED_ON else None for row in range(30)]
    with pytest.raises(InputError, match="column 'w' has no value in any training row: leave it out with --drop w"):
        prepare("t", frame(y, w=words), "y", None)


def test_constant_columns_are_said():
    assert (
        "k: always the same value, so it tells nothing"
        in prepare("t", frame(np.arange(30.0) / 7, k=["v"] * 30), "y", None).notes
    )


@pytest.mark.parametrize(
    ("y", "task", "message"),
    [
        ([1.5] * 20, None, "the target 'y' is constant (1.5)"),
        ([1] * 20, None, "the target 'y' is constant (1)"),
        (["cat"] * 20, None, "the target 'y' has one class only (cat)"),
        ([float("nan")] * 20, None, "column 'y' has no values at all: choose another --target"),
        ([*"0123456789", "x"], None, "column 'y' is numeric, but row 11 holds 'x'"),
        ([1.0, float("inf")] * 10, None, "column 'y' holds inf in row 2"),
        ([0.1 * i for i in range(9)], None, "rows with a target: 9, and a 60/20/20 split needs at least 10"),
        (["a"] * 20 + ["b"] * 2, None, "class 'b' of the target 'y' has 2 rows"),
        (["a"] * 20 + ["b"], None, "class 'b' of the target 'y' has 1 row:"),
        (["a", "b"] * 10, "regression", "--task regression needs numbers, and the target 'y' holds 'a'"),
        ([0.1 * i for i in range(20)], "classification", "20 classes in 20 rows, too many to learn"),
        (["2024-01-01", "2024-01-02"] * 10, None, "is a date or time"),
    ],
)
def test_a_target_that_cannot_be_learnt_is_one_line(y, task, message):
    with pytest.raises(InputError) as caught:
        prepare("t", frame(y), "y", task)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("drop", "message"),
    [
        (("cty",), "did you mean 'city'?"),
        (("zzz",), "it has age, city, member, since, price, churn"),
        (("churn",), "is the target"),
        (("age", "city", "member", "since", "price"), "no column is left"),
    ],
)
def test_bad_drops_are_one_line(table, drop, message):
    with pytest.raises(InputError) as caught:
        from_file(table, "churn", drop=drop)
    assert message in str(caught.value)


def test_a_persons_table(table):
    data = from_file(table, "churn", drop=("price",))
    assert data.name == "customers"
    assert data.inputs == ("age", "member", "since", "city=New York", "city=Oslo", "city=Rome")
    assert data.notes == (
        "churn: taken for a class, one of 2, so this is classification (--task decides otherwise)",
        "age: 12 missing, imputed with the median",
        "city: 30 missing, imputed with the most frequent one",
        "since: a date or time, read as a number of days",
    )
