import datetime as dt
import zipfile
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.columns import FEW, MANY, as_input, typed
from rmsprop.lab.problems.tables import read_table

PLAIN = "a,b,y\n1.5,x,0\n2.5,,1\n"


@pytest.mark.parametrize(
    "content",
    [
        PLAIN.encode(),
        PLAIN.replace(",", ";").encode(),
        PLAIN.replace(",", ";").replace(".", ",").encode(),
        PLAIN.replace(",", "\t").encode(),
        PLAIN.replace(",", "|").encode(),
        PLAIN.replace(",", " , ").encode(),
        PLAIN.replace("\n", "\r\n").encode(),
        PLAIN.replace("\n", "\r").encode(),
        ("\ufeff" + PLAIN).encode(),
        b",a,b,y\n0,1.5,x,0\n1,2.5,NA,1\n",
        b'"a","b","y"\n"1.5","x","0"\n"2.5","?","1"\n',
    ],
    ids=["comma", "semicolon", "decimal-comma", "tab", "pipe", "spaces", "crlf", "cr", "bom", "pandas-index", "quotes"],
)
def test_every_dialect_of_csv_gives_the_same_table(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    frame, target = read_table(path, "y")
    assert target == "y"
    assert frame.to_dict(as_series=False) == {"a": ["1.5", "2.5"], "b": ["x", None], "y": ["0", "1"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty or not text"),
        (b"\n\n", "is empty or not text"),
        (b"\0\1\2", "is empty or not text"),
        (b"a,y\n", "has a header but no rows"),
        (b"a,y\n1,2\n1,2,3\n", "(row 2 has 3 fields, the header 2): every row needs as many fields as the header"),
        (b'a,y\n1,2\n1,"2\n', "is not a well-formed CSV file"),
        (b"\na,y\n1,2\n", "begins with a line that is empty"),
        (b'"', "begins with a line that is empty"),
        (b"a" * 140_000 + b"\n", "that is empty or can't be read"),
        (",".join(f"column_{i}" for i in range(100_000)).encode() + b",y\n", "has a header that can't be read"),
        (b"a,y\n" + b"1,2\n" * 300_000 + b"\xe9,2\n", "is not UTF-8 text"),
        (b",,y\n1,2,3\n", "has 2 columns without a name"),
        (b"a,a,y\n1,2,3\n", "has 2 columns named 'a'"),
        (b"1,2\n3,4\n", "its first line must name the columns"),
        (b"y\n1\n2\n", "no column besides the target"),
        ("a,y\né,1\n".encode("latin-1"), "is not UTF-8 text"),
        ("a,y\n1,2\n".encode("utf-16"), "is not UTF-8 text"),
        (b"a,b\n1,2\n", "has no column 'y': it has a, b"),
    ],
)
def test_a_bad_csv_is_one_line(tmp_path, content, message):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_table(path, "y")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.csv", "there is no file"),
        ("folder.csv", "is not a file"),
        ("notes.txt", "give a .csv, .parquet or .npz file"),
        ("bad.parquet", "is not a readable Parquet file"),
        ("bad.npz", "is not a .npz file"),
    ],
)
def test_a_bad_path_is_one_line(tmp_path, name, message):
    (tmp_path / "folder.csv").mkdir()
    for bad in ("bad.parquet", "bad.npz", "notes.txt"):
        (tmp_path / bad).write_text("not a table")
    with pytest.raises(InputError) as caught:
        read_table(tmp_path / name, "y")
    assert message in str(caught.value)


def test_a_wide_table_is_read(tmp_path):
    path = tmp_path / "table.csv"
    names = [f"column_{number:05}" for number in range(20_000)]
    path.write_text(",".join(names) + "\n" + ",".join(["1"] * 20_000) + "\n")
    assert read_table(path, names[-1])[0].columns == names


def test_a_name_with_wildcards_is_one_file(tmp_path):
    for name, header in (("[ab].csv", "x,y"), ("a.csv", "wrong,y"), ("*.csv", "x,y")):
        (tmp_path / name).write_text(f"{header}\n1,2\n")
    pl.DataFrame({"x": [1], "y": [2]}).write_parquet(tmp_path / "*.parquet")
    pl.DataFrame({"wrong": [1], "y": [2]}).write_parquet(tmp_path / "a.parquet")
    for name in ("[ab].csv", "*.csv", "*.parquet"):
        assert read_table(tmp_path / name, "y")[0].columns == ["x", "y"]


def test_a_name_that_is_not_utf8_is_one_line(tmp_path):
    with pytest.raises(InputError, match="is not UTF-8: rename the file"):
        read_table(tmp_path / "caf\udce9.csv", "y")


