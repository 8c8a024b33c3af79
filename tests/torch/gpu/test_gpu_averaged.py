"""`ScheduleFreeRMSprop` on a GPU: the bits of the CPU's kernel, and a skipped step that the average doesn't count."""

import math

import pytest
import torch
from schedule_free import all_params, optimizer_of

from rmsprop.torch import device as devices

SHAPES = ((40, 33), (2500,), (), (0,))


def steps(where, dtype=torch.float32, bad=None, count=4, scaled=False, **options):
    """Parameters and state after some steps, the groups' progress, and what updates each."""
    random = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=random).to(where, dtype).requires_grad_() for shape in SHAPES]
    optimizer = optimizer_of(start, **options)
    for step in range(count):
        for param in start:
            param.grad = torch.randn(param.shape, generator=random).to(where, dtype)
        if step == bad:
            start[0].grad[1, 2] = math.nan
        if scaled:
            optimizer.grad_scale, optimizer.found_inf = (
                torch.tensor(number, device=where) for number in (4.0, float(step == bad))
            )
        optimizer.step()
    paths, state = optimizer.paths(), [value for param in start for value in optimizer.state[param].values()]
    progress = [optimizer.param_groups[0][name] for name in ("k", "lr_max", "weight_sum")]
    optimizer.eval()
    return [value.detach().cpu().clone() for value in (*all_params(optimizer), *state)], progress, paths


OPTIONS = {
    "plain": {},
    "decay": {"weight_decay": 0.1, "warmup_steps": 3, "r": 0.5},
    "a large epsilon": {"eps": 1e-3, "beta": 0.98},
    "limited": {"max_update_rms": 0.5, "max_grad_ratio": 0.1, "maximize": True},
    "a step that is skipped": {"max_grad_norm": 1.5, "bad": 1},
    "a step that a scaler skips": {"scaled": True, "bad": 1},
}
STORED = {
    "float32": {},
    "float64": {"dtype": torch.float64},
    "by chance": {"dtype": torch.bfloat16, "rounding": "stochastic", "seed": 5},
    "kahan": {"dtype": torch.float16, "rounding": "kahan"},
}


# Where steps are counted on the device, the gain of a bias correction is computed there, which float64 shows.
CASES = {
    f"{how}, {name}": stored | options
    for how, stored in STORED.items()
    for name, options in OPTIONS.items()
    if how != "float64" or "bad" not in options
}


@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_averages_have_the_bits_of_the_cpu(options, device, monkeypatch):
    found, progress, paths = steps(device, fused=True, **options)
    with monkeypatch.context() as patch:
        patch.setattr(devices, "DEVICE_TYPES", set())
        expected, counted, _ = steps("cpu", fused=True, **options)
    assert set(paths.values()) == {"kernel (triton)"}
    assert progress == counted
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs.to(ours.dtype), rtol=0, atol=0)
