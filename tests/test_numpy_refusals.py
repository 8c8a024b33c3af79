"""What the NumPy front end refuses: one sentence each, and nothing changed."""

import copy
import pickle
import warnings

import ml_dtypes  # noqa: F401 -- NumPy then knows bfloat16
import numpy as np
import pytest
import scipy.sparse
import torch

from rmsprop.numpy import RMSprop


def _read_only():
    array = np.zeros(3)
    array.flags.writeable = False
    return array


def _overlapping():
    memory = np.zeros(6)
    return {"a": memory[:4], "b": memory[3:]}


TWICE = np.zeros(3)
MATRIX = np.zeros((4, 4))
REFUSED_ARRAYS = {
    "one array": (np.zeros(3), TypeError, "arrays is a single array, but a list or dict is needed: put it in a list"),
    "a generator": ((np.zeros(2) for _ in "ab"), TypeError, "arrays is a generator, but a list, tuple or dict"),
    "nothing": ([], ValueError, "arrays is empty: pass at least one array"),
    "a name that is no string": ({0: np.zeros(2)}, TypeError, "the key 0 of arrays is a int, but a name must be"),
    "a list": ([[1.0, 2.0]], TypeError, "array '0' is a list, but only a NumPy array can be updated in place"),
    "a masked array": ([np.ma.zeros(3)], TypeError, "array '0' is a MaskedArray, but only a NumPy array"),
    "integers": ([np.zeros(3, int)], TypeError, "array '0' has dtype int64 (allowed: float16, bfloat16, float32, "),
    "objects": ([np.zeros(3, object)], TypeError, "array '0' has dtype object (allowed: "),
    "long double": ([np.zeros(3, np.longdouble)], TypeError, "array '0' has dtype float128 (allowed: "),
    "big-endian": ([np.zeros(3, ">f4")], TypeError, "array '0' has dtype >f4 (allowed: "),
    "read-only": ({"w": _read_only()}, ValueError, "array 'w' is read-only, but is to be updated in place: pass a "),
    "twice": ([TWICE, TWICE], ValueError, "arrays '0' and '1' share memory, so a step would update it twice"),
    "overlapping": (_overlapping(), ValueError, "arrays 'a' and 'b' share memory"),
    "row and column": ([MATRIX[1], np.zeros(2), MATRIX[:, 2]], ValueError, "arrays '2' and '0' share memory"),
    "broadcast": (
        [np.lib.stride_tricks.as_strided(np.zeros(1), (3,), (0,))],
        ValueError,
        "array '0' is a view whose elements share memory",
    ),
    "windows": (
        [np.lib.stride_tricks.sliding_window_view(np.zeros(5), 2, writeable=True)],
        ValueError,
        "array '0' is a view whose elements share memory",
    ),
}


@pytest.mark.parametrize(("arrays", "error", "message"), REFUSED_ARRAYS.values(), ids=REFUSED_ARRAYS)
def test_refuses_arrays_that_it_cannot_update(arrays, error, message):
    with pytest.raises(error) as caught:
        RMSprop(arrays)
    assert str(caught.value).startswith(message)


REFUSED_OPTIONS = [
    ({"lr": -1.0}, ValueError, "Invalid learning rate: -1.0"),
    ({"lr": "fast"}, TypeError, "Invalid learning rate: 'fast' is a str"),
    ({"decay": 2.0}, ValueError, "Invalid decay value: 2.0"),
    ({"dialect": "pytorch"}, ValueError, "Unknown dialect 'pytorch'"),
    ({"dialect": "tensorflow1"}, ValueError, "dialect 'tensorflow1' has no default learning rate"),
    ({"maximize": 1}, TypeError, "Invalid maximize value: 1 (allowed: True or False)"),
    (
        {"decya": 0.9},
        TypeError,
        "RMSprop.__init__() got an unexpected keyword argument 'decya' (known: arrays, averaged_momentum, bias_",
    ),
    ({"threads": 0}, ValueError, "Invalid threads value: 0 (allowed: an int from 1 to 1024)"),
    ({"threads": 2.0}, TypeError, "Invalid threads value: 2.0 is a float (allowed: an int from 1 to 1024)"),
]


