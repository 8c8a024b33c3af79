"""Cases on PyTorch: plain, dense tensors that all take every step, against all that torch has."""

from __future__ import annotations

from benchmarks.cases.case import Case, Limit
from benchmarks.cases.shapes import MLP, resnet50

_ALL = ("rmsprop", "for-loop", "foreach", "compiled", "adagrad", "adam")
_AND_COMPOSITE = (*_ALL, "composite")
_COMPOSITE = Limit(1.0, of="foreach", who="composite")
# Fewer bytes are to take less time, though numbers must be packed.
_PACKED = ("rmsprop", "bfloat16-state", "8bit-state")
# Against the package that schedule-free training comes from.
_AVERAGED = ("rmsprop", "schedule-free", "adamw-schedule-free")
_AVERAGED_FASTER = (Limit(1 / 3, of="adamw-schedule-free", who="schedule-free"),)
_FASTER = (Limit(1.0, of="rmsprop", who="bfloat16-state"), Limit(1.0, of="rmsprop", who="8bit-state"))

CASES = (
    Case(
        name="one-tensor",
        title="one tensor of 20 M",
        contenders=_AND_COMPOSITE,
        shapes=((20_000_000,),),
        at_least={"for-loop": 8.0},
        limits=(_COMPOSITE,),
        floor=0.9,
    ),
    Case(
        name="resnet",
        title="161 tensors, ResNet-50, 25.6 M",
        contenders=_AND_COMPOSITE,
        shapes=resnet50(64),
        at_least={"for-loop": 5.0, "adagrad": 1.5},
        limits=(_COMPOSITE,),
        floor=0.85,
    ),
    Case(
        name="narrow-resnet",
        title="161 tensors, narrower ResNet-50, 8.6 M",
        contenders=_ALL,
        shapes=resnet50(36),
        rounds=40,
        at_least={"for-loop": 5.0, "adagrad": 1.5},
        floor=0.85,
    ),
    Case(
        name="many",
        title="1000 tensors of 100",
        contenders=_AND_COMPOSITE,
        shapes=((100,),) * 1000,
        steps=100,  # in a row, as in the case below: the first after other work takes four times as long, the tenth 1.1
        rounds=5,
        placements=3,
        at_least={"for-loop": 30.0},
        limits=(Limit(350), _COMPOSITE),
    ),
    Case(
        name="mlp",
        title="MLP 64–64–64–10: 6 tensors, 9 k",
        contenders=_ALL,
        shapes=MLP,
        steps=200,
        placements=3,
        at_least={"for-loop": 5.0},
        limits=(Limit(14),),
    ),
    Case(
        name="all-options",
        title="momentum, centered, decay: 20 M",
        contenders=_AND_COMPOSITE,
        shapes=((20_000_000,),),
        options={"momentum": 0.9, "centered": True, "weight_decay": 1e-4},
        adam_options={"amsgrad": True, "weight_decay": 1e-4},
        arrays=5,
        rounds=15,  # of half a second each
        at_least={"for-loop": 12.0},
        limits=(_COMPOSITE,),
        floor=0.85,
    ),
    Case(
        name="packed-state",
        title="state in 16 and 8 bits: 20 M",
        contenders=_PACKED,
        shapes=((20_000_000,),),
        limits=_FASTER,
    ),
    Case(
        name="packed-resnet",
        title="state in 16 and 8 bits: ResNet-50, 25.6 M",
        contenders=_PACKED,
        shapes=resnet50(64),
        limits=_FASTER,
    ),
    Case(
        name="schedule-free",
        title="schedule-free: 20 M",
        contenders=_AVERAGED,
        shapes=((20_000_000,),),
        limits=_AVERAGED_FASTER,
    ),
    Case(
        name="schedule-free-resnet",
        title="schedule-free: ResNet-50, 25.6 M",
        contenders=_AVERAGED,
        shapes=resnet50(64),
        rounds=15,  # of seconds each, for who makes temporaries
        limits=_AVERAGED_FASTER,
    ),
)
