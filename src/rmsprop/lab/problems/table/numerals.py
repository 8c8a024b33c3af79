"""Numbers as people write them: 1,234.50 and 1.234,50, $1200 and 12 %, (300) for a debt, 5 km."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from rmsprop.lab.problems.table.understood import MOSTLY, Notation, Understood, sampled, share

_SIGNS = r"[$€£¥₹₽₩₺₪₫฿₦₴₱¢]"
_CODES = (
    "USD|EUR|GBP|JPY|CHF|CAD|AUD|NZD|CNY|RMB|INR|BRL|SEK|NOK|DKK|PLN|CZK|HUF|RUB|TRY|ZAR|MXN|KRW|SGD|HKD|ILS|THB|"
    "SFr|Fr|kr|zł|zl|Kč|Kc|Ft|Rs|lei|TL"
)
_CURRENCY = rf"(?:[A-Z]{{1,3}}{_SIGNS}|{_SIGNS}|(?i:{_CODES})\.?)"
# What stands between thousands, besides a comma or a point: spaces of three widths, apostrophes, an underscore.
_GAPS = " '’_\u00a0\u2009\u202f"
_DIGITS = rf"(?:\d[\d.,{_GAPS}]*\d|\d)"
_WRITTEN = (
    rf"^(?<open>\()?\s*(?<sign>[-+−–])?\s*(?<before>{_CURRENCY})?\s*(?<minus>[-−–])?"
    rf"(?<digits>{_DIGITS}|[.,]\d+)(?<power>[eE][-+]?\d+)?(?:[.,][-–—]|[.,])?(?:\s?(?<scale>[kKMB])\b)?"
    rf"\s*(?<unit>{_CURRENCY}|[%‰°]\pL?|[\pL]{{1,12}}[²³23]?(?:/\pL{{1,6}}[²³23]?)?)?\s*(?<trailing>-)?(?<close>\))?$"
)
# Within one number, what shows that its comma is a decimal one, or stands between thousands; the same for the point.
_DECIMAL_COMMA = r"^(?:\d*,(?:\d{1,2}|\d{4,})|0+,\d+|\d{4,},\d+|,\d+)$|\.\d{3},\d*$|\.\d{3}\.|[^\d.,]\d{3},\d+$"
_DECIMAL_POINT = r"^(?:\d*\.(?:\d{1,2}|\d{4,})|0+\.\d+|\d{4,}\.\d+|\.\d+)$|,\d{2,3}\.\d*$|,\d{2,3},|[^\d.,]\d{3}\.\d+$"
# Whole numbers with something between thousands, or between lakhs and crores; then decimals.
_GROUPED = {
    ".": rf"^(?:\d+|\d{{1,3}}(?:[,{_GAPS}]\d{{3}})+|\d{{1,2}}(?:,\d{{2}})+,\d{{3}})?(?:\.\d*)?$",
    ",": rf"^(?:\d+|\d{{1,3}}(?:[.{_GAPS}]\d{{3}})+)?(?:,\d*)?$",
}
_SCALES = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9}


def file_decimal(columns: Iterable[pl.Series], delimiter: str | None) -> str:
    r"""Return what a file writes before decimals, for the columns that don't show it.

    Args:
        columns: Its columns of text.
        delimiter: What separates them; None if the file isn't text.

    Returns:
        A point or a comma. Where no column shows it, a file with semicolons comes from where commas are decimal.

    Examples:
        >>> file_decimal([pl.Series(["1,5"]), pl.Series(["3,000"])], "\t")
        ','
    """
    seen = {"": 0, ".": 0, ",": 0}
    for text in columns:
        sample = sampled(text)
        digits = sample.str.extract_groups(_WRITTEN).struct.field("digits")
        if share(digits.is_not_null(), sample) > MOSTLY:
            seen[_shown_decimal(digits)] += 1
    if seen["."] == seen[","] == 0:
        return "," if delimiter == ";" else "."
    return "," if seen[","] > seen["."] else "."


def read_numbers(text: pl.Series, notation: Notation) -> Understood | None:
    """Read a column of numbers with separators, units and the like.

    Args:
        text: The column.
        notation: How its file writes numbers where the column doesn't show it.

    Returns:
        Numbers (Float64), or None if most of the column isn't.

    Examples:
        >>> read_numbers(pl.Series(["1.234,5 €", "−3 €"]), Notation()).values.to_list()
        [1234.5, -3.0]
    """
    sample = sampled(text)
    if share(sample.str.contains(_WRITTEN), sample) <= MOSTLY:
        return None
    parts = text.str.extract_groups(_WRITTEN)
    digits = parts.struct.field("digits")
    decimal = _shown_decimal(digits) or _usual_decimal(digits, notation.decimal)
    unit = _unit(parts)
    money = unit.filter(unit.str.contains(rf"^{_CURRENCY}$"))
    usual = str((unit.drop_nulls() if money.is_empty() else money).mode().sort()[0])
    if usual.isalpha() and money.is_empty() and share(unit == usual, text) < 1.0:
        return None  # words that begin with a number, such as 1st and 2nd
    values = written_numbers(text, decimal, usual)
    if share(values.is_not_null(), text) <= MOSTLY:
        return None
    return _told(text, values, decimal, usual)


def written_numbers(text: pl.Series, decimal: str, unit: str) -> pl.Series:
    """Return the numbers of a column whose notation is known.

    Args:
        text: The column.
        decimal: What stands before decimals.
        unit: What they are counted in; empty for nothing. A currency may be left out.

    Returns:
        The numbers (Float64); null where a value is missing or isn't in this notation.

    Examples:
        >>> written_numbers(pl.Series(["1.234", "5 kg"]), ",", "").to_list()
        [1234.0, None]
    """
    parts = text.str.extract_groups(_WRITTEN)
    written = _unit(parts)
    is_money = pl.Series([unit]).str.contains(rf"^{_CURRENCY}$").all()
    same = (written == unit) | ((written == "") & is_money)
    proper = (parts.struct.field("digits").str.contains(_GROUPED[decimal]) & same).fill_null(value=False)
    return _values(parts.struct.unnest(), decimal).set(~proper, None).alias(text.name)


def _shown_decimal(digits: pl.Series) -> str:
    """Return the decimal mark that most telling numbers of a column show, or nothing if none is telling."""
    commas, points = digits.str.contains(_DECIMAL_COMMA).sum(), digits.str.contains(_DECIMAL_POINT).sum()
    return "" if not (commas or points) else "," if commas > points else "."


def _usual_decimal(digits: pl.Series, decimal: str) -> str:
    """Return the file's mark for numbers such as 3,000 and 1.234, which don't show theirs."""
    return decimal if digits.str.contains(r"[.,]").any() else "."


def _unit(parts: pl.Series) -> pl.Series:
    """Return what each number is counted in: a currency, %, or a word, which may be in the plural."""
    unit = parts.struct.field("before").fill_null("") + parts.struct.field("unit").fill_null("")
    plural = unit.str.len_chars() > 2
    singular = pl.select(pl.when(plural).then(unit.str.strip_chars_end("s")).otherwise(unit)).to_series()
    known = parts.struct.field("digits").is_not_null()
    return pl.select(pl.when(known).then(singular)).to_series()


def _values(parts: pl.DataFrame, decimal: str) -> pl.Series:
    plain = pl.col("digits").str.replace_all(rf"[{'.' if decimal == ',' else ','}{_GAPS}]", "")
    power, scale = pl.col("power").fill_null(""), pl.col("scale").fill_null("")
    number = (plain.str.replace(",", ".", literal=True) + power).cast(pl.Float64, strict=False)
    number *= scale.replace_strict(_SCALES, return_dtype=pl.Float64)
    minus = [pl.col(name).is_in(["-", "−", "–"]) for name in ("sign", "minus", "trailing")]
    negative = pl.any_horizontal(*minus, pl.col("open").is_not_null() & pl.col("close").is_not_null())
    return parts.select(pl.when(negative.fill_null(value=False)).then(-number).otherwise(number)).to_series()


def _told(text: pl.Series, values: pl.Series, decimal: str, unit: str) -> Understood:
    strange = values.filter(values.ne_missing(text.cast(pl.Float64, strict=False)) & values.is_not_null())
    written = text.filter(values.ne_missing(text.cast(pl.Float64, strict=False)) & values.is_not_null())
    if written.is_empty():
        return Understood(values, "numeric")
    longest = int(written.str.len_chars().arg_max() or 0)
    example, value = written[longest], f"{strange[longest]:.15g}"
    what = "a percentage" if unit == "%" else f"an amount in {unit}" if unit else "numeric"
    return Understood(
        values,
        f"{what} (as {example!r})",
        {"kind": "number", "decimal": decimal, "unit": unit},
        f"{example!r} is read as {value}{' percent' if unit == '%' else ''}",
    )