@pytest.mark.parametrize(("options", "error", "message"), REFUSED_OPTIONS)
def test_refuses_options_out_of_range(options, error, message):
    with pytest.raises(error) as caught:
        RMSprop([np.zeros(2)], **options)
    assert str(caught.value).startswith(message)


G = np.ones((2, 3), np.float32)
H = np.ones(4, np.float32)
REFUSED_GRADS = {
    "one array": (G, TypeError, "grads is a ndarray, but arrays were given by name: pass a dict"),
    "a list": ([G, H], TypeError, "grads is a list, but arrays were given by name: pass a dict"),
    "missing": ({"w": G}, ValueError, "grads has no gradient of array 'b': pass one, or None to leave it out"),
    "unknown": ({"w": G, "b": H, "c": H}, ValueError, "grads has 'c', which is none of the arrays: w, b"),
    "shape": ({"w": G, "b": G}, ValueError, "the gradient of array 'b' has shape (2, 3), but the array has (4,)"),
    "broadcastable": ({"w": G, "b": H[:1]}, ValueError, "the gradient of array 'b' has shape (1,), but the array"),
    "lossy": (
        {"w": G, "b": H.astype(np.float64)},
        TypeError,
        "the gradient of array 'b' has dtype float64, which the array's float32 can't hold: convert it with grad.as",
    ),
    "complex": (
        {"w": G, "b": H.astype(np.complex64)},
        TypeError,
        "the gradient of array 'b' has dtype complex64, which the array's float32 can't hold: convert it with grad.r",
    ),
    "objects": ({"w": G, "b": H.astype(object)}, TypeError, "the gradient of array 'b' has dtype object"),
    "a list of numbers": ({"w": G, "b": [1.0] * 4}, TypeError, "the gradient of array 'b' is a list, but a NumPy"),
    "masked": (
        {"w": G, "b": np.ma.array(H)},
        TypeError,
        "the gradient of array 'b' is a MaskedArray, but a NumPy array is needed: convert it with grad.filled(0)",
    ),
    "of scipy": (
        {"w": scipy.sparse.csr_array(G), "b": H},
        TypeError,
        "the gradient of array 'w' is a csr_array, but a NumPy array is needed: make it dense, or give some rows",
    ),
    "of torch": (
        {"w": torch.ones(2, 3).to_sparse(), "b": H},
        TypeError,
        "the gradient of array 'w' is a Tensor, but a NumPy array is needed: make it dense, or give some rows",
    ),
}


@pytest.fixture
def started():
    """An optimizer that has taken two steps, and a picture of it."""
    arrays = {"w": np.ones((2, 3), np.float32), "b": np.ones(4, np.float32)}
    optimizer = RMSprop(arrays, 0.1, momentum=0.9)
    for _ in range(2):
        optimizer.step({"w": G, "b": H})
    return optimizer, pickle.dumps(optimizer)


@pytest.mark.parametrize(("grads", "error", "message"), REFUSED_GRADS.values(), ids=REFUSED_GRADS)
def test_refuses_gradients_that_do_not_fit_and_changes_nothing(started, grads, error, message):
    optimizer, before = started
    with pytest.raises(error) as caught:
        optimizer.step(grads)
    assert str(caught.value).startswith(message)
    assert pickle.dumps(optimizer) == before


# A number of the second dtype that the first can't hold.
LOSSY = {
    ("float64", "int64"): 2**53 + 1,
    ("float64", "uint64"): 2**53 + 1,
    ("float64", "longdouble"): np.longdouble(1) + np.finfo(np.longdouble).eps,
    ("complex128", "int64"): 2**53 + 1,
    ("float32", "int32"): 2**24 + 1,
    ("float32", "uint32"): 2**24 + 1,
    ("float32", "float64"): 2**24 + 1,
    ("complex64", "int32"): 2**24 + 1,
    ("float16", "int16"): 2**11 + 1,
    ("float16", "bfloat16"): 2**16,
    ("bfloat16", "int16"): 2**8 + 1,
    ("bfloat16", "float16"): 2**8 + 1,
}


