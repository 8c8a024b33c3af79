"""Cases on JAX."""

from __future__ import annotations

from benchmarks.cases.case import Case
from benchmarks.cases.shapes import resnet50

CASES = tuple(
    Case(
        name=f"jax-{name}{suffix}",
        title=f"{title}{with_options}",
        library="jax",
        contenders=("rmsprop", "optax"),
        shapes=shapes,
        options=options,
        arrays=arrays,
        rounds=15,
        placements=3,
        at_least={"optax": 1 / 1.05},
    )
    for name, title, shapes in (
        ("one-array", "one array of 20 M", ((20_000_000,),)),
        ("resnet", "ResNet-50, 25.6 M", resnet50(64)),
    )
    for suffix, with_options, options, arrays in (
        ("", "", {}, 3),
        ("-options", ", momentum, centered", {"momentum": 0.9, "centered": True}, 5),
    )
)
