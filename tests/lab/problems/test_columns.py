import datetime as dt

import polars as pl
import pytest

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.table.columns import FEW, MANY, as_input, typed
from rmsprop.lab.problems.table.numerals import file_decimal
from rmsprop.lab.problems.table.places import Places
from rmsprop.lab.problems.table.understood import Notation


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
    assert as_input(typed(series, "leave it out").values).to_list() == expected


# What is written, and what it is; the first of them is in the note, or the one that is named.
NUMBERS = {
    "percentages": (["12%", "3.5 %"], [12.0, 3.5], "'3.5 %' is read as 3.5 percent"),
    "percentages with commas": (["12,5%", "3%"], [12.5, 3.0], "'12,5%' is read as 12.5 percent"),
    "per mille": (["12‰", "3‰"], [12.0, 3.0], "'12‰' is read as 12"),
    "dollars": (["$1200", "$3"], [1200.0, 3.0], "'$1200' is read as 1200"),
    "dollars and bare numbers": (["$1,200.50", "7"], [1200.5, 7.0], "'$1,200.50' is read as 1200.5"),
    "dollars and debts": (["$1,200", "-$3", "($4)", "$-5"], [1200.0, -3.0, -4.0, -5.0], "'$1,200' is read as 1200"),
    "euros": (["1.234,50 €", "€ 3"], [1234.5, 3.0], "'1.234,50 €' is read as 1234.5"),
    "pounds": (["£3.20", "£1,000.00"], [3.2, 1000.0], "'£1,000.00' is read as 1000"),
    "yen and rupees": (["¥1,000", "¥5"], [1000.0, 5.0], "'¥1,000' is read as 1000"),
    "lakhs": (["₹1,23,456", "₹12,34,567.5"], [123456.0, 1234567.5], "'₹12,34,567.5' is read as 1234567.5"),
    "francs": (["CHF 1'200.-", "CHF 1’300.5"], [1200.0, 1300.5], '"CHF 1\'200.-" is read as 1200'),
    "reais": (["R$ 1.234,50", "R$ 3,00"], [1234.5, 3.0], "'R$ 1.234,50' is read as 1234.5"),
    "kronor": (["1 234 kr", "5 kr"], [1234.0, 5.0], "'1 234 kr' is read as 1234"),
    "codes": (["USD 1,000", "20 USD"], [1000.0, 20.0], "'USD 1,000' is read as 1000"),
    "thousands": (["3,000", "12,000"], [3000.0, 12000.0], "'12,000' is read as 12000"),
    "some thousands": (["950", "1,200", "3"], [950.0, 1200.0, 3.0], "'1,200' is read as 1200"),
    "millions": (["3,000,000", "1,000"], [3e6, 1e3], "'3,000,000' is read as 3000000"),
    "points between thousands": (["1.234.567", "1.000"], [1234567.0, 1000.0], "'1.234.567' is read as 1234567"),
    "german": (["1.234,5", "2,75"], [1234.5, 2.75], "'1.234,5' is read as 1234.5"),
    "decimal commas": (["1,5", "0,125"], [1.5, 0.125], "'0,125' is read as 0.125"),
    "spaces": (["1 234 567", "12"], [1234567.0, 12.0], "'1 234 567' is read as 1234567"),
    "narrow spaces": (["1\u202f234,5", "1\u00a0000,25"], [1234.5, 1000.25], "'1\\xa0000,25' is read as 1000.25"),
    "apostrophes": (["1'234.5", "1’000"], [1234.5, 1000.0], '"1\'234.5" is read as 1234.5'),
    "underscores": (["1_000", "20_000"], [1000.0, 20000.0], "'20_000' is read as 20000"),
    "typographic minus": (["−5", "3"], [-5.0, 3.0], "'−5' is read as -5"),
    "minus behind": (["5-", "3"], [-5.0, 3.0], "'5-' is read as -5"),
    "kilograms": (["12 kg", "3.5kg"], [12.0, 3.5], "'12 kg' is read as 12"),
    "degrees": (["20°C", "-3.5 °C"], [20.0, -3.5], "'-3.5 °C' is read as -3.5"),
    "years": (["1 year", "12 years"], [1.0, 12.0], "'12 years' is read as 12"),
    "speeds": (["12 km/h", "3 km/h"], [12.0, 3.0], "'12 km/h' is read as 12"),
    "thousands and millions": (["1.5k", "2M", "30"], [1500.0, 2e6, 30.0], "'1.5k' is read as 1500"),
    "times": (["12:30", "9:05"], [12.5, 9 + 5 / 60], "a time ('12:30' is 12.5), read as a number of hours"),
    "seconds": (["0:00:36", "1:00:00.5"], [0.01, 1 + 0.5 / 3600], "a time ('0:00:36' is 0.01)"),
    "halves of a day": (["9:30 PM", "12:15 a.m.", "12:15 pm"], [21.5, 0.25, 12.25], "a time ('9:30 PM' is 21.5)"),
    "hours": (["7am", "7 PM"], [7.0, 19.0], "a time ('7am' is 7)"),
    "more than a day": (["36:15", "-1:30"], [36.25, -1.5], "a time ('36:15' is 36.25)"),
    "named parts": (
        ["2h 30m", "1h", "45min"],
        [2.5, 1.0, 0.75],
        "a duration ('2h 30m' is 2.5), read as a number of hours",
    ),
    "timedeltas": (["1 days 02:15:00", "0 days 00:30:00"], [26.25, 0.5], "a duration ('1 days 02:15:00' is 26.25)"),
    "timedeltas of python": (["2 days, 3:00:00", "1 day, 0:30:00"], [51.0, 24.5], "a duration"),
    "ISO 8601": (["PT1H30M", "P1DT2H"], [1.5, 26.0], "a duration ('PT1H30M' is 1.5)"),
}


