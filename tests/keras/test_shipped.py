"""The optimizer tests that Keras ships, run with ours in the place of its own."""

import importlib
import types
import unittest

import keras
import keras.src.optimizers
import pytest

from rmsprop.keras import RMSprop

BACKEND = keras.backend.backend()


def sgd(learning_rate=0.01, **options):
    """RMSProp is plain descent when v starts from 1 and never changes: so the cases with numbers for SGD run on it."""
    return RMSprop(learning_rate, rho=1.0, initial_square_avg=1.0, epsilon=0.0, **options)


NEEDS_TENSORFLOW = {"test_tf_checkpointing", "test_mixed_with_tf_variables"}
# Module of keras.src, its class, what is replaced there, and the cases that are not about the replaced optimizer.
FILES = [
    ("optimizers.rmsprop_test", "RMSpropTest", {"RMSprop": RMSprop}, set()),
    (
        "optimizers.optimizer_test",
        "OptimizerTest",
        {"SGD": sgd, "Adam": RMSprop},
        # What the string "sgd" stands for, and the names "adam" and "sgd".
        {"test_get_method", "test_optimizer_auto_naming"} | (NEEDS_TENSORFLOW if BACKEND != "tensorflow" else set()),
    ),
    ("optimizers.loss_scale_optimizer_test", "LossScaleOptimizerTest", {"SGD": sgd}, set()),
    ("optimizers.multi_optimizer_test", "MultiOptimizerTest", {"RMSprop": RMSprop}, set()),
]
if BACKEND == "tensorflow":
    FILES.append(
        (
            "backend.tensorflow.optimizer_distribute_test",
            "OptimizerDistributeTest",
            {"SGD": sgd},
            # Nesterov without momentum, which ours refuses, and tf_keras' own class.
            {"test_correctness_with_golden", "test_single_step1"},
        )
    )
# These have one case per optimizer; number 4 is the one that Keras finds under the name "rmsprop".
PER_OPTIMIZER = ("test_gradient_accumulation_with_weigth_decay", "test_pickleable_optimizers")
RMSPROP_CASES = {f"{case}4" for case in PER_OPTIMIZER}
# Cases that Keras itself skips: its JAX backend cannot branch on a value, its TensorFlow backend is never stateless.
SKIPPED_BY_KERAS = {
    "jax": ("_stateful", "_stateful_apply", "_with_no_vars"),
    "tensorflow": ("_stateless", "_stateless_apply"),
    "torch": (),
}


def cases():
    for module, name, replaced, others in FILES:
        class_ = getattr(importlib.import_module(f"keras.src.{module}"), name)
        for case in unittest.defaultTestLoader.getTestCaseNames(class_):
            of_another_optimizer = case.startswith(PER_OPTIMIZER) and case not in RMSPROP_CASES
            if case in others or of_another_optimizer or case.endswith(SKIPPED_BY_KERAS[BACKEND]):
                continue
            yield pytest.param(module, name, replaced, case, id=f"{module.split('.')[-1]}-{case}")


def run(case):
    result = unittest.TestResult()
    case.run(result)
    assert not result.skipped
    assert result.testsRun == 1
    problems = result.failures + result.errors
    assert not problems, problems[0][1]


@pytest.fixture
def found_by_name(monkeypatch):
    """Lets Keras find ours under the name "rmsprop"."""
    monkeypatch.setitem(keras.src.optimizers.ALL_OBJECTS_DICT, "rmsprop", RMSprop)


@pytest.mark.usefixtures("found_by_name")
@pytest.mark.parametrize(("module", "name", "replaced", "case"), list(cases()))
def test_case_of_keras(module, name, replaced, case, monkeypatch):
    module = importlib.import_module(f"keras.src.{module}")
    if hasattr(module, "optimizers"):
        everything = {**vars(keras.src.optimizers), **replaced}
        monkeypatch.setattr(module, "optimizers", types.SimpleNamespace(**everything))
    for attribute, ours in replaced.items():
        monkeypatch.setattr(module, attribute, ours, raising=False)
    run(getattr(module, name)(case))
