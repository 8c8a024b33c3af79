"""Cases on PyTorch that are out of the ordinary, each against rmsprop's own ordinary case of the same size.

``"ordinary"`` is rmsprop on plain tensors of the same shapes that all have gradients, with constant options.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.cases.case import Case, Limit, Shapes
from benchmarks.cases.shapes import resnet50, transformer

_SMALL: Shapes = ((300,),) * 161


def _case(name: str, title: str, shapes: Shapes, limits: tuple[Limit, ...], **others: Any) -> Case:
    given: Mapping[str, Any] = {"steps": 20, "rounds": 10, "placements": 3, "contenders": _ORDINARY, **others}
    return Case(name=name, title=title, situation=name, shapes=shapes, limits=limits, **given)


_ORDINARY = ("rmsprop", "ordinary", "for-loop", "foreach")
# Rounding at random may cost a tenth of a step.
_IN_BFLOAT16: Mapping[str, Any] = {
    "contenders": ("rmsprop", "ordinary", "stochastic", "kahan", "for-loop", "foreach"),
    "limits": (Limit(1.1, of="rmsprop", who="stochastic"),),
    "steps": 1,
    "rounds": 25,
    "placements": 5,
}


CASES = (
    _case(
        "dtensor",
        "DTensor: 82 tensors, a small transformer",
        transformer(48, blocks=5, tokens=300),
        (Limit(200), Limit(1.5, of="ordinary")),
        steps=10,
    ),
    _case(
        "dtensor-large",
        "DTensor: 18 tensors of 8.4 M",
        ((2048, 4096),) * 18,
        (Limit(1.5, of="ordinary"),),
        steps=1,
        placements=1,  # 2 GB are fresh memory enough
    ),
    _case("subclass", "160 tensors of a subclass of Parameter", _SMALL[:160], (Limit(1.2, of="ordinary"),)),
    _case("gap", "161 tensors, one with gaps in memory", _SMALL, (Limit(1.5, of="ordinary"),)),
    _case("shared", "161 tensors, two of the same memory", _SMALL, (Limit(1.5, of="ordinary"),)),
    _case("turns", "402 tensors, another random half each step", ((300,),) * 402, (Limit(500),)),
    _case(
        "momentum",
        "1000 tensors of 100, another momentum each step",
        ((100,),) * 1000,
        (Limit(1.2, of="ordinary"),),
        options={"momentum": 0.9},
    ),
    _case("bfloat16", "bfloat16: one tensor of 20 M", ((20_000_000,),), **_IN_BFLOAT16),
    _case("bfloat16-resnet", "bfloat16: 161 tensors, ResNet-50, 25.6 M", resnet50(64), **_IN_BFLOAT16),
    _case("none", "161 tensors, half without gradients every other step", _SMALL, (Limit(300),)),
    _case(
        "rows",
        "a table of 1 M × 64, sparse gradients of 4,096 rows",
        ((1_000_000, 64),),
        (Limit(1 / 150, of="ordinary"),),
        contenders=("rmsprop", "ordinary"),  # torch's optimizers take no sparse gradients
        placements=2,  # 1 GB is fresh memory enough
    ),
)
