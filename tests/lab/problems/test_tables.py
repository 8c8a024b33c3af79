import datetime as dt
import gzip
import io
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.table.options import TableOptions
from rmsprop.lab.problems.table.tables import read_table

PLAIN = "a,b,y\n1.5,x,0\n2.5,,1\n"
READ = {"a": ["1.5", "2.5"], "b": ["x", None], "y": ["0", "1"]}
# Name -> suffix, bytes, options, and the lines at which the two rows begin.
FORMS = {
    "comma": (".csv", PLAIN.encode(), {}, [2, 3]),
    "semicolon": (".csv", PLAIN.replace(",", ";").encode(), {}, [2, 3]),
    "tab": (".csv", PLAIN.replace(",", "\t").encode(), {}, [2, 3]),
    "tsv": (".tsv", PLAIN.replace(",", "\t").encode(), {}, [2, 3]),
    "txt": (".txt", PLAIN.replace(",", "\t").encode(), {}, [2, 3]),
    "blanks between": (".txt", b"a b   y\n 1.5 x  0 \n2.5 NA 1\n", {}, [2, 3]),
    "pipe": (".csv", PLAIN.replace(",", "|").encode(), {}, [2, 3]),
    "spaces": (".csv", PLAIN.replace(",", " , ").encode(), {}, [2, 3]),
    "crlf": (".csv", PLAIN.replace("\n", "\r\n").encode(), {}, [2, 3]),
    "cr": (".csv", PLAIN.replace("\n", "\r").encode(), {}, [2, 3]),
    "bom": (".csv", ("\ufeff" + PLAIN).encode(), {}, [2, 3]),
    "quotes": (".csv", b'"a","b","y"\n"1.5","x","0"\n"2.5","?","1"\n', {}, [2, 3]),
    "quotes after spaces": (".csv", b'"a", "b", "y"\n"1.5", "x", "0"\n"2.5", "?", "1"\n', {}, [2, 3]),
    "sep": (".csv", ("sep=;\r\n" + PLAIN.replace(",", ";")).encode(), {}, [3, 4]),
    "quoted sep": (".csv", ('"SEP=|"\n' + PLAIN.replace(",", "|")).encode(), {}, [3, 4]),
    "sep and bom": (".csv", ("\ufeffsep=\t\n" + PLAIN.replace(",", "\t")).encode(), {}, [3, 4]),
    "blank lines": (".csv", b"\n \na,b,y\n\n1.5,x,0\n\t\n\n2.5,,1\n\n\n", {}, [5, 8]),
    "empty rows": (".csv", b"a,b,y\n1.5,x,0\n,,,,\n2.5,,1\n", {}, [2, 4]),
    "a line end in quotes": (".csv", b'a,b,y\n1.5,"x\n",0\n2.5,,1\n', {}, [2, 4]),
    "tabs between names with commas": (".tsv", b"a,1,2\tb,3,4\ty\n1.5\tx\t0\n2.5\t\t1\n", {}, [2, 3]),
    "semicolons between names with commas": (".csv", b"a, m;b, m;y, m, s\n1.5;x;0\n2.5;;1\n", {}, [2, 3]),
    "gzip": (".csv.gz", gzip.compress(PLAIN.encode()), {}, [2, 3]),
    "gzip by another name": (".csv", gzip.compress(PLAIN.encode()), {}, [2, 3]),
    "compressed tsv": (".tsv.gz", gzip.compress(PLAIN.replace(",", "\t").encode()), {}, [2, 3]),
    "utf-16": (".txt", PLAIN.replace(",", "\t").encode("utf-16"), {}, [2, 3]),
    "utf-16, told": (".csv", PLAIN.encode("utf-16-le"), {"encoding": "utf-16-le"}, [2, 3]),
    "latin-1": (".csv", PLAIN.encode("cp500"), {"encoding": "cp500"}, [2, 3]),
    "a delimiter, told": (".csv", PLAIN.replace(",", "~").encode(), {"delimiter": "~"}, [2, 3]),
    "a tab, told": (".csv", PLAIN.replace(",", "\t").encode(), {"delimiter": "tab"}, [2, 3]),
    "missing values, told": (".csv", PLAIN.replace("x,0\n2.5,", "x,0\n2.5,-99").encode(), {"na": ("-99",)}, [2, 3]),
}


