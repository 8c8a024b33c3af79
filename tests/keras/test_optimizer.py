"""What the optimizer is told, what it refuses, and that it computes the rule that it was told."""

import dataclasses
import importlib.util
import inspect
import json
import sys

import keras
import numpy as np
import pytest
from support import ALL_RULES, TracedFloat

import rmsprop.keras
from rmsprop import DIALECTS, Rule, reference
from rmsprop.keras import RMSprop
from rmsprop.keras.optimizer import KEYWORDS

START = np.linspace(-1, 2, 7)


def gradients(steps, size=7, dtype=np.float64):
    return np.random.default_rng(5).standard_normal((steps, size)).astype(dtype)


def options_of(rule):
    return {keyword: getattr(rule, field) for field, keyword in KEYWORDS.items()}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("rule", ALL_RULES[::5], ids=str)  # 5 divides no axis of it, so every option is met
def test_every_rule_is_the_reference(rule, follow, oracle):
    # The same operations in the same order in float64; only √ and ρᵗ may round differently.
    grads, lrs = gradients(3), np.array([0.5, 0.25, 0.125])
    ours = follow(RMSprop(1.0, **options_of(rule)), START, grads, lrs)
    np.testing.assert_allclose(ours, oracle(rule, START, grads, lrs), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_float32_differs_from_the_reference_by_roundings(momentum, centered, follow, oracle):
    # 30 steps of at most about 3·lr, each with a handful of roundings of 2⁻²⁴, on parameters below 2 in magnitude.
    rule = Rule(decay=0.9, momentum=momentum, centered=centered)
    grads, start = gradients(30, dtype=np.float32), START.astype(np.float32)
    ours = follow(RMSprop(2.0**-7, **options_of(rule)), start, grads)
    np.testing.assert_allclose(ours, oracle(rule, start, grads, np.full(30, 2.0**-7)), rtol=0, atol=30 * 2.0**-23)


@pytest.mark.parametrize("rho", [0.9, 0.999])
def test_bias_correction_in_float32(rho, follow, oracle):
    # A dozen roundings of 2⁻²⁴ per step, on a path of 10 steps of which none is longer than lr·√t.
    rule = Rule(decay=rho, bias_correction=True)
    grads, start = gradients(10, dtype=np.float32), np.zeros(7, np.float32)
    ours = follow(RMSprop(2.0**-7, **options_of(rule)), start, grads)
    tolerance = 12 * 2.0**-24 * 10 * 2.0**-7 * np.sqrt(10)
    np.testing.assert_allclose(ours, oracle(rule, start, grads, np.full(10, 2.0**-7)), rtol=0, atol=tolerance)


def test_arguments_are_those_of_keras_in_its_order():
    theirs = [name for name in inspect.signature(keras.optimizers.RMSprop).parameters if name != "kwargs"]
    ours = inspect.signature(RMSprop).parameters
    assert list(ours)[: len(theirs)] == theirs
    assert {ours[name].kind for name in list(ours)[len(theirs) :]} == {inspect.Parameter.KEYWORD_ONLY}
    config = keras.optimizers.RMSprop().get_config()
    defaults = RMSprop().get_config()
    assert {name: defaults[name] for name in config if name != "name"} == {
        name: value for name, value in config.items() if name != "name"
    }
    values = (0.5, 0.8, 0.3, 1e-4, True, 0.1, 2.0, None, None, True, 0.9, 5, 8.0, 3, "mine")
    given = dict(zip(theirs, values, strict=True))
    assert given.items() <= RMSprop(*values).get_config().items()


@pytest.mark.parametrize("name", DIALECTS)
def test_a_dialect_gives_defaults(name):
    assert RMSprop(0.1, dialect=name).rule == DIALECTS[name].rule
    assert RMSprop(0.1, dialect=name, rho=0.5, momentum=0.25).rule == DIALECTS[name].rule_with(decay=0.5, momentum=0.25)
    lr = DIALECTS[name].lr
    if lr is None:
        with pytest.raises(ValueError, match=f"dialect '{name}' has no default learning rate"):
            RMSprop(dialect=name)
    else:
        assert float(RMSprop(dialect=name).get_config()["learning_rate"]) == np.float32(lr)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"rho": 1.5}, ValueError, r"Invalid rho value: 1.5 \(allowed: a number from 0 to 1\)"),
        ({"rho": "a"}, TypeError, "Invalid rho value: 'a' is a str"),
        ({"momentum": -1.0}, ValueError, "Invalid momentum value: -1.0"),
        ({"epsilon": float("nan")}, ValueError, "Invalid epsilon value: nan"),
        ({"epsilon": TracedFloat("nan")}, ValueError, "Invalid epsilon value: nan"),
        ({"momentum": TracedFloat(-1.0)}, ValueError, "Invalid momentum value: -1.0"),
        ({"centered": 1}, TypeError, "Invalid centered value: 1"),
        ({"weight_decay": -0.1}, ValueError, "Invalid weight_decay value: -0.1"),
        ({"weight_decay_mode": "l1"}, ValueError, "Invalid weight_decay_mode value: 'l1'"),
        ({"nesterov": True}, ValueError, "nesterov=True needs a momentum above 0"),
        (
            {"decay": 0.9},
            TypeError,
            "unexpected keyword argument 'decay' .known: averaged_momentum, bias_correction, caution,",
        ),
        (
            {"state_dtype": "8bit"},
            TypeError,
            "argument 'state_dtype', which rmsprop.torch.RMSprop alone has .known: ",
        ),
        ({"dialect": "keras4"}, ValueError, "Unknown dialect 'keras4'"),
        ({"learning_rate": -1.0}, ValueError, "Invalid learning rate: -1.0"),
        ({"learning_rate": "fast"}, TypeError, "Invalid learning rate: 'fast' is a str"),
        ({"learning_rate": keras.Variable(0.1)}, TypeError, "Invalid learning rate: a keras.Variable"),
        ({"clipnorm": 0.0}, ValueError, "Invalid clipnorm: 0.0 .allowed: a finite number above 0, or None for none"),
        ({"clipvalue": -1.0}, ValueError, "Invalid clipvalue: -1.0"),
        ({"global_clipnorm": float("inf")}, ValueError, "Invalid global_clipnorm: inf"),
        ({"clipnorm": "1"}, TypeError, "Invalid clipnorm: '1' is a str"),
        ({"loss_scale_factor": 0}, ValueError, "Invalid loss_scale_factor: 0"),
        ({"clipnorm": 1.0, "clipvalue": 1.0}, ValueError, "Only one of `clipnorm`, `clipvalue`"),
    ],
)
def test_a_bad_argument_is_refused_in_one_sentence(arguments, error, message):
    with pytest.raises(error, match=message):
        RMSprop(**arguments)


