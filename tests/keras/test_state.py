"""What an optimizer writes to a file, and who can read it."""

import keras
import numpy as np
import pytest

from rmsprop.keras import RMSprop

SHAPES = {"kernel": (4, 3), "bias": (3,)}
BOTH_WAYS = [(RMSprop, keras.optimizers.RMSprop), (keras.optimizers.RMSprop, RMSprop)]


@pytest.fixture
def run(array):
    """Takes some steps with an optimizer and returns its variables' values."""

    def steps(optimizer, variables, seed, count=5):
        random = np.random.default_rng(seed)
        for _ in range(count):
            grads = [random.standard_normal(shape).astype(np.float32) for shape in SHAPES.values()]
            optimizer.apply([keras.ops.convert_to_tensor(grad) for grad in grads], variables)
        return np.concatenate([array(variable).ravel() for variable in variables])

    return steps


@pytest.fixture
def trained(run):
    """Returns an optimizer after some steps, and its variables."""

    def make(class_, seed=1, **options):
        variables = [keras.Variable(np.zeros(shape, np.float32), name=name) for name, shape in SHAPES.items()]
        optimizer = class_(0.01, name="o", **options)
        run(optimizer, variables, seed)
        return optimizer, variables

    return make


def saved(optimizer):
    store = {}
    optimizer.save_own_variables(store)
    return store


@pytest.fixture
def continued(trained, run):
    """Returns how a run ends in one class, and how it ends in another that took it over."""

    def both(source_class, target_class, **options):
        source, variables = trained(source_class, **options)
        target, others = trained(target_class, seed=2, **options)
        target.load_own_variables(saved(source))
        for variable, other in zip(variables, others, strict=True):
            other.assign(variable)
        return run(source, variables, 3), run(target, others, 3)

    return both


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}], ids=str)
@pytest.mark.parametrize("classes", BOTH_WAYS, ids=["to Keras", "from Keras"])
def test_state_moves_to_keras_and_back(classes, options, continued):
    # Steps of about lr = 0.01 in float32, on sums below 1.
    expected, found = continued(*classes, **options)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_centered_state_of_keras_can_be_loaded(continued):
    # Keras' variance is a difference of numbers of about 1: good to some 2⁻²⁴, of which the step is half as far off.
    expected, found = continued(keras.optimizers.RMSprop, RMSprop, centered=True)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("options", [{"centered": True}, {"centered": True, "momentum": 0.5}], ids=str)
def test_our_own_centered_state_loses_nothing(options, continued):
    expected, found = continued(RMSprop, RMSprop, **options)
    np.testing.assert_array_equal(found, expected)


def test_our_centered_state_is_not_mistaken_by_keras(trained, array):
    ours, theirs = trained(RMSprop, centered=True)[0], trained(keras.optimizers.RMSprop, centered=True)[0]
    before = [array(variable) for variable in theirs.variables]
    store = saved(ours)
    with pytest.warns(UserWarning, match="Skipping variable loading for optimizer 'o'"):
        theirs.load_own_variables(store)
    for old, new in zip(before, theirs.variables, strict=True):
        np.testing.assert_array_equal(array(new), old)


def test_what_stands_under_the_numbers_of_keras_is_what_keras_writes(trained):
    ours, theirs = (saved(trained(class_, centered=True)[0]) for class_ in (RMSprop, keras.optimizers.RMSprop))
    assert ours.keys() - theirs.keys() == {"2_variance", "3_variance"}
    for key, value in theirs.items():
        np.testing.assert_allclose(ours[key], value, rtol=1e-5, atol=1e-6)


def test_state_of_another_kind_is_left_alone(trained, array):
    plain, _ = trained(RMSprop, centered=False, momentum=0.5)
    before = [array(variable) for variable in plain.variables]
    store = saved(trained(RMSprop, centered=True)[0])
    with pytest.warns(UserWarning, match="it has 6 variables whereas the saved optimizer has 8"):
        plain.load_own_variables(store)
    for old, new in zip(before, plain.variables, strict=True):
        np.testing.assert_array_equal(array(new), old)


def test_state_of_another_model_changes_nothing(trained, array):
    store = {**saved(trained(RMSprop)[0]), "3": np.zeros((5, 2))}
    optimizer, _ = trained(RMSprop, seed=2)
    before = [array(variable) for variable in optimizer.variables]
    with pytest.raises(ValueError, match=r"The saved variable 3 has shape \(5, 2\), but o/bias_velocity has \(3,\)"):
        optimizer.load_own_variables(store)
    for old, new in zip(before, optimizer.variables, strict=True):
        np.testing.assert_array_equal(array(new), old)
