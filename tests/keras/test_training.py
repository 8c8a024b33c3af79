"""Optimizers inside models: compile, fit, precision policies, files."""

import keras
import numpy as np
import pytest

from rmsprop.keras import RMSprop

RANDOM = np.random.default_rng(0)
X, Y = RANDOM.standard_normal((32, 4)).astype(np.float32), RANDOM.standard_normal((32, 1)).astype(np.float32)
PLAIN, DECAYED = {}, {"momentum": 0.9, "weight_decay": 0.01}
ALL_AT_ONCE = {"centered": True, "momentum": 0.5, "use_ema": True, "gradient_accumulation_steps": 2}
FITS = [(PLAIN, {}), (ALL_AT_ONCE, {}), (DECAYED, {"run_eagerly": True})]
if keras.backend.backend() != "torch":  # which would compile a step with a C++ compiler, for half a minute
    FITS.append((DECAYED, {"jit_compile": True}))


def model_with(optimizer, **compilation):
    start = keras.initializers.RandomNormal(seed=1)
    layers = [keras.layers.Dense(8, "tanh", kernel_initializer=start), keras.layers.Dense(1, kernel_initializer=start)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(optimizer, "mse", **compilation)
    return model


def fit(model, epochs=1):
    model.fit(X, Y, batch_size=8, epochs=epochs, shuffle=False, verbose=0)
    return np.concatenate([np.ravel(weight) for weight in model.get_weights()])


@pytest.mark.parametrize(("options", "compilation"), FITS)
def test_fit_is_the_fit_of_keras(options, compilation):
    # 4 updates of about lr = 0.01 in float32; the variance of Keras is a difference, good to some 1e-5.
    theirs = fit(model_with(keras.optimizers.RMSprop(0.01, **options), **compilation))
    ours = fit(model_with(RMSprop(0.01, **options), **compilation))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 if not options.get("centered") else 1e-4)


def test_learning_rate_schedules_and_callbacks():
    schedule = keras.optimizers.schedules.CosineDecay(0.02, 8)
    ours, theirs = model_with(RMSprop(schedule)), model_with(keras.optimizers.RMSprop(schedule))
    np.testing.assert_allclose(fit(ours), fit(theirs), rtol=0, atol=1e-6)
    model = model_with(RMSprop(0.5))
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, lr: lr / 2)
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[halve])
    assert model.optimizer.get_config()["learning_rate"] == 0.125


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "bfloat16"])
def test_precision_policies(policy):
    keras.config.set_dtype_policy(policy)
    try:
        model = model_with(RMSprop(0.01, momentum=0.5))
        before = model.evaluate(X, Y, verbose=0)
        fit(model, epochs=10)
    finally:
        keras.config.set_dtype_policy("float32")
    optimizer = model.optimizer
    if policy == "mixed_float16":
        assert isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        optimizer = optimizer.inner_optimizer
    state = [variable for variable in optimizer.variables if variable.path.endswith(("velocity", "momentum"))]
    assert len(state) == 8
    assert {keras.backend.standardize_dtype(variable.dtype) for variable in state} == {"float32"}
    assert model.evaluate(X, Y, verbose=0) < 0.9 * before


def test_an_infinite_gradient_under_a_loss_scale_changes_nothing(array):
    variable = keras.Variable(np.ones(3, np.float32))
    optimizer = keras.optimizers.LossScaleOptimizer(RMSprop(0.5), initial_scale=2.0)
    optimizer.build([variable])
    grad = keras.ops.convert_to_tensor(np.array([1.0, np.inf, 1.0], np.float32))
    if keras.backend.backend() == "jax":  # its loss scaling is stateless only
        state = [variable.value for variable in optimizer.variables]
        (value,), _ = optimizer.stateless_apply(state, [grad], [variable.value])
    else:
        optimizer.apply([grad], [variable])
        value = variable.value
    np.testing.assert_array_equal(array(value), np.ones(3))


@pytest.mark.parametrize(
    ("options", "wrapped"),
    [
        (DECAYED, False),
        ({"centered": True, "momentum": 0.5, "gradient_accumulation_steps": 3}, False),
        ({"centered": True, "bias_correction": True, "dialect": "timm"}, True),
    ],
)
def test_a_saved_run_continues_to_the_same_numbers(options, wrapped, tmp_path):
    optimizer = RMSprop(0.01, **options)
    model = model_with(keras.optimizers.LossScaleOptimizer(optimizer) if wrapped else optimizer)
    fit(model)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    loaded = again.optimizer.inner_optimizer if wrapped else again.optimizer
    assert type(loaded) is RMSprop
    assert loaded.rule == optimizer.rule
    np.testing.assert_array_equal(fit(again), fit(model))