def test_a_recipe():
    optimizer = RMSprop.from_recipe("efficientnet", weight_decay=1e-5)
    assert optimizer.rule == Rule.from_dialect("tensorflow1", momentum=0.9, eps=1e-3, weight_decay=1e-5)
    assert optimizer.get_config()["learning_rate"] == np.float32(0.256)
    assert RMSprop.from_recipe("efficientnet", learning_rate=0.5, rho=0.8).rho == 0.8
    of_the_recipe = RMSprop.from_recipe("efficientnet", learning_rate=None, momentum=None, epsilon=None, dialect=None)
    assert of_the_recipe.get_config() | {"name": ""} == RMSprop.from_recipe("efficientnet").get_config() | {"name": ""}
    with pytest.raises(ValueError, match="Unknown recipe 'resnet'"):
        RMSprop.from_recipe("resnet")


@pytest.mark.parametrize(
    "rule",
    [
        Rule(),
        Rule(decay=0.8, eps=1e-3, eps_inside_sqrt=True, initial_square_avg=1.0, centered=True, momentum=0.5),
        Rule(momentum=0.5, nesterov=True, lr_in_momentum=True, bias_correction=True, weight_decay=0.1),
        Rule(weight_decay=0.1, weight_decay_mode="decoupled"),
    ],
)
def test_the_configuration_makes_an_equal_optimizer(rule):
    optimizer = RMSprop(0.5, dialect="timm", clipnorm=2.0, name="mine", **options_of(rule))
    config = json.loads(json.dumps(optimizer.get_config()))
    assert RMSprop.from_config(config).get_config() == optimizer.get_config()
    assert RMSprop.from_config(config).rule == rule
    again = keras.optimizers.deserialize(json.loads(json.dumps(keras.optimizers.serialize(optimizer))))
    assert type(again) is RMSprop
    assert again.get_config() == optimizer.get_config()


