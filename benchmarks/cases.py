"""What is measured: each case is a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

Shapes = tuple[tuple[int, ...], ...]
# OpenMP's threads spin for some milliseconds after their work.
_ASLEEP = 0.02
LIBRARIES = {"torch": "PyTorch", "numpy": "NumPy", "jax": "JAX"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """Arrays to update, options of the optimizer, how often to measure and what to reach.

    Args:
        name: A short key.
        title: What a reader sees.
        library: Whose arrays they are: a key of `LIBRARIES`. Default ``"torch"``.
        shapes: The parameters' shapes.
        options: Options of RMSprop beside the learning rate.
        adam_options: What makes Adam move as many bytes as it can be made to, beside the learning rate.
        arrays: Arrays per parameter, gradient included; all but the gradient are read and written.
        steps: Steps per round, timed together. Default 1.
        rounds: Rounds per placement in memory. Default 25.
        placements: How often all arrays move to fresh memory, lest one lucky set of pages decide. Default 5.
        pause: Seconds before each turn, for contenders with threads of their own: those of the turn before still spin
            on the processors for a while. Default 0.
        at_least: The contender to be faster than -> how many times.
        floor: The fraction of the memory's speed to reach; None for cases too small to be bound by it. Default None.
    """

    name: str
    title: str
    library: str = "torch"
    shapes: Shapes
    options: Mapping[str, Any] = field(default_factory=dict)
    adam_options: Mapping[str, Any] = field(default_factory=dict)
    arrays: int = 3
    steps: int = 1
    rounds: int = 25
    placements: int = 5
    pause: float = 0.0
    at_least: Mapping[str, float] = field(default_factory=dict)
    floor: float | None = None

    @property
    def heading(self) -> str:
        """The title with its library."""
        return f"{LIBRARIES[self.library]}: {self.title}"

    @property
    def parameters(self) -> int:
        """The number of parameters."""
        return sum(map(prod, self.shapes))

    @property
    def bytes_per_step(self) -> int:
        """What one step of RMSprop must read and write, in bytes."""
        return 4 * self.parameters * (2 * self.arrays - 1)

    def quick(self) -> Case:
        """Return the case in a size that takes no time, to see that the benchmarks run."""
        smaller = tuple((min(shape[0], 64), *shape[1:]) for shape in self.shapes[:12])
        return replace(self, shapes=smaller, steps=min(self.steps, 2), rounds=3, placements=2, pause=0.0)


def resnet50(width: int) -> Shapes:
    """Return the shapes of a ResNet-50's 161 parameters.

    Args:
        width: Channels of the first stage; 64 in the original (He et al., arXiv 1512.03385).
    """
    shapes: list[tuple[int, ...]] = [(width, 3, 7, 7), (width,), (width,)]
    channels = width
    for stage, blocks in enumerate((3, 4, 6, 3)):
        inner = width * 2**stage
        for block in range(blocks):
            convolutions = [(inner, channels, 1, 1), (inner, inner, 3, 3), (4 * inner, inner, 1, 1)]
            if block == 0:
                convolutions.append((4 * inner, channels, 1, 1))
            for shape in convolutions:
                shapes += [shape, shape[:1], shape[:1]]  # the convolution, the scale and shift of its batch norm
            channels = 4 * inner
    return (*shapes, (1000, channels), (1000,))


CASES = (
    Case(
        name="one-tensor",
        title="one tensor of 20 M",
        shapes=((20_000_000,),),
        at_least={"for-loop": 8.0},
        floor=0.9,
    ),
    Case(
        name="resnet",
        title="161 tensors, ResNet-50, 25.6 M",
        shapes=resnet50(64),
        at_least={"for-loop": 5.0, "adagrad": 1.5},
        floor=0.85,
    ),
    Case(
        name="narrow-resnet",
        title="161 tensors, narrower ResNet-50, 8.6 M",
        shapes=resnet50(36),
        rounds=40,
        at_least={"for-loop": 5.0, "adagrad": 1.5},
        floor=0.85,
    ),
    Case(
        name="many",
        title="1000 tensors of 100",
        shapes=((100,),) * 1000,
        steps=40,  # in a row, as in the case below; the first after other work takes two to three times as long
        rounds=8,
        placements=3,
        at_least={"for-loop": 30.0},
    ),
    Case(
        name="mlp",
        title="MLP 64–64–64–10: 6 tensors, 9 k",
        shapes=((64, 64), (64,), (64, 64), (64,), (10, 64), (10,)),
        steps=200,
        placements=3,
        at_least={"for-loop": 5.0},
    ),
    Case(
        name="all-options",
        title="momentum, centered, decay: 20 M",
        shapes=((20_000_000,),),
        options={"momentum": 0.9, "centered": True, "weight_decay": 1e-4},
        adam_options={"amsgrad": True, "weight_decay": 1e-4},
        arrays=5,
        at_least={"for-loop": 12.0},
        floor=0.85,
    ),
    Case(
        name="numpy-small",
        title="one array of 1 M",
        library="numpy",
        pause=_ASLEEP,
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
        pause=_ASLEEP,
        shapes=((20_000_000,),),
        rounds=15,
        at_least={"hand-written": 5.0},
        floor=0.85,
    ),
    *(
        Case(
            name=f"jax-{name}{suffix}",
            title=f"{title}{with_options}",
            library="jax",
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
    ),
)
