"""How a table's rows are split, and a table of its own to test on."""

import json

import numpy as np
import polars as pl
import pytest

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems import load
from rmsprop.lab.problems.table.datasets import from_file, prepare
from rmsprop.lab.problems.table.options import TableOptions

ROWS = 100


def frame(rows=ROWS, **columns):
    """A table whose x is the number of the row, in an order of its own."""
    order = np.random.default_rng(0).permutation(rows)
    x = np.arange(rows, dtype=float)
    days = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 12, 31), eager=True)[:rows].cast(pl.String)
    table = pl.DataFrame({"x": x, "when": days, "who": [f"g{row % 10}" for row in range(rows)], "y": 3 * x + 0.5})
    return table.with_columns(**columns)[order.tolist()]


def split(table, how, drop=(), target="y", **options):
    return prepare("t", table, target, None, drop=drop, options=TableOptions(split=how, **options))


def rows_of(data):
    """The numbers of the rows in each part."""
    number = next(row for row in data.preparation if row["column"] == "x")
    place = data.inputs.index("x")
    parts = (data.train, data.validation, data.test)
    return [set((part.x[:, place] * number["scale"] + number["mean"]).round().astype(int).tolist()) for part in parts]


IN_TIME = [set(range(60)), set(range(60, 80)), set(range(80, 100))]


@pytest.mark.parametrize(
    ("how", "columns", "drop"),
    [
        ("time", {}, ()),
        ("time:when", {}, ()),
        ("time:when", {}, ("when",)),
        ("time:x", {}, ()),
        ("time:other", {"other": pl.col("when")}, ("when",)),
        ("time", {"when": pl.col("when").str.to_date()}, ()),
        ("time", {"when": pl.col("when").str.to_date().cast(pl.Datetime)}, ()),
        ("time", {"when": pl.col("when").str.to_date().dt.strftime("%d.%m.%Y")}, ()),
        ("time: when ", {}, ()),
    ],
)
def test_by_time_the_last_rows_test_and_those_before_validate(how, columns, drop):
    data = split(frame(**columns), how, drop)
    assert rows_of(data) == IN_TIME
    assert any(note.startswith("split by time, as ") and "the first 60 rows (to " in note for note in data.notes)


def test_without_dates_time_is_the_order_of_the_rows():
    table = frame().sort("x").drop("when")
    data = split(table, "time")
    assert rows_of(data) == IN_TIME
    assert any("split by the order of the rows, as no column holds dates" in note for note in data.notes)


def test_rows_of_one_time_on_both_sides_are_told():
    days = pl.lit("2024-01-01")
    assert any("on both sides of a cut" in note for note in split(frame(when=days), "time:when").notes)
    assert not any("on both sides of a cut" in note for note in split(frame(), "time").notes)


@pytest.mark.parametrize(
    "who", [pl.col("who"), pl.col("who").str.tail(1).cast(pl.Float64), pl.col("who").cast(pl.Categorical)]
)
def test_rows_of_a_group_are_on_one_side(who):
    data = split(frame(who=who), "group:who")
    parts = rows_of(data)
    groups = [{row % 10 for row in part} for part in parts]
    assert [len(part) for part in groups] == [6, 2, 2]
    assert set.union(*groups) == set(range(10))
    assert sum(map(len, parts)) == ROWS
    assert rows_of(split(frame(who=who), "group:who")) == parts


def test_the_group_is_an_input_only_when_it_is_to_be():
    assert not any("who" in name for name in split(frame(), "group:who").inputs)
    assert not any("who" in name for name in split(frame(), "group:who", drop=("who",)).inputs)
    assert "who=g0" in split(frame(), "random").inputs
    assert any("who=" in name for name in split(frame(), "group:who", group_input=True).inputs)


def test_at_random_is_what_is_done_without_a_word():
    assert rows_of(split(frame(), "random")) == rows_of(split(frame(), None))