@pytest.mark.parametrize(("suffix", "content", "options", "lines"), FORMS.values(), ids=FORMS)
def test_every_form_of_text_gives_the_same_table_and_knows_its_lines(tmp_path, suffix, content, options, lines):
    path = tmp_path / f"table{suffix}"
    path.write_bytes(content)
    table = read_table(path, "y, m, s" if b"y, m, s" in content else "y", TableOptions(**options))
    assert dict(zip("aby", table.frame.to_dict(as_series=False).values(), strict=True)) == READ
    assert [table.places.of(row) for row in range(2)] == [f"line {line}" for line in lines]


def test_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(PLAIN.encode())))
    assert read_table(Path("-"), "y").frame.to_dict(as_series=False) == READ


def test_an_encoding_that_the_file_says_is_noted(tmp_path):
    (tmp_path / "t.csv").write_bytes(PLAIN.encode("utf-16"))
    assert read_table(tmp_path / "t.csv", "y").notes == ("read as utf-16, as its first bytes say",)


@pytest.mark.parametrize(("written", "asked"), [("e\u0301", "\u00e9"), ("\u00e9", "e\u0301"), ("e\u0301", "e\u0301")])
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_names_are_equal_however_they_are_composed(tmp_path, written, asked, suffix):
    path = tmp_path / f"t{suffix}"
    frame = pl.DataFrame({"x": [1, 2], written: [written, "\u00e9"]})
    frame.write_csv(path) if suffix == ".csv" else frame.write_parquet(path)
    table = read_table(path, asked)
    assert table.target == table.frame.columns[1] == "\u00e9"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty or not text"),
        (b"\n\n", "is empty or not text"),
        (b"\0\1\2", "is empty or not text"),
        (b"a,y\n", "has a header but no rows"),
        (b"a,y\n1,2\n1,2,3\n", "line 3 has 3 fields and the header 2: every row needs as many fields as the header"),
        (b"a,y\n1,2\n1\n", "line 3 has 1 field and the header 2: every row needs as many"),
        (b"\na,y\n\n1,2\n\n1\n", "line 6 has 1 field and the header 2"),
        (b'a,y\n"1\n",2\n1\n', "line 4 has 1 field and the header 2"),
        (b"sep=;\na;y\n1;2;3\n", "line 3 has 3 fields and the header 2"),
        (b"sep=;\n", "has nothing below its line sep="),
        (b'a,y\n1,2\n1,"2\n', "line 3 opens a quote that nothing closes"),
        (b'a,y\n1,2\n5" pipe,2\n', 'line 3 holds a stray quote (")'),
        (b'a,y\n1,2\n5" x 3" pipe,2\n', 'line 3 holds a stray quote (")'),
        (b'a,y\n1,2\n"5" pipe,2\n', 'line 3 holds a stray quote (")'),
        (b'a,y\n1,2\n"5,2\n1,2\n"7",2\n', 'line 3 holds a stray quote (")'),
        (b'a,y\n1,2\n,""2\n', 'line 3 holds a stray quote (")'),
        (b'"', "line 1 opens a quote that nothing closes"),
        (b"a" * 140_000 + b"\n", "line 1 holds a field of over 131,072 characters"),
        (b",,\n1,2,3\n", "begins with a line that can't be read"),
        (
            b"a,y\n" + b"1,2\n" * 300_000 + b"\xe9,2\n",
            "is not UTF-8 text (line 300002): say its --encoding, such as cp1252",
        ),
        (b"a,y\r1,2\r\xe9,2\r", "is not UTF-8 text (line 3)"),
        (gzip.compress(b"a,y\n1,2\n")[:-4], "is not a readable gzip file"),
        (gzip.compress(b"a,y\n1,2\n") + b"more", "is not a readable gzip file"),
        ("e\u0301,\u00e9,y\n1,2,3\n".encode(), "has 2 columns named '\u00e9'"),
        (b",,y\n1,2,3\n", "has 2 columns without a name"),
        (b"a,a,y\n1,2,3\n", "has 2 columns named 'a'"),
        (b"1,2\n3,4\n", "its first line must name the columns"),
        (b"y\n1\n2\n", "no column besides the target"),
        ("a,y\né,1\n".encode("latin-1"), "is not UTF-8 text"),
        (
            "a,y\n1,2\n".encode("utf-16-le"),
            "is empty or not text: give a table with a header and rows, or its --encoding",
        ),
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
        (
            "notes.md",
            "is not a table: give a .csv, .tsv, .txt, .csv.gz, .tsv.gz, .txt.gz, .xlsx, .parquet or .npz file",
        ),
        ("bad.xlsx", "is not a readable Excel file"),
        ("bad.parquet", "is not a readable Parquet file"),
        ("bad.npz", "is not a .npz file"),
    ],
)
def test_a_bad_path_is_one_line(tmp_path, name, message):
    (tmp_path / "folder.csv").mkdir()
    for bad in ("bad.parquet", "bad.npz", "bad.xlsx", "notes.md"):
        (tmp_path / bad).write_text("not a table")
    with pytest.raises(InputError) as caught:
        read_table(tmp_path / name, "y")
    assert message in str(caught.value)