@pytest.mark.parametrize(("values", "expected", "note"), NUMBERS.values(), ids=NUMBERS)
def test_numbers_in_other_notations_are_read_and_said(values, expected, note):
    column = typed(pl.Series("c", [*values, None]), "leave it out")
    assert column.values.to_list() == pytest.approx([*expected, None])
    assert note in column.note
    assert column.format


def test_numbers_as_programs_write_them_need_no_word():
    column = typed(pl.Series("c", ["1.5", "-2e5", ".5", "0", "+3"]), "leave it out")
    assert (column.note, column.format) == ("", {})


def test_zeros_that_a_number_loses_are_said():
    assert typed(pl.Series("c", ["00501", "90210"]), "").note == "'00501' is read as the number 501"


@pytest.mark.parametrize(
    ("others", "delimiter", "value"),
    [
        (["red", "blue"], ",", 3000.0),
        (["red", "blue"], ";", 3.0),
        (["red", "blue"], "\t", 3000.0),
        (["1,5", "2,25"], ",", 3.0),
        (["1.5", "2.25"], ";", 3000.0),
        (["1.234,5", "2"], "\t", 3.0),
    ],
)
def test_what_a_comma_is_in_3_000_is_shown_by_the_other_columns(others, delimiter, value):
    columns = [pl.Series("a", others), pl.Series("c", ["3,000", "4,000"])]
    column = typed(columns[1], "", Notation(decimal=file_decimal(columns, delimiter)))
    assert column.values.to_list() == [value, value / 3 * 4]
    assert column.note == f"'3,000' is read as {value:g}"


def day(*args):
    return dt.datetime(*args)


