import json

import numpy as np
import polars as pl
import pytest

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.table.datasets import from_file, prepare
from rmsprop.lab.problems.table.options import TableOptions

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
        "since: dates, year first (year-month-day: '2024-01-13' is 2024-01-13), read as a number of days",
    )


def answers(rows):
    return ["no", "yes"] * (rows // 2)


SHUFFLED = np.random.RandomState(0).permutation(40)
INDEX = "the index that was saved with the table, so it is left out"
IDENTIFIER = "an identifier, different in every row, so it is left out"


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        *((name, range(40), INDEX) for name in ("Unnamed: 0", "Unnamed: 0.1", "unnamed: 12", "__index_level_0__")),
        ("Unnamed: 0", [*range(20), *range(20)], INDEX),  # two tables, one below the other
        ("level_0", range(40), INDEX),
        *(
            (name, SHUFFLED, INDEX)
            for name in ("index", "Index", "idx", "row", "Row", "row_id", "rownames", "_c0", "#")
        ),
        *((name, SHUFFLED + 1, INDEX) for name in ("No.", "S.No", "Sr. No", "Nr", "obs", "...1", "record")),
        *(
            (name, SHUFFLED * 7, IDENTIFIER)
            for name in ("id", "Id", "ID", "PassengerId", "customer_id", "userid", "pk", "Account Number")
        ),
        *((name, [f"train_{row}" for row in range(40)], IDENTIFIER) for name in ("ID_code", "customer", "comment")),
        ("uuid", [f"{row:032x}" for row in range(40)], IDENTIFIER),
        ("number", [str(10**18 + row) for row in range(40)], IDENTIFIER),
        ("id", [None, *range(1, 40)], IDENTIFIER),
    ],
)
def test_a_column_that_only_names_its_row_is_left_out_and_said(name, values, why):
    values = pl.Series([None if value is None else value if isinstance(value, str) else int(value) for value in values])
    data = prepare("t", frame(answers(40), **{name: values}), "y", None)
    assert data.inputs == ("x",)
    assert f"{name}: {why}" in data.notes


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("income", SHUFFLED * 7),  # all different, and a number
        ("index", SHUFFLED / 3),
        ("id", SHUFFLED // 2),
        ("paid", SHUFFLED),
        ("humid", SHUFFLED),
        ("No.", SHUFFLED * 7),
        ("when", [f"2024-01-{1 + row % 28:02}" for row in range(40)]),
        ("price", [f"${row},000" for row in range(1, 41)]),
    ],
)
def test_a_column_that_may_say_something_is_kept(name, values):
    assert prepare("t", frame(answers(40), **{name: pl.Series(list(values))}), "y", None).inputs == ("x", name)


def test_a_column_that_counts_the_rows_is_kept_and_said():
    data = prepare("t", frame(answers(40)), "y", None)
    assert data.inputs == ("x",)
    assert "x: counts the rows; if it only numbers them, leave it out with --drop x" in data.notes


@pytest.mark.parametrize("form", ["~{}", "{}/2024", "{}. Januar 2024", "{} - {}"])
def test_words_that_may_be_dates_or_amounts_are_no_identifiers(form):
    words = [form.format(row, row) for row in range(1, 41)]
    with pytest.raises(InputError, match="column 'w' has 40 categories in 40 rows, too many"):
        prepare("t", frame(answers(40), w=words), "y", None)
    assert f"w_id: {IDENTIFIER}" in prepare("t", frame(answers(40), w_id=words), "y", None).notes


def test_a_table_of_identifiers_is_one_line():
    with pytest.raises(InputError, match=r"no column is left to predict 'y' from \(id: an identifier, .*\): leave out"):
        prepare("t", pl.DataFrame({"id": range(40), "y": answers(40)}), "y", None)


def test_digits_of_large_whole_numbers_are_those_of_the_classes():
    y = [10**18 + row % 3 for row in range(30)]
    data = prepare("t", frame(y), "y", None)
    assert data.classes == tuple(str(10**18 + digit) for digit in range(3))
    assert json.loads(json.dumps(data.facts()))["classes"] == list(data.classes)
    assert prepare("t", frame([1e6, 2e6, 1234567.0] * 10), "y", None).classes == ("1000000", "1234567", "2000000")


