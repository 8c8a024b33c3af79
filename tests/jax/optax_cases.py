"""Run the cases of Optax's own test suite that concern RMSProp, with ours in its place; prints a line of JSON.

With the name of a case, only that one is run, in float64.
"""

import importlib
import inspect
import json
import os
import sys
import unittest

os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"

import jax
import optax
from absl import flags
from optax._src import alias, transform

from rmsprop import Rule
from rmsprop.jax import rmsprop, scale_by_rmsprop

MODULES = [
    "optax._src.alias_test",
    "optax._src.transform_test",
    "optax._src.float64_test",
    "optax._src.sharding_test",
    "optax.contrib._common_test",
]


def scale_by_rms(decay=0.9, eps=1e-8, initial_scale=0.0, eps_in_sqrt=True, bias_correction=False, centered=False):
    return scale_by_rmsprop(
        Rule(
            decay=decay,
            eps=eps,
            initial_square_avg=initial_scale,
            eps_inside_sqrt=eps_in_sqrt,
            bias_correction=bias_correction,
            centered=centered,
        )
    )


def scale_by_stddev(**options):
    return scale_by_rms(**options, centered=True)


def install():
    jax.__version__ = "1"  # sharding_test compares versions as strings and would skip on "0.10" < "0.7"
    optax.rmsprop = alias.rmsprop = rmsprop
    optax.scale_by_rms = transform.scale_by_rms = scale_by_rms
    optax.scale_by_stddev = transform.scale_by_stddev = scale_by_stddev


def cases(suite):
    for test in suite:
        yield from cases(test) if isinstance(test, unittest.TestSuite) else [test]


def concerns_rmsprop(test):
    method = getattr(test, test._testMethodName)
    told = test.id() + repr(inspect.getclosurevars(method).nonlocals) + str(getattr(method, "__x_params_repr__", ""))
    return any(word in told for word in ("rmsprop", "scale_by_rms", "scale_by_stddev", "stddev", "test_rms_"))


def main(only=""):
    install()
    flags.FLAGS(sys.argv[:1])
    jax.config.update("jax_enable_x64", bool(only))
    found = unittest.TestSuite()
    for name in MODULES:
        module = importlib.import_module(name)
        every = cases(unittest.defaultTestLoader.loadTestsFromModule(module))
        found.addTests(test for test in every if concerns_rmsprop(test) and only in test.id())
    result = unittest.TextTestRunner(verbosity=2).run(found)
    failed = [test.id() for test, _ in result.failures + result.errors]
    skipped = [reason for _, reason in result.skipped]
    print(json.dumps({"run": result.testsRun, "skipped": skipped, "failed": failed}))


if __name__ == "__main__":
    main(*sys.argv[1:])
