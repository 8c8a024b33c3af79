"""Rows of sparse gradients as TensorFlow 1 takes them, with its own operators and its own optimizer beside."""

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
torch = pytest.importorskip("torch")

from rmsprop.torch import RMSprop  # noqa: E402

SHAPE, STEPS, LR = (9, 4), 12, 0.01
CASES = [
    {},
    {"momentum": 0.9},
    {"centered": True},
    {"centered": True, "momentum": 0.5, "eps": 1e-3},
]


def gradients(unique):
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        rows = rng.permutation(SHAPE[0])[:3] if unique else rng.integers(0, SHAPE[0], 5)
        yield rows, rng.standard_normal((len(rows), SHAPE[1]))


def start():
    return np.random.default_rng(1).standard_normal(SHAPE)


def by_operators(options):
    """Run ResourceSparseApplyRMSProp or its centered sister, which take rows one after the other."""
    theta, slots = tf.Variable(start()), {"ms": tf.Variable(np.ones(SHAPE)), "mom": tf.Variable(np.zeros(SHAPE))}
    operator = tf.raw_ops.ResourceSparseApplyRMSProp
    if options.get("centered"):
        slots["mg"], operator = tf.Variable(np.zeros(SHAPE)), tf.raw_ops.ResourceSparseApplyCenteredRMSProp
    numbers = {"lr": LR, "rho": 0.9, "momentum": options.get("momentum", 0.0), "epsilon": options.get("eps", 1e-10)}
    numbers = {name: tf.constant(value, tf.float64) for name, value in numbers.items()}
    handles = {name: slot.handle for name, slot in slots.items()}
    for rows, values in gradients(unique=True):
        operator(var=theta.handle, grad=tf.constant(values), indices=tf.constant(rows), **handles, **numbers)
    return theta.numpy()


def by_optimizer(options):
    """Run TensorFlow 1's optimizer, which adds up the gradients of a row."""
    names = {"eps": "epsilon"}
    optimizer = tf.compat.v1.train.RMSPropOptimizer(LR, **{names.get(k, k): value for k, value in options.items()})
    theta = tf.Variable(start())
    for rows, values in gradients(unique=False):
        optimizer.apply_gradients([(tf.IndexedSlices(tf.constant(values), tf.constant(rows), SHAPE), theta)])
    return theta.numpy()


def by_torch(options, unique, sparse="lazy"):
    param = torch.from_numpy(start()).requires_grad_()
    optimizer = RMSprop([param], lr=LR, dialect="tensorflow1", sparse=sparse, **options)
    for rows, values in gradients(unique):
        indices = torch.from_numpy(rows)[None]
        param.grad = torch.sparse_coo_tensor(indices, torch.from_numpy(values), SHAPE, check_invariants=True)
        optimizer.step()
    assert sparse == "exact" or optimizer.paths()["0"].startswith("kernel on rows, lazily")
    return param.detach().numpy()


# In float64 both round a step some ten times; the centered operator subtracts m² from v, and loses up to v/(v − m²) of
# them, which is below 100 here. Its optimizer takes its numbers in float32.
@pytest.mark.parametrize("options", CASES, ids=str)
def test_lazy_rows_are_those_of_tensorflows_operators(options):
    np.testing.assert_allclose(by_torch(options, unique=True), by_operators(options), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("options", CASES, ids=str)
def test_lazy_rows_are_those_of_tensorflows_optimizer(options):
    np.testing.assert_allclose(by_torch(options, unique=False), by_optimizer(options), rtol=1e-6, atol=1e-6)


def test_exact_rows_are_others():
    assert abs(by_torch({}, unique=True, sparse="exact") - by_operators({})).max() > 1e-3
