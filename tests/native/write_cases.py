"""Writes what driver.cpp runs: updates by every rule in every storage type, with what the specification makes of them.

Run as ``python tests/native/write_cases.py FILE``.
"""

import math
import struct
import sys
from pathlib import Path

import ml_dtypes
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from support import ALL_RULES, BOUNDARY_RULES, VARIANT_RULES, wild_gradients

from rmsprop import Rule, layout, reference, update_numbers
from rmsprop.averaging import AveragedStep, AverageProgress, moved
from rmsprop.storage import working_dtype

DTYPES = {"float32": np.float32, "float64": np.float64, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
COLUMNS = (("square_avg", "grad_var"), ("grad_avg",), ("momentum_buffer",))
RULES = [*ALL_RULES, *BOUNDARY_RULES * 5]
LARGE = 600_011  # enough for the library's threads to divide
LR, STEP, GRAD_SCALE = 0.01, 3, 0.7
# The largest magnitude of a gradient's element, and what quotients are multiplied with.
NO_LIMITS = (math.inf, 1.0)
LIMITS = [(0.25, 1.0), (math.inf, 0.6), (1e-3, 0.6)]
# Schedule-free steps, which average: without weight decay and with it.
AVERAGED = [AveragedStep(LR, 0.003, 0.3, decay, AverageProgress()) for decay in (0.0, 0.2)]


def packed(rule, max_grad, update_scale, step=STEP, averaged=None):
    """Return the struct `rmsprop_rule`, of an ascent."""
    options = {"max_grad": max_grad, "limits_update": update_scale != 1.0}
    if averaged:
        options["averaged"] = (averaged.share, averaged.average_lr, averaged.weight_decay)
    numbers = update_numbers.numbers_of(rule, LR, step, maximize=True, grad_scale=GRAD_SCALE, **options)
    return bytes(layout.RuleStruct(**{name: numbers[name] for name in layout.NUMBERS}))


def rows(arrays):
    """Return arrays, their number first and before each its size."""
    return b"".join(
        [struct.pack("<i", len(arrays)), *(struct.pack("<q", len(each)) + each for each in map(bytes_of, arrays))]
    )


def bytes_of(array):
    return b"" if array is None else array.tobytes()


def columns(state):
    """Return state in the order of the kernel's tables, None where the rule has none."""
    return [next((state[name] for name in names if name in state), None) for names in COLUMNS]


def _averages(rng, size):
    """Return averages, some of which have met an infinite gradient, and some no gradient but 0."""
    special = rng.choice([np.inf, 0.0, 0.0], size)
    return np.where(rng.random(size) < 0.3, special, np.abs(rng.standard_normal(size)))


def _updated(rule, param, grad, state, max_grad, update_scale, step=STEP):
    """Return what the specification makes of an update within limits."""
    work = np.dtype(working_dtype(param.dtype.name)).type
    with np.errstate(all="ignore"):
        limited = np.clip(grad.astype(work) * work(-GRAD_SCALE), -max_grad, max_grad)
        new, state = reference.apply(
            rule, LR, step, param.astype(work), limited, state, np, lambda u: work(update_scale) * u
        )
        return new.astype(param.dtype), state


def _start(rng, rule, name, size):
    """Return a parameter, a gradient and state."""
    dtype = DTYPES[name]
    with np.errstate(all="ignore"):
        values, grad = rng.standard_normal(size), wild_gradients(rng, size).astype(dtype)
        values[::3] *= 1e-30  # so small that products vanish, and zeros of both signs in float16
        param = values.astype(dtype)
    state = reference.init(rule, param)
    return param, grad, {key: value + _averages(rng, size).astype(value.dtype) for key, value in state.items()}


def case(rng, rule, name, size, limits=NO_LIMITS, step=STEP):
    """Return one update, as driver.cpp reads it."""
    param, grad, state = _start(rng, rule, name, size)
    new, new_state = _updated(rule, param, grad, state, *limits, step)
    head = packed(rule, *limits, step) + struct.pack("<diq", limits[1], layout.DTYPES[name], size)
    return head + rows([param, grad, *columns(state)]) + rows([new, *columns(new_state)])


def averaged_case(rng, rule, name, size, numbers):
    """Return one schedule-free update, whose iterate stands where momentum would."""
    param, grad, state = _start(rng, rule, name, size)
    work = np.dtype(working_dtype(param.dtype.name)).type
    z = rng.standard_normal(size).astype(work)
    with np.errstate(all="ignore"):
        u, new_state = reference.change(rule, 1.0, STEP, grad.astype(work) * work(-GRAD_SCALE), state, np)
        y, new_z = moved(numbers, param.astype(work), z, u)
        new = y.astype(param.dtype)
    head = packed(rule, *NO_LIMITS, averaged=numbers) + struct.pack("<diq", 1.0, layout.DTYPES[name], size)
    before, after = ({**each, "momentum_buffer": of_z} for each, of_z in ((state, z), (new_state, new_z)))
    return head + rows([param, grad, *columns(before)]) + rows([new, *columns(after)])


def main(path):
    """Write the file."""
    rng = np.random.default_rng(0)
    cases = [case(rng, rule, name, size) for rule in RULES for name, size in zip(DTYPES, (83, 31, 66, 5), strict=True)]
    cases += [case(rng, rule, name, 37, limits) for rule in ALL_RULES[::5] for limits in LIMITS for name in DTYPES]
    cases += [case(rng, rule, name, 37, step=1) for rule in VARIANT_RULES for name in DTYPES]
    averaged = (Rule(), Rule(decay=0.3), Rule(bias_correction=True, eps=1e-3, eps_inside_sqrt=True))
    cases += [averaged_case(rng, rule, name, 37, of) for rule in averaged for of in AVERAGED for name in DTYPES]
    cases += [case(rng, ALL_RULES[-1], name, LARGE) for name in DTYPES]
    Path(path).write_bytes(struct.pack("<q", len(cases)) + b"".join(cases))


if __name__ == "__main__":
    main(sys.argv[1])