def test_a_wide_table_is_read(tmp_path):
    path = tmp_path / "table.csv"
    names = [f"column_{number:05}" for number in range(20_000)]
    path.write_text(",".join(names) + "\n" + ",".join(["1"] * 20_000) + "\n")
    assert read_table(path, names[-1]).frame.columns == names


def test_a_name_with_wildcards_is_one_file(tmp_path):
    for name, header in (("[ab].csv", "x,y"), ("a.csv", "wrong,y"), ("*.csv", "x,y")):
        (tmp_path / name).write_text(f"{header}\n1,2\n")
    pl.DataFrame({"x": [1], "y": [2]}).write_parquet(tmp_path / "*.parquet")
    pl.DataFrame({"wrong": [1], "y": [2]}).write_parquet(tmp_path / "a.parquet")
    for name in ("[ab].csv", "*.csv", "*.parquet"):
        assert read_table(tmp_path / name, "y").frame.columns == ["x", "y"]


def test_a_name_that_is_not_utf8_is_one_line(tmp_path):
    with pytest.raises(InputError, match="is not UTF-8: rename the file"):
        read_table(tmp_path / "caf\udce9.csv", "y")


def test_column_names_hold_nothing_that_a_terminal_obeys(tmp_path):
    (tmp_path / "t.csv").write_text('"a\x1b[31m","y\n(EUR)"\n1,2\n')
    pl.DataFrame({"a\x1b[31m": [1], "y\n(EUR)": [2]}).write_parquet(tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet"):
        assert read_table(tmp_path / name, "y (EUR)").frame.columns == ["a [31m", "y (EUR)"]


def test_a_table_without_a_target_names_the_columns(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(PLAIN)
    with pytest.raises(InputError, match="--target with one of a, b, y"):
        read_table(path, None)


def test_parquet_keeps_its_types(tmp_path):
    frame = pl.DataFrame({"day": [dt.date(2024, 1, 1)], "b": [True], "y": [1.0]})
    frame.write_parquet(tmp_path / "table.parquet")
    assert read_table(tmp_path / "table.parquet", "y").frame.equals(frame)


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
        table = read_table(path, target)
        assert (table.frame.columns, table.target) == expected


@pytest.mark.parametrize("content", [b"not an array", b"", b"\x93NUMPY\x01\x00\xff\xff"])
@pytest.mark.parametrize("name", ["X.npy", "X"])
def test_a_bad_npz_is_one_line(tmp_path, content, name):
    with zipfile.ZipFile(tmp_path / "t.npz", "w") as file:
        file.writestr(name, content)
        file.writestr("y.npy", content)
    with pytest.raises(InputError) as caught:
        read_table(tmp_path / "t.npz", "y")
    assert "\n" not in str(caught.value)


def workbook(path, rows, sheets=("data",)):
    """Write a workbook whose first sheet holds rows of numbers, text and None."""

    def cell(value, place):
        if value is None:
            return ""
        if isinstance(value, str):
            return f'<c r="{place}" t="inlineStr"><is><t>{value}</t></is></c>'
        return f'<c r="{place}"><v>{value}</v></c>'

    content = "".join(
        f'<row r="{r}">' + "".join(cell(value, f"{chr(64 + c)}{r}") for c, value in enumerate(row, 1)) + "</row>"
        for r, row in enumerate(rows, 1)
    )
    head = '<?xml version="1.0" encoding="UTF-8"?>'
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    kinds = "http://schemas.openxmlformats.org/package/2006/content-types"
    links = "http://schemas.openxmlformats.org/package/2006/relationships"
    numbered = list(enumerate(sheets, 1))
    files = {
        "[Content_Types].xml": f'<Types xmlns="{kinds}"><Default Extension="rels" ContentType="application/vnd.'
        'openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{links}"><Relationship Id="r1" Type="{office}/officeDocument" '
        'Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets>'
        + "".join(f'<sheet name="{name}" sheetId="{n}" r:id="r{n}"/>' for n, name in numbered)
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{links}">'
        + "".join(
            f'<Relationship Id="r{n}" Type="{office}/worksheet" Target="worksheets/sheet{n}.xml"/>' for n, _ in numbered
        )
        + "</Relationships>",
    }
    for n, _ in numbered:
        data = content if n == 1 else ""
        files[f"xl/worksheets/sheet{n}.xml"] = f'<worksheet xmlns="{main}"><sheetData>{data}</sheetData></worksheet>'
    with zipfile.ZipFile(path, "w") as file:
        for name, text in files.items():
            file.writestr(name, head + text)


def test_a_workbook_is_read_with_its_types_and_counts_as_its_sheet_does(tmp_path):
    rows = [("a", "b", "y"), (1.5, "x", "1"), (None, None, None), (-99, "NA", "2")]
    workbook(tmp_path / "t.xlsx", rows, ["data", "more"])
    table = read_table(tmp_path / "t.xlsx", "y", TableOptions(na=("-99",)))
    assert table.frame.to_dict(as_series=False) == {
        "a": [1.5, None, None],
        "b": ["x", None, None],
        "y": ["1", None, "2"],
    }
    assert table.notes == ("read the first of 2 sheets, 'data'",)
    assert table.places.of(2) == "row 4"


def test_without_the_extra_a_workbook_says_what_to_install(tmp_path, monkeypatch):
    workbook(tmp_path / "t.xlsx", [("a", "y"), (1, 2)])
    monkeypatch.setitem(sys.modules, "fastexcel", None)
    with pytest.raises(
        InputError, match=r"reading one needs fastexcel: pip install 'rmsprop\[excel\]', or save it as CSV"
    ):
        read_table(tmp_path / "t.xlsx", "y")


@pytest.mark.parametrize("option", ["delimiter", "encoding"])
def test_what_is_for_text_is_refused_for_other_files(tmp_path, option):
    pl.DataFrame({"x": [1], "y": [2]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match=f"--{option} is for a file of text, and .*t.parquet is none"):
        read_table(tmp_path / "t.parquet", "y", TableOptions(**{option: "utf-8" if option == "encoding" else ","}))


def test_missing_values_that_are_told_are_found_in_typed_files(tmp_path):
    pl.DataFrame({"x": [1, -99], "w": ["none of it", "b"], "y": [2.0, -99.0]}).write_parquet(tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet", "y", TableOptions(na=("-99", "none of it")))
    assert table.frame.to_dict(as_series=False) == {"x": [1, None], "w": [None, "b"], "y": [2.0, None]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delimiter": "ab"}, "--delimiter is 'ab': give one character such as ';', or one of tab, space"),
        ({"delimiter": ""}, "--delimiter is ''"),
        ({"delimiter": '"'}, "--delimiter is"),
        ({"encoding": "klingon"}, "--encoding is 'klingon': give one such as utf-8"),
        ({"encoding": "base64"}, "--encoding is 'base64'"),
        ({"encoding": ""}, "--encoding is ''"),
        ({"max_categories": 1}, "--max-categories is 1: it must be at least 2"),
    ],
)
def test_an_option_that_cannot_be_used_is_one_line(options, message):
    with pytest.raises(InputError) as caught:
        TableOptions(**options)
    assert message in str(caught.value)


def test_a_panic_of_polars_is_a_table_that_cannot_be_read(tmp_path, monkeypatch):
    """It is no Exception: found by `make attack` on a Parquet file with a changed length."""
    (tmp_path / "a.parquet").write_bytes(b"PAR1")

    def panic(*_, **__):
        raise pl.exceptions.PanicException("assertion failed: offset + length <= self.length")

    monkeypatch.setattr(pl, "read_parquet", panic)
    with pytest.raises(InputError, match=r"a\.parquet is not a readable Parquet file: assertion failed"):
        read_table(tmp_path / "a.parquet", "y")
