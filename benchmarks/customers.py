"""``python -m benchmarks.customers``: a made-up table of customers, some of whom leave, as an export might look.

It writes ``customers.csv``, on which docs/churn.md trains, ``new.csv`` with customers who came later, and
``known.csv`` with those again when it is known who has left. No one's data: everything is drawn, always alike.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import click
import numpy as np
import polars as pl

from rmsprop.files import write_atomically

ROWS, NEW_ROWS = 5000, 1000
TARGET = "churn"
_PLANS = {"basic": 19.0, "standard": 35.0, "premium": 59.0}
_PAYMENTS = ("card", "bank transfer", "invoice", "wallet")
_CITIES = tuple("Oslo Bergen Rome Milan Lyon Paris Porto Graz Vienna Ghent Turku Riga Brno Split".split())  # noqa: SIM905
_EXPORTED = date(2026, 6, 30)
# Chosen so that about a fifth of the customers leave.
_OFFSET = -2.5


def customers(rows: int, seed: int) -> pl.DataFrame:
    """Return customers.

    Who leaves depends on the contract's age, on calls to support, on the price for what is used, and on how these meet;
    the rest is chance, so that no model knows it.

    Args:
        rows: How many.
        seed: Decides everything that is drawn.

    Returns:
        The table, most columns as text; 23 of 100 leave.
    """
    random = np.random.default_rng(seed)
    plan = random.choice(len(_PLANS), rows, p=[0.45, 0.35, 0.2])
    months = random.gamma(1.6, 14.0, rows)
    calls = random.poisson(0.8 + 1.2 * (plan == 2))
    usage = random.gamma(2.0, 12.0 + 14.0 * plan)
    idle = random.exponential(9.0, rows)
    satisfaction = np.clip(np.round(4.2 - 0.45 * calls + random.normal(0.0, 0.9, rows)), 1, 5)
    discount = random.choice([0, 5, 10, 20], rows, p=[0.6, 0.15, 0.15, 0.1])
    payment = random.choice(len(_PAYMENTS), rows, p=[0.45, 0.3, 0.15, 0.1])
    price = np.array(list(_PLANS.values()))[plan] * (1.0 - discount / 100.0)
    logit = (
        _OFFSET
        + 1.8 * np.exp(-months / 6.0)
        + 0.7 * np.maximum(calls - 1, 0)
        - 0.8 * (satisfaction - 3.5)
        + 1.5 * (price / (usage + 5.0) > 1.5)
        + 1.4 * (idle > 20.0) * (payment != 0)
        - 0.8 * (discount > 5) * (months > 12.0)
        + 0.5 * (payment == 2)
    )
    leaves = random.random(rows) < 1.0 / (1.0 + np.exp(-logit))
    missing = random.random((2, rows)) < np.array([[0.06], [0.22]])
    return pl.DataFrame(
        {
            "customer_id": [f"C-{number:06}" for number in random.permutation(900_000)[:rows]],
            "signed_up": [(_EXPORTED - timedelta(days=int(30.4 * each))).isoformat() for each in months],
            "plan": np.array(list(_PLANS))[plan],
            "city": random.choice(_CITIES, rows),
            "payment": np.array(_PAYMENTS)[payment],
            "monthly_price": [f"${each:.2f}" for each in price],
            "paid_so_far": [f"${each:,.2f}" for each in price * months],
            "discount": [f"{each} %" for each in discount],
            "gigabytes": np.round(usage, 1),
            "support_calls": calls,
            "days_since_login": _without(np.round(idle), missing[0]),
            "satisfaction": _without(satisfaction, missing[1]),
            TARGET: np.where(leaves, "yes", "no"),
        }
    )


def _without(values: np.ndarray, missing: np.ndarray) -> pl.Series:
    """Return whole numbers with gaps."""
    return pl.Series(values.astype(np.int64)).scatter(np.flatnonzero(missing), None)


def write(folder: Path) -> None:
    """Write the three tables.

    Args:
        folder: Where to.
    """
    known = customers(NEW_ROWS, seed=2)
    tables = {"customers.csv": customers(ROWS, seed=1), "new.csv": known.drop(TARGET), "known.csv": known}
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        write_atomically(folder / name, table.write_csv().encode())


@click.command()
@click.option("--out", default=".", type=click.Path(path_type=Path), show_default=True, help="Where to write.")
def main(out: Path) -> None:
    """Write customers.csv, new.csv and known.csv."""
    write(out)
    click.echo(f"written to {out}: customers.csv ({ROWS:,} rows), new.csv and known.csv ({NEW_ROWS:,})")


if __name__ == "__main__":
    main()