@pytest.mark.parametrize(
    ("how", "columns", "message"),
    [
        ("time", {"then": pl.col("when")}, "--split time: 'when', 'then' hold dates: say which one"),
        ("time:who", {}, "--split time:who: 'who' holds no dates and no numbers"),
        ("time:whem", {}, "the table has no column 'whem': did you mean 'when'?"),
        ("time:y", {}, "--split time:y: 'y' is the target"),
        ("group:y", {}, "--split group:y: 'y' is the target"),
        ("group:zzz", {}, "the table has no column 'zzz': it has x, when, who"),
        ("group:who", {"who": pl.lit("one")}, "'who' has 1 group, and a split into 3 parts needs 3"),
        ("group:who", {"who": pl.col("x") % 2}, "'who' has 2 groups, and a split into 3 parts needs 3"),
        (
            "group:who",
            {"who": pl.when(pl.col("x") < 2).then(pl.col("x")).otherwise(9)},
            "--split group:who leaves 1 row",
        ),
        ("group:who", {"who": pl.when(pl.col("x") != 5).then("who")}, "'who' is missing in row"),
        ("group:who", {"who": pl.when(pl.col("x") != 5).then("x").otherwise(float("nan"))}, "'who' is missing in row"),
        ("time:when", {"when": pl.when(pl.col("x") != 5).then("when")}, "'when' is missing in row"),
        (
            "time",
            {"y": pl.when(pl.col("x") < 80).then(pl.lit("a")).otherwise(pl.lit("b"))},
            "no training row has the class 'b'",
        ),
        (
            "time",
            {"y": pl.when(pl.col("x") < 80).then(0.5).otherwise(pl.col("x"))},
            "is always the same in the training rows",
        ),
        ("zigzag", {}, "--split is 'zigzag': give random, time, time:COLUMN or group:COLUMN"),
        ("", {}, "--split is ''"),
        ("group", {}, "--split group needs a column"),
        ("group:", {}, "--split is 'group:': give random"),
        ("time:", {}, "--split is 'time:': give random"),
        ("random:x", {}, "--split random:x takes no column"),
    ],
)
def test_what_cannot_be_split_is_one_line(how, columns, message):
    with pytest.raises(InputError) as caught:
        split(frame(**columns), how)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_class_that_no_row_of_a_part_has_is_told():
    table = frame(y=pl.when(pl.col("x") % 2 + (pl.col("x") >= 60) == 1).then(pl.lit("a")).otherwise(pl.lit("b")))
    table = table.with_columns(y=pl.when(pl.col("x") >= 80).then(pl.lit("a")).otherwise("y"))
    assert "y: no test row has the class 'b'" in split(table, "time").notes


def test_rows_without_a_target_and_their_lines(tmp_path):
    table = frame().sort("x").with_columns(y=pl.when(pl.col("x") >= 10).then("y"))
    assert [len(part) for part in rows_of(split(table, "time"))] == [54, 18, 18]
    table.with_columns(who=pl.when(pl.col("x") != 50).then("who")).write_csv(tmp_path / "t.csv")
    with pytest.raises(InputError, match="'who' is missing in line 52"):
        from_file(tmp_path / "t.csv", "y", options=TableOptions(split="group:who"))


def churn(rows=60, start=0):
    words = ["Rome", "Oslo", None]
    numbers = range(start, start + rows)
    return pl.DataFrame(
        {
            "id": [f"c{n}" for n in numbers],
            "city": [words[n % 3] for n in numbers],
            "age": [20 + n % 30 for n in numbers],
            "price": [f"{n}.5" for n in numbers],
            "churn": ["no" if n % 2 else "yes" for n in numbers],
        }
    )


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    churn().write_csv("t.csv")
    churn(20, 60).write_csv("new.csv")
    return tmp_path


