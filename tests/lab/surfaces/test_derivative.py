"""The gradients of the surfaces, against complex steps, which are exact to the last digits."""

import numpy as np
import pytest

from rmsprop.lab.problems.builtin.surfaces import SURFACES
from rmsprop.lab.surfaces.derivative import gradient, javascript

POINTS = [(-5.0, -2.0), (1.25, 0.75), (0.0, 0.0), (1e-3, -3.0)]


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("name", SURFACES)
def test_the_gradient_is_that_of_a_complex_step(name, point):
    f, (x, y) = SURFACES[name].f, point
    value, by_x, by_y = gradient(f, x, y)
    assert value == pytest.approx(f(x, y), rel=1e-15)
    assert by_x == pytest.approx(f(x + 1e-30j, y).imag / 1e-30, rel=1e-14)
    assert by_y == pytest.approx(f(x, y + 1e-30j).imag / 1e-30, rel=1e-14)


def test_arrays_are_taken():
    x, y = np.meshgrid([0.0, 1.0, 2.0], [3.0, 4.0])
    value, by_x, by_y = gradient(lambda x, y: x * y - x / 2 + 1, x, y)
    np.testing.assert_array_equal(value, x * y - x / 2 + 1)
    np.testing.assert_array_equal(by_x, y - 0.5)
    np.testing.assert_array_equal(by_y, x)


def test_a_variable_that_does_not_occur_has_no_slope():
    assert gradient(lambda x, y: 3 - x, 1.0, 2.0) == (2.0, -1.0, 0.0)


@pytest.mark.parametrize(
    ("f", "message"),
    [
        (lambda x, y: x**0.5, "a surface is made of whole powers from 1, but this is 0.5"),
        (lambda x, y: y**0, "a surface is made of whole powers from 1, but this is 0"),
        (lambda x, y: 3.0, "a surface must depend on x and y, but it is 3.0"),
    ],
)
def test_what_cannot_be_derived_is_an_error(f, message):
    with pytest.raises(TypeError) as caught:
        gradient(f, 1.0, 2.0)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", SURFACES)
def test_javascript_that_python_can_read_too_computes_the_same_bits(name):
    f = SURFACES[name].f
    code = javascript(f).removeprefix("(x, y) => ")
    for x, y in POINTS:
        assert tuple(eval(code, {"x": x, "y": y})) == gradient(f, x, y)