@pytest.mark.parametrize("by", ["var_list", "var_names"])
def test_what_weight_decay_leaves_out_survives_a_file(by, tmp_path, array):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, bias_initializer="ones")])
    optimizer = RMSprop(0.1, weight_decay=0.5)
    bias = model.layers[0].bias
    optimizer.exclude_from_weight_decay(**{by: {"var_list": [bias], "var_names": ["bias"]}[by]})
    model.compile(optimizer=optimizer, loss="mse")
    optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    for each in (model, loaded):
        each.optimizer.apply([keras.ops.zeros(v.shape) for v in each.trainable_variables], each.trainable_variables)
    assert array(loaded.layers[0].bias) == array(bias) == 1.0
    np.testing.assert_array_equal(array(loaded.layers[0].kernel), array(model.layers[0].kernel))


def test_a_schedule_survives_the_configuration():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    again = RMSprop.from_config(RMSprop(schedule).get_config())
    assert again.get_config()["learning_rate"] == RMSprop(schedule).get_config()["learning_rate"]


def step(optimizer, variable):
    optimizer.apply([keras.ops.convert_to_tensor(np.ones(3, np.float32))], [variable])


@pytest.mark.parametrize(
    ("attribute", "value", "error", "message"),
    [
        ("rho", 2.0, ValueError, "Invalid rho value: 2.0"),
        ("weight_decay", -1.0, ValueError, "Invalid weight_decay value: -1.0"),
        ("momentum", 0.9, RuntimeError, "the optimizer was built without momentum, which momentum=0.9 and centered"),
        ("centered", True, RuntimeError, "the optimizer was built without"),
    ],
)
def test_a_bad_attribute_is_refused_before_anything_changes(attribute, value, error, message, array):
    variable, optimizer = keras.Variable(np.ones(3, np.float32)), RMSprop(0.1, weight_decay=0.1)
    step(optimizer, variable)
    before = [array(v) for v in [variable, *optimizer.variables]]
    setattr(optimizer, attribute, value)
    with pytest.raises(error, match=message):
        step(optimizer, variable)
    for old, new in zip(before, [variable, *optimizer.variables], strict=True):
        np.testing.assert_array_equal(array(new), old)


def test_attributes_can_be_set_between_steps(follow, oracle):
    start, grads = START.astype(np.float32), gradients(2, dtype=np.float32)
    optimizer = RMSprop(0.5, rho=0.5)
    variable = keras.Variable(start)
    optimizer.apply([keras.ops.convert_to_tensor(grads[0])], [variable])
    optimizer.rho, optimizer.learning_rate = 0.9, 0.25
    optimizer.apply([keras.ops.convert_to_tensor(grads[1])], [variable])
    first = optimizer.rule
    param, state = reference.update(
        dataclasses.replace(first, decay=0.5), 0.5, 1, start, grads[0], reference.init(first, start)
    )
    param, _ = reference.update(first, 0.25, 2, param, grads[1], state)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(variable.value), param, rtol=1e-5)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.array(np.nan)])
def test_a_bad_learning_rate_is_not_set(value):
    optimizer = RMSprop(0.5)
    with pytest.raises(ValueError, match="Invalid learning rate"):
        optimizer.learning_rate = value
    assert optimizer.get_config()["learning_rate"] == 0.5


@pytest.mark.parametrize("lr", [-(2.0**-60), -0.5, np.array(-0.5)])
def test_a_learning_rate_may_end_below_zero_and_is_kept_so(lr):
    weight, optimizer = keras.Variable([1.0]), RMSprop(0.1, rho=0.75, epsilon=0.0)
    optimizer.learning_rate = lr
    optimizer.apply([keras.ops.array([2.0])], [weight])
    assert keras.ops.convert_to_numpy(weight.value)[0] == np.float32(1.0 - 2.0 * float(lr))  # g/√v = 2
    again = RMSprop.from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
    assert again.get_config()["learning_rate"] == lr
    again.build([weight])
    store = {}
    optimizer.save_own_variables(store)
    again.learning_rate = 0.1
    again.load_own_variables(store)
    assert again.get_config()["learning_rate"] == lr