DATES = {
    "iso": (["2024-01-31", "2024-02-01"], [day(2024, 1, 31), day(2024, 2, 1)], "dates, year first (year-month-day"),
    "slashes": (["2024/1/31", "2024/2/1"], [day(2024, 1, 31), day(2024, 2, 1)], "dates, year first (year-month-day"),
    "iso with T": (["2024-01-31T12:30:00"] * 2, [day(2024, 1, 31, 12, 30)] * 2, "dates, year first (year-month-day"),
    "iso with T and Z": (
        ["2024-01-31T12:30Z"] * 2,
        [day(2024, 1, 31, 12, 30)] * 2,
        " in UTC), read as a number of days",
    ),
    "fractions": (["2024-01-31T12:30:00.250Z"] * 2, [day(2024, 1, 31, 12, 30, 0, 250_000)] * 2, " in UTC)"),
    "offsets": (
        ["2024-01-31T00:30:00+02:00", "2024-01-31 00:30:00.5-0130"],
        [day(2024, 1, 30, 22, 30), day(2024, 1, 31, 2, 0, 0, 500_000)],
        " in UTC)",
    ),
    "offsets of hours": (["2024-01-31 12:00:00+00"] * 2, [day(2024, 1, 31, 12)] * 2, " in UTC)"),
    "basic": (
        ["20240131", "20240201"],
        [day(2024, 1, 31), day(2024, 2, 1)],
        "dates, year first (year-month-day: '20240131'",
    ),
    "basic with a time": (
        ["20240131T123000Z"] * 2,
        [day(2024, 1, 31, 12, 30)] * 2,
        "dates, year first (year-month-day",
    ),
    "day first": (
        ["01/02/2024", "31/01/2024"],
        [day(2024, 2, 1), day(2024, 1, 31)],
        "dates, day first (day/month/year: '31/01/2024' is 2024-01-31), read as a number of days",
    ),
    "month first": (
        ["01/02/2024", "01/31/2024"],
        [day(2024, 1, 2), day(2024, 1, 31)],
        "dates, month first (month/day/year: '01/31/2024' is 2024-01-31), read as a number of days",
    ),
    "points": (["31.01.2024", "1.2.2024"], [day(2024, 1, 31), day(2024, 2, 1)], "dates, day first (day/month/year"),
    "two digits": (["31.01.24", "01.02.24"], [day(2024, 1, 31), day(2024, 2, 1)], "dates, day first (day/month/year"),
    "two digits, last century": (
        ["12/31/99", "1/2/98"],
        [day(1999, 12, 31), day(1998, 1, 2)],
        "dates, month first (month/day/year",
    ),
    "year first, two digits": (
        ["99-12-31", "98-01-02"],
        [day(1999, 12, 31), day(1998, 1, 2)],
        "dates, year first (year-month-day",
    ),
    "the same either way": (["01/01/2024", "02/02/2024"], [day(2024, 1, 1), day(2024, 2, 2)], "dates, "),
    "am and pm": (
        ["1/31/2024 2:05 PM", "1/31/2024 12:05:10 AM"],
        [day(2024, 1, 31, 14, 5), day(2024, 1, 31, 0, 5, 10)],
        "dates, month first (month/day/year",
    ),
    "names": (
        ["31 Jan 2024", "1 February 2024"],
        [day(2024, 1, 31), day(2024, 2, 1)],
        "dates, day first (day/month/year",
    ),
    "names first": (
        ["Jan 31, 2024", "Sept. 1st, 2024"],
        [day(2024, 1, 31), day(2024, 9, 1)],
        "dates, month first (month/day/year",
    ),
    "names between": (
        ["31-JAN-24", "01-FEB-24"],
        [day(2024, 1, 31), day(2024, 2, 1)],
        "dates, day first (day/month/year",
    ),
    "names of days": (["Wed, 31 Jan 2024 10:00:00 +0000"] * 2, [day(2024, 1, 31, 10)] * 2, " in UTC)"),
    "ctime": (["Wed Jan 31 10:00:00 2024"] * 2, [day(2024, 1, 31, 10)] * 2, "dates, month first"),
    "logs": (["31/Jan/2024:10:00:00 +0100"] * 2, [day(2024, 1, 31, 9)] * 2, " in UTC)"),
    "months": (["2024-01", "2024-12"], [day(2024, 1, 1), day(2024, 12, 1)], "dates, year first (year-month:"),
    "months and years": (
        ["01/2024", "12/2024"],
        [day(2024, 1, 1), day(2024, 12, 1)],
        "dates, month first (month/year:",
    ),
    "months, points and years": (["01.2024", "12.2024"], [day(2024, 1, 1), day(2024, 12, 1)], "dates, month first"),
    "names of months": (
        ["Jan 2024", "Dec-2024"],
        [day(2024, 1, 1), day(2024, 12, 1)],
        "dates, month first (month/year:",
    ),
    "japanese": (
        ["2024年1月31日", "2024年2月1日"],
        [day(2024, 1, 31), day(2024, 2, 1)],
        "dates, year first (year-month-day",
    ),
    "with and without a time": (
        ["2024-01-31", "2024-02-01 06:00"],
        [day(2024, 1, 31), day(2024, 2, 1, 6)],
        "dates, ",
    ),
}