def test_a_table_of_its_own_is_tested_on_and_the_other_one_is_for_the_rest(files):
    data = load("t.csv", target="churn", test="new.csv").dataset
    assert [len(part.y) for part in (data.train, data.validation, data.test)] == [48, 12, 20]
    assert data.test.y.tolist() == [1 - n % 2 for n in range(60, 80)]
    age = next(row for row in data.preparation if row["column"] == "age")
    expected = [(20 + n % 30 - age["mean"]) / age["scale"] for n in range(60, 80)]
    np.testing.assert_allclose(data.test.x[:, data.inputs.index("age")], expected, rtol=1e-6)
    assert json.dumps(data.facts())
    told = [note for note in data.notes if note.startswith("--test new.csv: ")]
    assert told[0] == "--test new.csv: its 20 rows are what is tested on"
    assert any("city: 6 missing, imputed with " in note for note in told)
    assert not any("not used" in note for note in told)


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (lambda table: table.write_csv("o.tsv", separator="\t"), "o.tsv"),
        (lambda table: table.cast({"price": pl.Float64}).write_parquet("o.parquet"), "o.parquet"),
        (lambda table: table.select(reversed(table.columns)).write_csv("o.csv", separator=";"), "o.csv"),
        (lambda table: table.with_columns(more=1).write_csv("o.csv"), "o.csv"),
        (lambda table: table.vstack(table[:3].with_columns(churn=pl.lit(None, pl.String))).write_csv("o.csv"), "o.csv"),
    ],
)
@pytest.mark.parametrize("target", ["churn", "price"])
def test_the_other_table_may_be_another_kind_of_file(files, write, name, target):
    write(churn(20, 60))
    whole = load("t.csv", target=target, test="new.csv").dataset
    data = load("t.csv", target=target, test=name).dataset
    np.testing.assert_array_equal(data.test.y[:20], whole.test.y)
    np.testing.assert_array_equal(data.test.x[:20], whole.test.x)


def change(**columns):
    return lambda: churn(20, 60).with_columns(**columns).write_csv("o.csv")


@pytest.mark.parametrize(
    ("write", "options", "message"),
    [
        (change(churn=pl.lit("maybe")), {}, "--test o.csv: line 2 has the class 'maybe'"),
        (change(churn=pl.lit("")), {}, "--test o.csv: no row has a 'churn': give a table with the target"),
        (change(age=pl.lit("old")), {}, "--test o.csv: column 'age' was numeric in training, and line 2 holds 'old'"),
        (lambda: churn(20).drop("age").write_csv("o.csv"), {}, "--test o.csv: the table lacks 'age'"),
        (lambda: churn(20).drop("churn").write_csv("o.csv"), {}, "o.csv has no column 'churn'"),
        (lambda: churn(0).write_csv("o.csv"), {}, "o.csv has a header but no rows"),
        (change(age=pl.lit("w" * 5000)), {}, f"line 2 holds '{'w' * 37}...': write it in the same way"),
        (
            change(age=pl.lit("1" + "0" * 400)),
            {},
            f"column 'age' holds 1{'0' * 29}... in line 2: values must be finite",
        ),
        (change(age=pl.lit("1e39")), {}, "column 'age' holds 1e39 in line 2: values must be within"),
        (lambda: None, {}, "there is no file o.csv"),
        (lambda: None, {"test": ""}, "--test is '': give the path of a table, or leave it out"),
        (lambda: None, {"test": "t.csv"}, "--test t.csv is the table that is trained on: give another one"),
        (lambda: churn(9).write_csv("t.csv"), {"test": "new.csv"}, "and an 80/20 split needs at least 10"),
    ],
)
def test_a_table_that_cannot_be_tested_on_is_one_line(files, write, options, message):
    write()
    with pytest.raises(InputError) as caught:
        load("t.csv", **({"target": "churn", "test": "o.csv"} | options))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_left_is_split_as_it_is_said_and_shared_groups_are_told(files):
    churn(60).with_columns(who=pl.int_range(60) % 10).write_csv("t.csv")
    churn(20).with_columns(who=pl.int_range(20) % 2 * 9 + 5).write_csv("new.csv")
    data = load("t.csv", target="churn", split="group:who", test="new.csv").dataset
    assert [len(part.y) for part in (data.train, data.validation, data.test)] == [48, 12, 20]
    assert "--test new.csv: 1 of its groups in 'who' are in the other table too" in data.notes
    data = load("t.csv", target="age", split="time:who", test="new.csv", task="regression").dataset
    assert any(
        "the first 48 rows (to 7) are trained on, the next 12 rows (to 9) validate" in note for note in data.notes
    )


@pytest.mark.parametrize("given", [{"split": "time"}, {"test": "new.csv"}, {"group_input": True}])
@pytest.mark.parametrize("problem", ["wine", "bowl", "own:f"])
def test_it_is_for_a_table(problem, given):
    with pytest.raises(InputError, match=f"--{next(iter(given)).replace('_', '-')} is for a table"):
        load(problem, **given)
