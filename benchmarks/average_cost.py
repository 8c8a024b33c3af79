"""What torch's averages of the weights cost beside a step of RMSProp: processor time, and the memory that moves.

    python -m benchmarks.average_cost > benchmarks/results/<date>-<machine>-averages/average_cost.txt

One thread; of several repetitions in turn the fastest, because what disturbs only adds. docs/averaging.md quotes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from rmsprop.torch import RMSprop

REPETITIONS = 30
# Name -> shapes of the parameters.
MODELS = {
    "20 million in 20 tensors": [(1000, 1000)] * 20,
    "20 million in 160 tensors": [(125_000,)] * 160,
    "1 million in 500 tensors": [(2000,)] * 500,
}


def seconds(call: Callable[[], object]) -> float:
    """Return the processor time of one call."""
    before = time.process_time()
    call()
    return time.process_time() - before


def costs(shapes: list[tuple[int, ...]]) -> dict[str, float]:
    """Return the processor time of a step, of an EMA by AveragedModel, and of its arithmetic alone."""
    model = nn.ParameterList(nn.Parameter(torch.randn(shape)) for shape in shapes)
    parameters = list(model.parameters())
    for parameter in parameters:
        parameter.grad = torch.randn_like(parameter)
    optimizer = RMSprop(parameters, lr=1e-3)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.999))
    theirs = [parameter.detach() for parameter in averaged.module.parameters()]
    ours = [parameter.detach() for parameter in parameters]
    calls: dict[str, Callable[[], object]] = {
        "step": optimizer.step,
        "average": lambda: averaged.update_parameters(model),
        "lerp": lambda: torch._foreach_lerp_(theirs, ours, 1e-3),
    }
    for call in calls.values():
        call()
    rounds = [{name: seconds(call) for name, call in calls.items()} for _ in range(REPETITIONS)]
    return {name: min(each[name] for each in rounds) for name in calls}


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    print("RMSProp moves 20 bytes per parameter (p, g, v read; p, v written), an EMA 12 (p, e read; e written);")
    print("in the step's own pass p is in the cache, so an EMA would move 8: 28 instead of 32.")
    for name, shapes in MODELS.items():
        found = costs(shapes)
        step, average, lerp = (1e3 * found[part] for part in ("step", "average", "lerp"))
        share = f"{100 * average / step:.0f} % of the step, of which the arithmetic {lerp:.2f} ms"
        print(f"{name}: step {step:.2f} ms, AveragedModel.update_parameters {average:.2f} ms, {share}")


if __name__ == "__main__":
    main()
