"""A step, or the loading of a file, checks everything first: what is refused has changed nothing."""

import keras
import ml_dtypes
import numpy as np
import pytest

from rmsprop.keras import RMSprop

SHAPES = (3,), (2,)
BAD_STEPS = {
    "the second gradient has another shape": (
        [(3,), (2, 3)],
        [0, 1],
        ValueError,
        r"has shape \(2, 3\), but needs \(2,\)",
    ),
    "the second gradient could be broadcast": ([(3,), (1,)], [0, 1], ValueError, r"has shape \(1,\), but needs \(2,\)"),
    "a scalar could be broadcast": ([(), (2,)], [0, 1], ValueError, r"has shape \(\), but needs \(3,\)"),
    "too few gradients": ([(3,)], [0, 1], ValueError, "apply got 1 gradients and 2 variables"),
    "no gradients": ([], [0, 1], ValueError, "apply got 0 gradients and 2 variables"),
    "too many gradients": ([(3,), (2,), (2,)], [0, 1], ValueError, "apply got 3 gradients and 2 variables"),
    "a variable twice": ([(3,), (3,)], [0, 0], ValueError, "v0 twice, but updates a variable once per step"),
    "too few for all variables": ([(3,)], None, ValueError, "Received a list of 1 gradients"),
    "another shape for all variables": ([(3,), (1,)], None, ValueError, r"has shape \(1,\), but needs \(2,\)"),
}
OPTIONS = [{}, {"gradient_accumulation_steps": 2}, {"momentum": 0.5, "clipnorm": 1.0}]


@pytest.fixture
def variables():
    return [keras.Variable(np.ones(shape, np.float32), name=f"v{number}") for number, shape in enumerate(SHAPES)]


@pytest.fixture
def unchanged(array):
    """Asserts that a function raises and leaves variables as they are."""

    def check(variables, error, message, function):
        before = [array(variable) for variable in variables]
        with pytest.raises(error, match=message):
            function()
        for old, variable in zip(before, variables, strict=True):
            np.testing.assert_array_equal(array(variable), old)

    return check


def ones(shapes):
    return [keras.ops.ones(shape) for shape in shapes]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("case", BAD_STEPS)
def test_a_bad_step_changes_nothing(case, options, variables, unchanged):
    shapes, numbers, error, message = BAD_STEPS[case]
    optimizer = RMSprop(0.1, **options)
    optimizer.apply(ones(SHAPES), variables)
    given = None if numbers is None else [variables[number] for number in numbers]
    unchanged([*variables, *optimizer.variables], error, message, lambda: optimizer.apply(ones(shapes), given))


@pytest.mark.parametrize("dtype", ["complex64", "bool"])
def test_a_gradient_of_something_else_than_real_numbers_changes_nothing(dtype, variables, unchanged):
    optimizer = RMSprop(0.1)
    optimizer.apply(ones(SHAPES), variables)
    grads = [keras.ops.ones(SHAPES[0]), keras.ops.convert_to_tensor(np.ones(SHAPES[1], dtype))]
    message = f"has dtype {dtype}, but RMSProp needs real numbers"
    unchanged([*variables, *optimizer.variables], TypeError, message, lambda: optimizer.apply(grads, variables))


def test_a_refused_first_step_builds_nothing(variables):
    optimizer = RMSprop(0.1)
    with pytest.raises(ValueError, match="but needs"):
        optimizer.apply(ones([(3,), (1,)]), variables)
    assert not optimizer.built
    with pytest.raises(ValueError, match="v1 twice"):
        optimizer.build([variables[1], variables[1]])
    optimizer.apply(ones(SHAPES), variables)


def test_variables_may_come_from_an_iterator(variables, array):
    optimizer = RMSprop(0.1)
    optimizer.apply(ones(SHAPES), iter(variables))
    assert all((array(variable) != 1).all() for variable in variables)


def replaced(optimizer, key, value):
    store = {}
    optimizer.save_own_variables(store)
    return {**store, key: value}


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("3", np.array([None, None]), "saved variable 3 has dtype object, but o/v1_velocity needs real numbers"),
        ("3", np.array(["a", "b"]), "saved variable 3 has dtype <U1"),
        ("3", np.ones(2, np.complex64), "saved variable 3 has dtype complex64"),
        ("3", np.ones(2, bool), "saved variable 3 has dtype bool"),
        ("0", np.array(-1), r"Invalid iteration: -1 \(allowed: a whole number >= 0\)"),
        ("0", np.array(1.5), "Invalid iteration: 1.5"),
        ("0", np.array(np.nan), "Invalid iteration: nan"),
        ("0", np.array(np.inf), "Invalid iteration: inf"),
        ("1", np.array(np.nan), "Invalid learning rate: nan"),
        ("1", np.array(np.inf), "Invalid learning rate: inf"),
    ],
)
def test_a_bad_file_changes_nothing(key, value, message, variables, unchanged):
    source, target = RMSprop(0.5), RMSprop(0.1, name="o")
    for optimizer in (source, target):
        optimizer.build(variables)
    store = replaced(source, key, value)
    unchanged(target.variables, ValueError, message, lambda: target.load_own_variables(store))


def test_a_file_without_a_variable_changes_nothing(variables, unchanged):
    optimizer = RMSprop(0.1)
    optimizer.build(variables)
    store = replaced(optimizer, "9", np.ones(2))
    del store["3"]
    message = "There is no saved variable 3"
    unchanged(optimizer.variables, ValueError, message, lambda: optimizer.load_own_variables(store))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int32"])
def test_a_file_may_have_any_real_dtype(dtype, variables, array):
    optimizer = RMSprop(0.1)
    optimizer.build(variables)
    value = np.full(2, 3.0, ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    optimizer.load_own_variables(replaced(optimizer, "3", value))
    np.testing.assert_array_equal(array(optimizer.variables[3]), [3.0, 3.0])


def test_a_centered_file_of_keras_is_read_from_disk(tmp_path):
    def model(class_):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile(class_(0.1, centered=True), "mse")
        model.optimizer.build(model.trainable_variables)
        return model

    theirs, ours = model(keras.optimizers.RMSprop), model(RMSprop)
    theirs.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    theirs.save_weights(tmp_path / "model.weights.h5")
    ours.load_weights(tmp_path / "model.weights.h5")
    assert int(ours.optimizer.iterations) == 1
