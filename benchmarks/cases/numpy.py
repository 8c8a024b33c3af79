"""Cases on NumPy."""

from __future__ import annotations

from benchmarks.cases.case import Case

_ALL = ("rmsprop", "hand-written", "careful")

CASES = (
    Case(
        name="numpy-small",
        title="one array of 1 M",
        library="numpy",
        contenders=_ALL,
        shapes=((1_000_000,),),
        steps=20,  # in a row, so that all find their arrays in the cache
        rounds=10,
        at_least={"hand-written": 5.0},
        floor=0.85,
    ),
    Case(
        name="numpy",
        title="one array of 20 M",
        library="numpy",
        contenders=_ALL,
        shapes=((20_000_000,),),
        rounds=15,
        at_least={"hand-written": 5.0},
        floor=0.85,
    ),
)
