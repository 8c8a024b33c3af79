"""The cases that Keras ships for RMSprop with sparse gradients; it has none on torch."""

import importlib.util
import unittest

import keras.src.optimizers
import pytest

from rmsprop.keras import RMSprop

SPARSE = [
    "test_sparse_correctness_rmsprop",
    "test_sparse_correctness_rmsprop_momentum",
    "test_sparse_correctness_rmsprop_momentum_centered",
    # Not test_sparse_gradients_rmsprop: it asks that only the touched rows are written, where ours writes all.
    "test_sparse_gradients_rmsprop_momentum",
    "test_sparse_gradients_rmsprop_momentum_centered",
]


@pytest.mark.parametrize("case", SPARSE)
def test_sparse_case_of_keras(case, monkeypatch):
    monkeypatch.setattr(keras.src.optimizers, "RMSprop", RMSprop)
    found = importlib.util.find_spec("keras.src.optimizers.optimizer_sparse_test")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)  # its table of cases takes the classes while it is imported
    result = unittest.TestResult()
    module.OptimizerSparseTest(case).run(result)
    assert result.testsRun == 1
    assert not [*result.skipped, *result.failures, *result.errors]