@pytest.mark.parametrize(("values", "expected", "note"), DATES.values(), ids=DATES)
def test_dates_are_read_and_their_format_is_said(values, expected, note):
    column = typed(pl.Series("c", [*values, None]), "leave it out")
    assert column.values.to_list() == [*expected, None]
    assert note in column.note
    assert column.format["kind"] == "date"


@pytest.mark.parametrize(
    ("values", "dayfirst", "expected"),
    [
        (["03/01/2024", "04/01/2024"], True, [day(2024, 1, 3), day(2024, 1, 4)]),
        (["03/01/2024", "04/01/2024"], False, [day(2024, 3, 1), day(2024, 4, 1)]),
        (["03-01-24", "04-01-24"], False, [day(2024, 3, 1), day(2024, 4, 1)]),
        (["2024-03-01", "2024-04-01"], True, [day(2024, 3, 1), day(2024, 4, 1)]),
    ],
)
def test_the_day_is_where_it_was_said_to_be(values, dayfirst, expected):
    assert typed(pl.Series("c", values), "", Notation(dayfirst=dayfirst)).values.to_list() == expected


AMBIGUOUS = "whose day can't be told from the month: "


@pytest.mark.parametrize(
    ("values", "dayfirst", "message"),
    [
        (["01/01/2024", "03/01/2024"], None, AMBIGUOUS + "'03/01/2024' (line 11) may be 2024-01-03 or 2024-03-01"),
        (["03.01.2024", "04.01.2024"], None, "say --dayfirst or --monthfirst, or write dates as 2024-01-31"),
        (["03-01-2024 10:00", "04-01-2024 11:00"], None, AMBIGUOUS),
        (["3/1/24 9:00 PM", "4/1/24 9:00 AM"], None, AMBIGUOUS + "'3/1/24 9:00 PM' (line 10)"),
        (["24-01-15", "24-01-31", "24-02-01"], None, AMBIGUOUS),
        (
            ["2024-01-31"] * 2 + ["2024-02-30"],
            None,
            "(as '2024-01-31'), but line 12 holds '2024-02-30': correct the value",
        ),
        (
            ["31/01/2024"] * 2 + ["31/02/2024"],
            None,
            "is a date, day first (as '31/01/2024'), but line 12 holds",
        ),
        (["31/01/2024"] * 2 + ["01/31/2024"], None, "but line 12 holds '01/31/2024'"),
        (["2024-01-31"] * 2 + ["31/01/2024"], None, "but line 12 holds '31/01/2024'"),
        (["2024-01-31", "31/01/2024"] * 2, None, "but line 11 holds '31/01/2024'"),
        (["2024-01-31"] * 2 + ["Jan 31, 2024"], None, "but line 12 holds 'Jan 31, 2024'"),
        (["2024-01-31"] * 2 + ["2024-01-31 25:00"], None, "but line 12 holds '2024-01-31 25:00'"),
        (
            ["2024-01-31"] * 2 + ["unknown"],
            None,
            "holds 'unknown': correct the value, say --na unknown if it stands for a",
        ),
        (
            ["31/01/2024"] * 2 + ["01/02/2024"],
            False,
            "is a date, month first (as '01/02/2024'), but line 10 holds",
        ),
        (["12:30", "9:15", "9:75"], None, "column 'c' is a time (as '12:30'), but line 12 holds '9:75'"),
        (["2h 30m", "1h", "5"], None, "column 'c' is a duration (as '2h 30m'), but line 12 holds '5'"),
        (["12%", "13%", "14"], None, "column 'c' is a percentage (as '12%'), but line 12 holds '14'"),
        (["$5", "$6", "€7"], None, "column 'c' is an amount in $ (as '$5'), but line 12 holds '€7'"),
        (["1.5", "2.5", "3,25"], None, "column 'c' is numeric, but line 12 holds '3,25'"),
        (["1.234,5", "2,5", "1,234.5"], None, "but line 12 holds '1,234.5'"),
        (["1,000", "2,000", "many"], None, "but line 12 holds 'many': correct the value, say --na many if"),
    ],
)
def test_what_does_not_fit_its_column_names_its_line(values, dayfirst, message):
    notation = Notation(Places("line", range(10, 99)), dayfirst)
    with pytest.raises(InputError) as caught:
        typed(pl.Series("c", values), "leave it out with --drop c", notation)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        ["1st", "2nd", "3rd"],
        ["2:1", "3:0", "1:1"],
        ["18-24", "25-34", "65+"],
        ["10.0.0.1", "10.0.0.2"],
        ["123-45-6789", "987-65-4321"],
        ["1.5 MB", "300 kB", "2 GB"],
    ],
)
def test_words_that_begin_with_a_number_stay_words_and_are_said(values):
    column = typed(pl.Series("c", values), "")
    assert column.values.to_list() == values
    assert column.note == f"read as words, though most begin with a number ({values[0]!r})"


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (["1234567890123456789", "1234567890123456790"], pl.String),
        ([1234567890123456789, 1234567890123456790], pl.Int64),
        ([2**64 - 1, 2**64 - 2], pl.UInt64),
    ],
)
def test_whole_numbers_that_no_float_holds_keep_their_digits(values, dtype):
    column = typed(pl.Series("c", values, dtype=dtype), "")
    assert column.values.to_list() == [str(value) for value in values]
    assert "digits, more than a number keeps, read as words" in column.note


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([None, None], "column 'c' has no values at all: leave it out with --drop c"),
        ([float("nan")] * 2, "has no values at all"),
        (["1", "2", "3", "abc"], "column 'c' is numeric, but row 4 holds 'abc'"),
        (["1.2345", "2.3456", "12.1999", "abc"], "column 'c' is numeric, but row 4 holds 'abc'"),
        (["20240131", "12345678", "7", "abc"], "column 'c' is numeric, but row 4 holds 'abc'"),
        (["1", "2", "3", "x" * 99], "holds '" + "x" * 37 + "...'"),
        ([1.0, float("inf")], "column 'c' holds inf in row 2"),
        ([1.0, -1e200], "column 'c' holds -1e+200 in row 2"),
        ([[1], [2]], "column 'c' holds List"),
        ([f"u{i}" for i in range(FEW + 1)], f"column 'c' has {FEW + 1} categories in {FEW + 1} rows"),
        ([f"u{i}" for i in range(FEW + 1)], "group the rare ones with --max-categories 20, or leave it out"),
        ([f"{i}/{i}" for i in range(FEW + 1)], "write numbers as 1234.5 and dates as 2024-01-31, or group the rare"),
        ([f"u{i}" for i in range(MANY + 1)] * 9, f"column 'c' has {MANY + 1} categories"),
    ],
)
def test_a_bad_column_is_one_line_that_names_it(values, message):
    with pytest.raises(InputError) as caught:
        as_input(typed(pl.Series("c", values), "leave it out with --drop c").values)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
