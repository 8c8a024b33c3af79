"""Cases on Keras, each backend in a process of its own."""

from __future__ import annotations

from benchmarks.cases.case import Case, Limit

CASES = tuple(
    Case(
        name=f"keras-{backend}-{name}",
        title=title,
        library=f"keras-{backend}",
        contenders=("rmsprop", "keras", *without),
        situation=step,
        shapes=((1024, 1024),) * 8,
        rounds=15,
        placements=2,
        limits=(Limit(most, of="keras"),),
    )
    for backend, most in (("torch", 0.2), ("tensorflow", 1.0))
    for name, title, step, without in (
        ("apply", "apply, 8 × 1024²", "apply", ()),
        # Forward and backward take time too; where nothing is updated, XLA leaves backward out.
        ("train", "train_on_batch, 8 layers, 8.4 M", "train_on_batch", ("none",) if backend == "torch" else ()),
    )
)
