"""The arguments of the front ends: each is documented, the typed options too, and nothing else is."""

import inspect
import re

import pytest

import rmsprop.jax
import rmsprop.numpy
import rmsprop.torch

FRONT_ENDS = [rmsprop.torch.RMSprop, rmsprop.numpy.RMSprop, rmsprop.jax.rmsprop, rmsprop.jax.scale_by_rmsprop]


@pytest.mark.parametrize("front_end", FRONT_ENDS, ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_the_documented_arguments_are_those_of_the_signature(front_end):
    section = inspect.getdoc(front_end).split("Args:\n")[1].split("\n\n")[0]
    documented = re.findall(r"^    (\w+): ", section, re.MULTILINE)
    assert sorted(documented) == sorted(inspect.signature(front_end).parameters)
