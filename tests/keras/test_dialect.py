"""The keras dialect against the real keras.optimizers.RMSprop, in float64."""

import keras
import numpy as np
import pytest

from rmsprop import Rule
from rmsprop.keras import RMSprop
from rmsprop.keras.optimizer import KEYWORDS

pytestmark = pytest.mark.usefixtures("float64")

STEPS = 12
CASES = {
    "defaults": {},
    "rho and epsilon": {"rho": 0.99, "epsilon": 1e-3},
    "momentum": {"momentum": 0.9},
    "centered": {"centered": True},
    "centered with momentum": {"centered": True, "momentum": 0.5, "rho": 0.6},
    "weight decay": {"weight_decay": 0.1},
    "everything": {"rho": 0.95, "momentum": 0.8, "epsilon": 1e-5, "centered": True, "weight_decay": 0.01},
}
# Powers of two: 1 − λ·lr is then exact in float32 (see `keras_decay_rounding`).
EXACT_LRS = 2.0 ** -np.array([7, 7, 8, 8, 9, 10, 10, 6, 5, 8, 9, 7])
LRS = {
    "default": None,
    "constant": np.full(STEPS, 0.01),
    "changing": 0.03 * 0.8 ** np.arange(STEPS),
}


def rule_of(options):
    fields = {keyword: field for field, keyword in KEYWORDS.items()}
    return Rule.from_dialect("keras", **{fields[keyword]: value for keyword, value in options.items()})


def inputs(scale):
    """Gradients that keep their sign, so that parameters which start at 0 move one way and no sum cancels."""
    rng = np.random.default_rng(3)
    return np.zeros(50), scale * rng.choice([-1.0, 1.0], 50) * rng.lognormal(size=(STEPS, 50))


def rounded(lrs):
    """What Keras makes of learning rates: its variable for them is float32."""
    return (np.full(STEPS, 1e-3) if lrs is None else lrs).astype(np.float32).astype(float)


def keras_decay_rounding(options, lrs):
    """How far Keras' own roundings of the decoupled weight decay can take a parameter, relative to it.

    On TensorFlow λ goes through float32, which changes it by at most 2⁻²⁵ of itself; on torch the parameter is
    multiplied by 1 − λ·lr in float32, half a unit in its last place being 2⁻²⁵. JAX computes in float64.
    """
    decay = options.get("weight_decay", 0.0) * rounded(lrs)
    return {"tensorflow": 2.0**-25 * decay.sum(), "torch": STEPS * 2.0**-25 * (decay.max() > 0), "jax": 0.0}[
        keras.backend.backend()
    ]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("lrs", LRS)
@pytest.mark.parametrize("options", CASES)
def test_trajectories(options, lrs, scale, follow, oracle):
    # In float64 the two orders of operations differ by some roundings per step, amplified by v/(v − m²), which is below
    # 100 here, and by 1/(1 − μ): 12 steps stay below 1e-12.
    options, lrs = CASES[options], LRS[lrs]
    start, grads = inputs(scale)
    theirs = follow(keras.optimizers.RMSprop(**options), start, grads, lrs)
    ours = follow(RMSprop(**options), start, grads, lrs)
    tolerance = 1e-12 + keras_decay_rounding(options, lrs)
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=0)
    np.testing.assert_allclose(oracle(rule_of(options), start, grads, rounded(lrs)), theirs, rtol=tolerance, atol=0)
    assert np.abs(theirs[-1]).min() > 0


@pytest.mark.parametrize("options", ["weight decay", "everything"])
def test_weight_decay_where_keras_does_not_round_it(options, follow, oracle):
    options = {**CASES[options], "weight_decay": 2.0**-3}
    start, grads = inputs(1.0)
    theirs = follow(keras.optimizers.RMSprop(**options), start, grads, EXACT_LRS)
    np.testing.assert_allclose(follow(RMSprop(**options), start, grads, EXACT_LRS), theirs, rtol=1e-12, atol=0)
    np.testing.assert_allclose(oracle(rule_of(options), start, grads, EXACT_LRS), theirs, rtol=1e-12, atol=0)


def test_ours_is_the_reference_even_where_keras_rounds(follow, oracle):
    options = CASES["everything"]
    start, grads = inputs(1.0)
    lrs = LRS["changing"]
    ours = follow(RMSprop(**options), start, grads, lrs)
    np.testing.assert_allclose(ours, oracle(rule_of(options), start, grads, rounded(lrs)), rtol=1e-14, atol=0)


def test_with_floatx_float64_the_learning_rate_is_not_rounded(follow, oracle):
    start, grads = inputs(1.0)
    keras.config.set_floatx("float64")
    try:
        theirs = follow(keras.optimizers.RMSprop(0.01), start, grads)
        ours = follow(RMSprop(0.01), start, grads)
    finally:
        keras.config.set_floatx("float32")
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=0)
    np.testing.assert_allclose(oracle(rule_of({}), start, grads, LRS["constant"]), theirs, rtol=1e-12, atol=0)


def test_a_schedule_object(follow):
    start, grads = inputs(1.0)

    def schedule():
        return keras.optimizers.schedules.PiecewiseConstantDecay([3, 7], [0.1, 0.01, 0.001])

    theirs = follow(keras.optimizers.RMSprop(schedule(), momentum=0.9), start, grads)
    ours = follow(RMSprop(schedule(), momentum=0.9), start, grads)
    np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=0)


@pytest.mark.parametrize("options", CASES)
def test_state_has_the_names_the_order_and_the_values_of_keras(options, array):
    options = CASES[options]
    start, grads = inputs(1.0)
    theirs, ours = keras.optimizers.RMSprop(**options, name="o"), RMSprop(**options, name="o")
    for optimizer in (theirs, ours):
        variables = [keras.Variable(start, dtype="float64", name=name) for name in "ab"]
        for grad in grads:
            optimizer.apply([keras.ops.convert_to_tensor(grad), keras.ops.convert_to_tensor(-grad)], variables)
    # v, the mean and the buffer hold no parameter, so weight decay is not in them.
    for mine, real in zip(ours.variables, theirs.variables, strict=True):
        if mine.path.endswith("_variance"):
            assert real.path == mine.path.replace("_variance", "_velocity")
            continue
        assert mine.path == real.path
        np.testing.assert_allclose(array(mine), array(real), rtol=1e-12, atol=0)
