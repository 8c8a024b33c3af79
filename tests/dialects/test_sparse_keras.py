"""Rows of sparse gradients as Keras 3 takes them on TensorFlow: the exact step, but for the square of repeated rows.

In a process of its own, because Keras has the backend that it was first imported with.
"""

import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("tensorflow")
pytest.importorskip("keras")
torch = pytest.importorskip("torch")

from rmsprop.torch import RMSprop  # noqa: E402

SHAPE, STEPS, LR = (6, 2), 8, 0.125  # Keras has the learning rate in float32
CASES = [{}, {"momentum": 0.5}, {"centered": True}, {"weight_decay": 0.125}]
KERAS = """
import sys
import keras, numpy as np, tensorflow as tf

given = np.load(sys.argv[1], allow_pickle=True)
found = {}
for nth, options in enumerate(given["cases"]):
    for kind in ("unique", "repeated"):
        variable = keras.Variable(given["start"], dtype="float64")
        optimizer = keras.optimizers.RMSprop(float(given["lr"]), **options)
        for rows, values in zip(given[kind + "_rows"], given[kind + "_values"]):
            slices = tf.IndexedSlices(tf.constant(values), tf.constant(rows), tf.constant(given["start"].shape))
            optimizer.apply([slices], [variable])
        found[f"{nth} {kind}"] = variable.numpy()
np.savez(sys.argv[2], **found)
"""


def gradients(kind):
    rng = np.random.default_rng(0)
    rows = [rng.permutation(SHAPE[0])[:3] if kind == "unique" else rng.integers(0, 3, 5) for _ in range(STEPS)]
    return np.array(rows), rng.standard_normal((STEPS, len(rows[0]), SHAPE[1]))


def start():
    return np.random.default_rng(1).standard_normal(SHAPE)


@pytest.fixture(scope="module")
def by_keras(tmp_path_factory):
    """What Keras makes of each case and kind of gradients."""
    given, found = (tmp_path_factory.mktemp("keras") / name for name in ("given.npz", "found.npz"))
    arrays = {"start": start(), "lr": LR, "cases": np.array(CASES, dtype=object)}
    for kind in ("unique", "repeated"):
        arrays[f"{kind}_rows"], arrays[f"{kind}_values"] = gradients(kind)
    np.savez(given, **arrays)
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    subprocess.run([sys.executable, "-c", KERAS, given, found], env=environment, check=True, capture_output=True)
    with np.load(found) as file:
        return dict(file)


def by_torch(options, kind, sparse="exact"):
    param = torch.from_numpy(start()).requires_grad_()
    decay = {"weight_decay_mode": "decoupled"} if "weight_decay" in options else {}
    optimizer = RMSprop([param], lr=LR, dialect="keras", sparse=sparse, **options, **decay)
    for rows, values in zip(*gradients(kind), strict=True):
        indices = torch.from_numpy(rows)[None]
        param.grad = torch.sparse_coo_tensor(indices, torch.from_numpy(values), SHAPE, check_invariants=True)
        optimizer.step()
    return param.detach().numpy()


@pytest.mark.filterwarnings("ignore:rmsprop makes the sparse gradient:UserWarning")
@pytest.mark.parametrize(("nth", "options"), [*enumerate(CASES)], ids=str)
def test_of_rows_that_occur_once_keras_takes_the_exact_step(by_keras, nth, options):
    # In float64 both round a step some ten times; Keras subtracts m² from v, and loses up to v/(v − m²) of them.
    expected = by_keras[f"{nth} unique"]
    np.testing.assert_allclose(by_torch(options, "unique"), expected, rtol=1e-11, atol=1e-11)
    assert abs(by_torch(options, "unique", sparse="lazy") - expected).max() > 1e-3


@pytest.mark.filterwarnings("ignore:rmsprop makes the sparse gradient:UserWarning")
@pytest.mark.parametrize(("nth", "options"), [*enumerate(CASES)], ids=str)
def test_of_rows_that_repeat_keras_squares_each_entry_where_the_dense_step_squares_the_sum(by_keras, nth, options):
    assert abs(by_torch(options, "repeated") - by_keras[f"{nth} repeated"]).max() > 1e-3


def test_the_square_of_each_entry_is_all_that_keras_does_otherwise(by_keras):
    theta, average = start(), np.zeros(SHAPE)
    for rows, values in zip(*gradients("repeated"), strict=True):
        sums, squares = np.zeros(SHAPE), np.zeros(SHAPE)
        np.add.at(sums, rows, values)
        np.add.at(squares, rows, values**2)
        average = 0.9 * average + 0.1 * squares
        theta = theta - LR * sums / np.sqrt(average + 1e-7)
    np.testing.assert_allclose(theta, by_keras["0 repeated"], rtol=1e-11, atol=1e-11)


def test_there_is_no_name_for_it():
    with pytest.raises(ValueError, match="'exact', 'lazy' or 'rowwise'; Keras 3's is 'exact', but for the square"):
        RMSprop([torch.ones(2, requires_grad=True)], sparse="keras")