def test_a_target_of_large_whole_numbers_is_refused_with_its_digits():
    with pytest.raises(
        InputError, match=r"has 40 classes in 40 rows, too many to learn \(such as 1234567890123456000\)"
    ):
        prepare("t", frame([1234567890123456000 + row for row in range(40)]), "y", None)


def test_counts_are_told_that_they_may_be_numbers():
    note = "(--task regression if these are counts or amounts)"
    assert any(note in said for said in prepare("t", frame([3, 4, 5] * 10), "y", None).notes)
    assert not any(note in said for said in prepare("t", frame([0, 1] * 10), "y", None).notes)
    with pytest.raises(InputError, match="add --task regression if these are counts or amounts, or leave it out"):
        prepare("t", frame([3, 4, 5] * 10 + [6]), "y", None)


def test_rare_categories_share_an_input_if_that_is_asked_for():
    words = ["a"] * 90 + ["b"] * 60 + [f"w{row % 25}" for row in range(50)]
    rows = np.random.RandomState(0).permutation(200)
    table = frame(np.arange(200) / 7, w=[words[row] for row in rows])
    data = prepare("t", table, "y", None, options=TableOptions(max_categories=3))
    assert data.inputs == ("x", "w=a", "w=b", "w=(other)")
    shares = np.concatenate([part.x[:, 1:] for part in (data.train, data.validation, data.test)]).sum(axis=0)
    assert shares.tolist() == [90, 60, 50]
    assert "w: the 23 rarest categories share one input, and 2 have one each (--max-categories)" in data.notes
    assert data.preparation[1]["categories"] == ["a", "b"]
    alone = prepare(
        "t", frame(np.arange(200) / 7, w=["a", "b"] * 100), "y", None, options=TableOptions(max_categories=3)
    )
    assert alone.inputs == ("x", "w=a", "w=b")


def test_too_many_categories_can_be_grouped():
    words = [f"w{row % 250}" for row in range(600)]
    with pytest.raises(InputError, match="group the rare ones with --max-categories 20"):
        prepare("t", frame(answers(600), w=words), "y", None)
    assert (
        len(prepare("t", frame(answers(600), w=words), "y", None, options=TableOptions(max_categories=5)).inputs) == 6
    )


def test_how_a_column_is_written_is_kept_with_its_preparation():
    columns = {"when": ["31/01/2024", "01/02/2024"] * 20, "price": ["1.234,50 €", "3,00 €"] * 20, "n": [1.5, 2.5] * 20}
    data = prepare("t", frame(answers(40), **columns), "y", None)
    formats = {row["column"]: row.get("format") for row in data.preparation}
    assert formats == {
        "x": None,
        "when": {"kind": "date", "order": "DMY"},
        "price": {"kind": "number", "decimal": ",", "unit": "€"},
        "n": None,
    }


def test_errors_count_the_lines_of_the_file(tmp_path):
    rows = "".join(f"{row},{row / 2 + 0.25}\n\n" for row in range(30))
    (tmp_path / "t.csv").write_text(f"sep=,\n\nx,y\n{rows}many,1\n")
    with pytest.raises(InputError, match="column 'x' is numeric, but line 64 holds 'many'"):
        from_file(tmp_path / "t.csv", "y")
    (tmp_path / "t.csv").write_text("x,y\n" + rows.replace(f"\n{NOT_TRAINED_ON},", "\n1e80,"))
    with pytest.raises(InputError, match=f"'x' holds a value in line {2 * NOT_TRAINED_ON + 2} that is over"):
        from_file(tmp_path / "t.csv", "y")


def test_a_delimiter_at_the_end_of_each_line_makes_no_column(tmp_path):
    (tmp_path / "t.csv").write_text("x,y,\n" + "".join(f"{row / 2},{row / 3},\n" for row in range(30)))
    data = from_file(tmp_path / "t.csv", "y")
    assert data.inputs == ("x",)
    assert len(data.notes) == 1


def test_a_column_is_dropped_by_its_name_however_composed(tmp_path):
    (tmp_path / "t.csv").write_text("x,e\u0301,y\n" + "".join(f"{row / 2},{row},{row / 3}\n" for row in range(30)))
    assert from_file(tmp_path / "t.csv", "y", drop=("\u00e9",)).inputs == ("x",)