@pytest.mark.parametrize(("dtypes", "number"), LOSSY.items(), ids=map("-".join, LOSSY))
def test_refuses_gradients_of_a_dtype_that_would_be_rounded(dtypes, number):
    array, grad = np.zeros(1, dtypes[0]), np.array([number]).astype(dtypes[1])
    message = f"the gradient of array '0' has dtype {grad.dtype}, which the array's {dtypes[0]} can't hold: convert it"
    with np.errstate(over="ignore"):
        assert grad.astype(dtypes[0]).real.astype(dtypes[1])[0] != grad[0]
    with pytest.raises(TypeError) as caught:
        RMSprop([array]).step([grad])
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("grads", [[G], [G, H, H], (), G, {"0": G, "1": H}])
def test_a_list_of_arrays_takes_a_list_of_as_many_gradients(grads):
    with pytest.raises((TypeError, ValueError), match=r"grads (is a|has)"):
        RMSprop([G.copy(), H.copy()]).step(grads)


@pytest.mark.parametrize("grad_scale", [np.nan, -1.0, np.inf])
def test_refuses_a_scale_out_of_range(started, grad_scale):
    optimizer, before = started
    with pytest.raises(ValueError, match="Invalid grad_scale: "):
        optimizer.step({"w": G, "b": H}, grad_scale=grad_scale)
    assert pickle.dumps(optimizer) == before


@pytest.mark.parametrize("lr", [np.nan, np.inf, None])
def test_refuses_a_learning_rate_set_out_of_range(started, lr):
    optimizer, _ = started
    arrays, state = copy.deepcopy((optimizer.arrays, optimizer.state))
    optimizer.lr = lr
    with pytest.raises((TypeError, ValueError), match="Invalid learning rate: "):
        optimizer.step({"w": G, "b": H})
    np.testing.assert_equal((optimizer.arrays, optimizer.state), (arrays, state))


def _replace(arrays):
    arrays["w"] = arrays["w"] * 1.0


def _add(arrays):
    arrays["c"] = H.copy()


@pytest.mark.parametrize("change", [_replace, _add])
def test_refuses_to_update_arrays_that_the_caller_replaced(started, change):
    optimizer, _ = started
    change(optimizer.arrays)
    with pytest.raises(ValueError, match=r"^arrays were replaced, added or removed since"):
        optimizer.step({"w": G, "b": H})


def test_refuses_an_array_that_has_become_read_only(started):
    optimizer, before = started
    optimizer.arrays["b"].flags.writeable = False
    with pytest.raises(ValueError, match=r"^array 'b' has become read-only: make it writeable, or pass None for it"):
        optimizer.step({"w": G, "b": H})
    optimizer.arrays["b"].flags.writeable = True
    assert pickle.dumps(optimizer) == before


def test_an_array_that_was_given_another_dtype_or_shape_is_refused():
    for change in ({"dtype": np.int64}, {"shape": (2, 2)}):
        array = np.zeros(4)
        optimizer = RMSprop([array])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # NumPy advises against it as well
            for name, value in change.items():
                setattr(array, name, value)
        with pytest.raises(ValueError, match=r"^dtype, shape or strides of an array were changed"):
            optimizer.step([np.ones(4)])
        assert not array.any()


def test_numbers_of_a_framework_that_traces_are_refused_though_it_is_loaded():
    import jax.numpy as jnp

    import rmsprop.jax as registers_its_arrays
    from rmsprop.torch import RMSprop as OnTorch

    assert registers_its_arrays
    with pytest.raises(TypeError, match="Invalid learning rate"):
        RMSprop([np.zeros(2)], lr=jnp.array(-1.0))
    with pytest.raises(TypeError, match="Invalid momentum value"):
        RMSprop([np.zeros(2)], momentum=jnp.array(0.5))
    optimizer = RMSprop([np.zeros(2)])
    optimizer.lr = jnp.array(0.1)
    with pytest.raises(TypeError, match="Invalid learning rate"):
        optimizer.step([np.ones(2)])
    with pytest.raises(TypeError, match="Invalid learning rate"):
        optimizer.state_dict()
    torch_param = torch.zeros(2, requires_grad=True)
    with pytest.raises(TypeError, match="Invalid momentum value"):
        OnTorch([torch_param], momentum=jnp.array(0.5))


def test_a_number_beyond_all_floats_is_out_of_range():
    with pytest.raises(ValueError, match=r"^Invalid learning rate: 1000"):
        RMSprop([np.zeros(2)], lr=10**400)
