"""The arguments of the front ends: each is documented, the typed options too, and nothing else is."""

import inspect
import re

import pytest

import rmsprop.jax
import rmsprop.numpy
import rmsprop.torch
from rmsprop.options import ONLY_TORCH

FRONT_ENDS = [rmsprop.torch.RMSprop, rmsprop.numpy.RMSprop, rmsprop.jax.rmsprop, rmsprop.jax.scale_by_rmsprop]


@pytest.mark.parametrize("front_end", FRONT_ENDS, ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_the_documented_arguments_are_those_of_the_signature(front_end):
    section = inspect.getdoc(front_end).split("Args:\n")[1].split("\n\n")[0]
    documented = re.findall(r"^    (\w+): ", section, re.MULTILINE)
    assert sorted(documented) == sorted(inspect.signature(front_end).parameters)


def test_what_only_torch_has_is_so():
    own, others = (inspect.signature(each).parameters.keys() for each in FRONT_ENDS[:2])
    assert own - others - {"alpha", "params"} == ONLY_TORCH
    assert not ONLY_TORCH & inspect.signature(rmsprop.jax.rmsprop).parameters.keys()


@pytest.mark.parametrize("name", sorted(ONLY_TORCH))
@pytest.mark.parametrize(
    "make", [lambda **o: rmsprop.numpy.RMSprop([], **o), lambda **o: rmsprop.jax.rmsprop(0.1, **o)]
)
def test_elsewhere_it_is_said_who_has_it(make, name):
    words = f"unexpected keyword argument '{name}', which rmsprop.torch.RMSprop alone has .known: "
    with pytest.raises(TypeError, match=words):
        make(**{name: "8bit"})