def test_a_whole_number_is_a_learning_rate():
    assert RMSprop(1).get_config()["learning_rate"] == 1.0


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("mode", ["l2", "decoupled"])
@pytest.mark.parametrize("excluded", [{"var_list": [1]}, {"var_names": ["bias"]}])
def test_weight_decay_leaves_out_what_is_excluded(mode, excluded, array):
    rule = Rule(weight_decay=0.1, weight_decay_mode=mode)
    optimizer = RMSprop(0.5, **options_of(rule))
    variables = [keras.Variable(START, dtype="float64", name=name) for name in ("kernel", "bias")]
    if "var_list" in excluded:
        excluded = {"var_list": [variables[number] for number in excluded["var_list"]]}
    optimizer.exclude_from_weight_decay(**excluded)
    grad = gradients(1)[0]
    optimizer.apply([keras.ops.convert_to_tensor(grad)] * 2, variables)
    for variable, decay in zip(variables, (0.1, 0.0), strict=True):
        rule = dataclasses.replace(rule, weight_decay=decay)
        expected, _ = reference.update(rule, 0.5, 1, START, grad, reference.init(rule, START))
        np.testing.assert_allclose(array(variable), expected, rtol=1e-14)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "options",
    [
        {"clipnorm": 0.5},
        {"clipvalue": 0.3},
        {"global_clipnorm": 0.5},
        {"use_ema": True, "ema_momentum": 0.9, "ema_overwrite_frequency": 3},
        {"gradient_accumulation_steps": 3, "clipnorm": 0.5, "momentum": 0.9, "use_ema": True},
        {"loss_scale_factor": 64.0},
    ],
    ids=str,
)
def test_the_options_of_every_keras_optimizer(options, follow, array):
    start, grads = START, gradients(6)
    theirs, ours = keras.optimizers.RMSprop(0.125, **options), RMSprop(0.125, **options)
    # Steps of about lr, of which some cancel: 1e-12 of the largest parameter.
    np.testing.assert_allclose(follow(ours, start, grads), follow(theirs, start, grads), rtol=1e-12, atol=1e-12)
    for mine, real in zip(ours.variables, theirs.variables, strict=True):
        np.testing.assert_allclose(array(mine), array(real), rtol=1e-12, atol=1e-12)


def test_a_variable_without_a_gradient_stays(array):
    variables = [keras.Variable(START.astype(np.float32)) for _ in range(2)]
    optimizer = RMSprop(0.5, weight_decay=0.1)
    optimizer.build(variables)
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        optimizer.apply([keras.ops.convert_to_tensor(np.ones(7, np.float32)), None], variables)
    assert np.all(array(variables[0]) != START.astype(np.float32))
    np.testing.assert_array_equal(array(variables[1]), START.astype(np.float32))


def test_centered_with_a_constant_gradient_stays_finite(follow):
    # The difference that Keras takes rounds below −ε in the end; the variance that ours keeps cannot.
    options = {"rho": 0.5, "centered": True, "epsilon": 1e-12}
    start, grads = np.zeros(3, np.float32), np.full((100, 3), [0.1, 1.0, 1e4], np.float32)
    assert np.isfinite(follow(RMSprop(2.0**-10, **options), start, grads)).all()
    assert np.isnan(follow(keras.optimizers.RMSprop(2.0**-10, **options), start, grads)).any()


def test_some_constant_gradients_end_in_nan_with_the_settings_of_keras(follow):
    start, grad = np.zeros(2000, np.float32), np.random.default_rng(0).standard_normal(2000).astype(np.float32)
    grads = np.broadcast_to(grad, (300, 2000))
    assert 0.02 < np.isnan(follow(keras.optimizers.RMSprop(0.01, centered=True), start, grads)[-1]).mean() < 0.12
    assert np.isfinite(follow(RMSprop(0.01, centered=True), start, grads)).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_state_of_16_bit_variables_is_float32_and_does_not_freeze(dtype, array):
    # In bfloat16 v would stop at 0.81, where a hundredth of what is missing is half a unit in its last place.
    variable, optimizer = keras.Variable(np.ones(3), dtype=dtype), RMSprop(0.0, rho=0.99, momentum=0.9)
    for _ in range(300):
        optimizer.apply([keras.ops.ones(3, dtype=dtype)], [variable])
    velocity, momentum = optimizer.variables[2:]
    assert {keras.backend.standardize_dtype(slot.dtype) for slot in (velocity, momentum)} == {"float32"}
    np.testing.assert_allclose(array(velocity), 1 - 0.99**300, rtol=1e-6)


def test_a_zero_gradient_of_a_float16_variable_is_no_step(array):
    # An ε of 1e-8 is 0 in float16, and 0/0 would be NaN.
    variable, optimizer = keras.Variable(np.ones(3), dtype="float16"), RMSprop(0.5, dialect="torch")
    optimizer.apply([keras.ops.zeros(3, dtype="float16")], [variable])
    np.testing.assert_array_equal(array(variable), np.ones(3, np.float16))


def test_without_keras_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    spec = importlib.util.spec_from_file_location("rmsprop_without_keras", rmsprop.keras.__file__)
    with pytest.raises(ImportError, match=r"pip install 'rmsprop\[keras\]', and tensorflow, jax or torch"):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
