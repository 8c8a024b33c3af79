"""Turns understood columns into what a model takes, with what the training rows tell."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems.table.columns import leave_out

Floats = npt.NDArray[np.float32]
# What the input of all rare categories is called: parentheses tell it from a category of that name.
OTHERS = "(other)"


# A block of inputs for all rows, their names, and how each column became them.
Block = tuple[Floats, list[str], list[dict[str, Any]]]


def encode(
    columns: Sequence[pl.Series], train: npt.NDArray[np.int64], max_categories: int | None = None
) -> tuple[Floats, tuple[str, ...], tuple[dict[str, Any], ...]]:
    """Return all rows as inputs, prepared with what the training rows tell: the numbers first, then the categories.

    Args:
        columns: Numbers (Float64) or categories (String).
        train: The indices of the training rows.
        max_categories: The most inputs that one column of categories becomes; the rarest share one. Default None: one
            input each.

    Returns:
        The inputs (rows by inputs), their names, and how each column became them, as plain values.

    Raises:
        InputError: If a column has no value in any training row.
    """
    for series in columns:
        if series.gather(train).null_count() == len(train):
            raise InputError(f"column {series.name!r} has no value in any training row: {leave_out(series.name)}")
    numbers = [series for series in columns if series.dtype != pl.String]
    words = [series for series in columns if series.dtype == pl.String]
    blocks = [_numbers(numbers, train)] if numbers else []
    blocks += [_words(words, train, max_categories)] if words else []
    x = np.concatenate([block[0] for block in blocks], axis=1)
    names = tuple(name for block in blocks for name in block[1])
    return x, names, tuple(row for block in blocks for row in block[2])


def _numbers(columns: Sequence[pl.Series], train: npt.NDArray[np.int64]) -> Block:
    """Impute with the median, then standardise."""
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import StandardScaler

    table = np.column_stack([series.to_numpy() for series in columns])
    imputer = SimpleImputer(strategy="median").fit(table[train])
    table = imputer.transform(table)
    scaler = StandardScaler().fit(table[train])
    names = [series.name for series in columns]
    fitted = zip(names, imputer.statistics_.tolist(), scaler.mean_.tolist(), scaler.scale_.tolist(), strict=True)
    preparation = [{"column": c, "kind": "number", "missing": f, "mean": m, "scale": s} for c, f, m, s in fitted]
    return scaler.transform(table).astype(np.float32), names, preparation


def _words(columns: Sequence[pl.Series], train: npt.NDArray[np.int64], max_categories: int | None) -> Block:
    """Impute with the most frequent category, then encode one-hot.

    A category that no training row has counts among the rare ones; without any, it is all 0.
    """
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import OneHotEncoder

    table = np.column_stack([series.to_numpy().astype(object) for series in columns])
    imputer = SimpleImputer(strategy="most_frequent", missing_values=None).fit(table[train])
    table = imputer.transform(table)
    unknown = "ignore" if max_categories is None else "infrequent_if_exist"
    encoder = OneHotEncoder(
        handle_unknown=unknown, max_categories=max_categories, sparse_output=False, dtype=np.float32
    ).fit(table[train])
    rare = [None] * len(columns) if max_categories is None else encoder.infrequent_categories_
    preparation = [
        {"column": series.name, "kind": "category", "missing": fill} | _kept(categories, others)
        for series, fill, categories, others in zip(
            columns, imputer.statistics_.tolist(), encoder.categories_, rare, strict=True
        )
    ]
    names = [
        f"{row['column']}={category}"
        for row in preparation
        for category in row["categories"] + [OTHERS] * bool(row.get("others"))
    ]
    return encoder.transform(table), names, preparation


def _kept(categories: npt.NDArray[Any], rare: npt.NDArray[Any] | None) -> dict[str, Any]:
    """Return the categories that have an input of their own, and how many share one."""
    if rare is None:
        return {"categories": categories.tolist()}
    return {"categories": [word for word in categories.tolist() if word not in set(rare)], "others": len(rare)}


def grouped(preparation: Sequence[dict[str, Any]]) -> list[str]:
    """Return which columns have rare categories that share an input, a sentence each.

    Args:
        preparation: What `encode` returned.

    Returns:
        The sentences.
    """
    return [
        f"{row['column']}: the {row['others']} rarest categories share one input, and {len(row['categories'])} have "
        f"one each (--max-categories)"
        for row in preparation
        if row.get("others")
    ]