def test_column_names_hold_nothing_that_a_terminal_obeys(tmp_path):
    (tmp_path / "t.csv").write_text('"a\x1b[31m","y\n(EUR)"\n1,2\n')
    pl.DataFrame({"a\x1b[31m": [1], "y\n(EUR)": [2]}).write_parquet(tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        assert read_table(tmp_path / name, "y (EUR)")[0].columns == ["a [31m", "y (EUR)"]


def test_a_table_without_a_target_names_the_columns(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(PLAIN)
    with pytest.raises(InputError, match="--target with one of a, b, y"):
        read_table(path, None)


def test_parquet_keeps_its_types(tmp_path):
    frame = pl.DataFrame({"day": [dt.date(2024, 1, 1)], "b": [True], "y": [1.0]})
    frame.write_parquet(tmp_path / "table.parquet")
    assert read_table(tmp_path / "table.parquet", "y")[0].equals(frame)


@pytest.mark.parametrize(
    ("arrays", "target", "expected"),
    [
        ({"X": np.zeros((3, 2)), "y": [1, 2, 3]}, None, (["x0", "x1", "y"], "y")),
        ({"X": np.zeros((3, 2, 2)), "label": ["p", "q", "p"]}, "label", (["x0", "x1", "x2", "x3", "label"], "label")),
        ({"X": np.zeros(3), "y": [[1], [2], [3]]}, None, (["x0", "y"], "y")),
        ({"X": np.zeros((3, 2)), "y": [1, 2]}, None, "must hold 3 numbers"),
        ({"X": np.zeros((3, 2)), "z": [1, 2, 3]}, None, "needs the arrays X and y, and has X, z"),
        ({"X": np.zeros((3, 2)) * 1j, "y": [1, 2, 3]}, None, "rows of real numbers"),
        ({"X": np.array([object()]), "y": [1]}, None, "allow_pickle"),
        ({"X": np.zeros((3, 0)), "y": [1, 2, 3]}, None, "no column besides the target"),
        ({"X": np.zeros((3, 1)), "y": np.ones(3, np.longdouble)}, None, (["x0", "y"], "y")),
        ({"X": np.zeros((3, 1)), "y": np.ones(3) * 1j}, None, "it must hold 3 numbers or words"),
    ],
)
def test_npz(tmp_path, arrays, target, expected):
    path: Path = tmp_path / "table.npz"
    np.savez(path, **arrays)
    if isinstance(expected, str):
        with pytest.raises(InputError) as caught:
            read_table(path, target)
        assert expected in str(caught.value)
    else:
        frame, name = read_table(path, target)
        assert (frame.columns, name) == expected


@pytest.mark.parametrize("content", [b"not an array", b"", b"\x93NUMPY\x01\x00\xff\xff"])
@pytest.mark.parametrize("name", ["X.npy", "X"])
def test_a_bad_npz_is_one_line(tmp_path, content, name):
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as file:
        file.writestr(name, content)
        file.writestr("y.npy", content)
    with pytest.raises(InputError) as caught:
        read_table(tmp_path / "t.npz", "y")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        (["1", "2.5", None, "-3e2"], pl.String, [1.0, 2.5, None, -300.0]),
        ([1, None, 3], pl.Int64, [1.0, None, 3.0]),
        ([1.0, float("nan"), 3.0], pl.Float64, [1.0, None, 3.0]),
        (["True", None, "false"], pl.String, [1.0, None, 0.0]),
        ([True, False, None], pl.Boolean, [1.0, 0.0, None]),
        (["1970-01-03", "1969-12-31", None], pl.String, [2.0, -1.0, None]),
        (["1970-01-03 12:00:00", "1970-01-01 00:00:00"], pl.String, [2.5, 0.0]),
        ([dt.date(1970, 1, 2)], pl.Date, [1.0]),
        ([dt.datetime(1970, 1, 2, 6)], pl.Datetime("ns"), [1.25]),
        ([dt.time(6)], pl.Time, [0.25]),
        ([dt.timedelta(hours=36)], pl.Duration, [1.5]),
        (["red", None, "1"], pl.String, ["red", None, "1"]),
        (["1.2.3", "1.2.4"], pl.String, ["1.2.3", "1.2.4"]),
        (["red", "blue"], pl.Categorical, ["red", "blue"]),
    ],
)
def test_a_column_becomes_numbers_or_categories(values, dtype, expected):
    series = pl.Series("c", values, dtype=dtype)
    assert as_input(typed(series, "leave it out")).to_list() == expected


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([None, None], "column 'c' has no values at all: leave it out with --drop c"),
        ([float("nan")] * 2, "has no values at all"),
        (["1", "2", "3", "abc"], "column 'c' is numeric, but row 4 holds 'abc'"),
        (["1", "2", "3", "x" * 99], "holds '" + "x" * 37 + "...'"),
        ([1.0, float("inf")], "column 'c' holds inf in row 2"),
        ([1.0, -1e200], "column 'c' holds -1e+200 in row 2"),
        ([[1], [2]], "column 'c' holds List"),
        ([f"u{i}" for i in range(FEW + 1)], f"column 'c' has {FEW + 1} categories in {FEW + 1} rows"),
        ([f"${i},000" for i in range(FEW + 1)], "write numbers as 1234.5 and dates as 2024-01-31, or leave it out"),
        ([f"u{i}" for i in range(MANY + 1)] * 9, f"column 'c' has {MANY + 1} categories"),
    ],
)
def test_a_bad_column_is_one_line_that_names_it(values, message):
    with pytest.raises(InputError) as caught:
        as_input(typed(pl.Series("c", values), "leave it out with --drop c"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
