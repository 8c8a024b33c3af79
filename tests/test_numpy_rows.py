"""Gradients of rows, ``(rows, values)``: the bits of torch's rows, and the steps of the dense gradient."""

import copy
import pickle
import warnings

import ml_dtypes
import numpy as np
import pytest
import torch
from support import same_bits

from rmsprop import native
from rmsprop.numpy import RMSprop
from rmsprop.torch import RMSprop as TorchRMSprop

SHAPE = (30, 6)
OPTIONS = {
    "plain": {},
    "centered": {"centered": True},
    "corrected": {"centered": True, "bias_correction": True},
    "first": {"init_from_gradient": True, "delayed": True},
    "ascent": {"maximize": True, "initial_square_avg": 1.0, "eps": 1e-3, "eps_inside_sqrt": True},
}
DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.complex64]
# No framework delays complex numbers.
KINDS = [
    (name, dtype)
    for name, options in OPTIONS.items()
    for dtype in DTYPES
    if not (options.get("delayed") and dtype is np.complex64)
]


@pytest.fixture(params=["kernel", "operations"])
def implementation(request, monkeypatch):
    """What updates the arrays."""
    if request.param == "operations":
        monkeypatch.setattr(native, "missing", lambda: "there is none")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "rmsprop updates .* operations, which are slower than its kernel: ")
            yield
    else:
        yield


def start(shape=SHAPE, dtype=np.float32):
    return np.random.default_rng(0).standard_normal(shape).astype(dtype)


def gradient(nth, array, count=5):
    """Gradients of some rows, several of them twice or more."""
    rng = np.random.default_rng(nth)
    rows = rng.integers(0, max(1, len(array) // 3), count) * 3 if len(array) else np.empty(0, int)
    values = rng.standard_normal((len(rows), *array.shape[1:]))
    return rows, (values + 1j * values[::-1] if array.dtype.kind == "c" else values).astype(array.dtype)


def dense_of(array, grad):
    dense = np.zeros_like(array)
    np.add.at(dense, *grad)
    return dense


def as_tensor(array):
    if array.dtype != ml_dtypes.bfloat16:
        return torch.from_numpy(array)
    return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)


def as_array(tensor):
    if tensor.dtype != torch.bfloat16:
        return tensor.detach().numpy()
    return tensor.detach().view(torch.int16).numpy().view(ml_dtypes.bfloat16)


def equal(one, other):
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize(("name", "dtype"), KINDS)
def test_rows_have_the_bits_of_torchs_rows(name, dtype):
    options = OPTIONS[name]
    array = start(dtype=dtype)
    param = as_tensor(array.copy()).requires_grad_()
    ours, theirs = RMSprop([array], 0.01, **options), TorchRMSprop([param], 0.01, **options)
    for nth in range(12):
        rows, values = gradient(nth, array)
        ours.step([(rows, values)])
        param.grad = torch.sparse_coo_tensor(
            torch.from_numpy(rows)[None], as_tensor(values), SHAPE, check_invariants=True
        )
        theirs.step()
    assert equal(array, as_array(param))
    assert not equal(array, start(dtype=dtype))
    for key, average in ours.state[0].items():
        if key != "step":
            assert equal(average, as_array(theirs.state[param][key])), key


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("shape", [(30, 6), (30,), (9, 2, 3), (4, 0), (0, 4)], ids=str)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_a_hundred_steps_are_those_of_the_dense_gradient(options, shape):
    arrays = [start(shape), start(shape)]
    on_rows, dense = (RMSprop([array], 0.01, **options) for array in arrays)
    for nth in range(100):
        grad = gradient(nth, arrays[0])
        on_rows.step([grad], grad_scale=0.5)
        dense.step([dense_of(arrays[1], grad)], grad_scale=0.5)
    assert on_rows.state[0]["step"] == 100
    # What tests/test_rows.py derives: units of the largest parameter.
    largest = np.abs(arrays[1]).max(initial=0)
    assert np.abs(arrays[0] - arrays[1]).max(initial=0) <= 8 * np.finfo(np.float32).eps * largest


@pytest.mark.usefixtures("implementation")
def test_rows_and_whole_gradients_and_none_take_turns():
    arrays = {"w": start(), "b": start((6,)), "u": start()}
    alike = {name: array.copy() for name, array in arrays.items()}
    mixed, dense = RMSprop(arrays, 0.01), RMSprop(alike, 0.01)
    for nth in range(20):
        w, u = gradient(nth, arrays["w"]), gradient(nth + 100, arrays["u"])
        whole = {"w": dense_of(alike["w"], w), "b": start((6,)), "u": dense_of(alike["u"], u)}
        whole |= {"u": None} if nth % 4 == 1 else {}
        given = {**whole, "w": whole["w"] if nth % 5 == 2 else w, "u": None if whole["u"] is None else u}
        mixed.step(given)
        dense.step(whole)
    assert [state["step"] for state in mixed.state.values()] == [20, 20, 15]
    for name, array in alike.items():
        np.testing.assert_allclose(arrays[name], array, rtol=0, atol=8 * np.finfo(np.float32).eps * np.abs(array).max())
    for name in ("w", "u"):  # 20 roundings of an average, and at most as many here
        np.testing.assert_allclose(mixed.state[name]["square_avg"], dense.state[name]["square_avg"], rtol=4e-6)


@pytest.mark.usefixtures("implementation")
def test_rows_count_for_their_array_alone():
    optimizer = RMSprop([start(), start()], 0.01)
    optimizer.step([start(), start()])
    optimizer.step([(np.array([3]), np.ones((1, 6), np.float32)), None])
    assert [state["step"] for state in optimizer.state] == [2, 1]


def _loaded(optimizer):
    other = RMSprop([optimizer.arrays[0].copy()])
    other.load_state_dict(optimizer.state_dict())
    return other


WAYS = {"state dict": _loaded, "copy": copy.deepcopy, "pickle": lambda o: pickle.loads(pickle.dumps(o))}


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_run_goes_on_to_the_same_bits(way):
    optimizer = RMSprop([start()], 0.01, centered=True)
    for nth in range(5):
        optimizer.step([gradient(nth, optimizer.arrays[0])])
    other = way(optimizer)
    for each in (optimizer, other):
        for nth in range(5, 10):
            each.step([gradient(nth, each.arrays[0])])
    assert same_bits(optimizer.arrays[0], other.arrays[0])


def test_what_was_read_of_the_state_is_up_to_date_and_updated_in_place():
    optimizer = RMSprop([start()], decay=0.5, initial_square_avg=1.0)
    average = optimizer.state[0]["square_avg"]
    for _ in range(3):
        optimizer.step([(np.array([2]), np.zeros((1, 6), np.float32))])
    assert (average[3] == 1.0).all()
    assert optimizer.state[0]["square_avg"] is not None
    assert (average == 0.125).all()


DENSE = {
    "momentum": ({"momentum": 0.5}, start, "momentum moves rows that have no gradient"),
    "decay": ({"weight_decay": 0.1}, start, "weight decay moves rows that have no gradient"),
    "gaps": ({}, lambda: start((30, 12))[:, ::2], "its rows don't follow each other in memory"),
    "columns": ({}, lambda: np.asfortranarray(start()), "its rows don't follow each other in memory"),
}


@pytest.mark.parametrize(("options", "make", "reason"), DENSE.values(), ids=DENSE)
def test_where_rows_alone_are_not_exact_a_dense_copy_is_and_says_so_once(options, make, reason):
    arrays = [make(), make()]
    on_rows, dense = (RMSprop({"w": array}, 0.01, **options) for array in arrays)
    grads = [gradient(nth, arrays[0]) for nth in range(4)]
    with pytest.warns(UserWarning, match=f"rows of array 'w' dense at every step, as {reason}") as said:
        on_rows.step({"w": grads[0]})
    assert said[0].filename == __file__
    for grad in grads[1:]:
        on_rows.step({"w": grad})
    for grad in grads:
        dense.step({"w": dense_of(arrays[1], grad)})
    assert same_bits(np.ascontiguousarray(arrays[0]), np.ascontiguousarray(arrays[1]))


@pytest.mark.usefixtures("implementation")
@pytest.mark.parametrize("order", [("w", "b"), ("b", "w")], ids="-".join)
def test_gradients_in_the_memory_of_arrays_are_read_before_it_is_written(order):
    arrays = {name: start((6,) if name == "b" else SHAPE) for name in order}
    alike = {name: array.copy() for name, array in arrays.items()}
    grads = [{"w": (np.arange(4), each["w"][1:5]), "b": each["w"][0]} for each in (arrays, alike)]
    apart = {"w": (np.arange(4), grads[1]["w"][1].copy()), "b": grads[1]["b"].copy()}
    RMSprop(arrays, 0.1).step(grads[0])
    RMSprop(alike, 0.1).step(apart)
    assert all(same_bits(arrays[name], alike[name]) for name in order)


def test_gradients_that_convert_without_loss_are_taken():
    arrays = [start(), start()]
    rows, values = gradient(0, arrays[0])
    RMSprop(arrays[:1]).step([(rows, values.astype(np.float16))])
    RMSprop(arrays[1:]).step([(rows.astype(np.uint8)[::-1][::-1], values.astype(np.float16).astype(np.float32))])
    assert same_bits(*arrays)


V = np.ones((2, 6), np.float32)
ROWS = np.array([3, 29])
REFUSED = {
    "three": ((ROWS, V, V), TypeError, "the gradient of array 'w' is a tuple of 3, but an array is needed, or the two"),
    "list": (([3, 29], V), TypeError, "the rows of the gradient of array 'w' are a list, but an array of one axis and"),
    "floats": ((ROWS * 1.0, V), TypeError, "the rows of the gradient of array 'w' are of 1 axes and float64, but an"),
    "mask": ((ROWS > 3, V), TypeError, "the rows of the gradient of array 'w' are of 1 axes and bool, but an array of"),
    "table": (
        (ROWS[None], V),
        TypeError,
        "the rows of the gradient of array 'w' are of 2 axes and int64, but an array",
    ),
    "numbers": ((ROWS, [1.0]), TypeError, "the second part of the gradient of array 'w' is a list, but a NumPy array"),
    "lossy": ((ROWS, V * np.float64(1)), TypeError, "the gradient of array 'w' has dtype float64, which the array's"),
    "width": (
        (ROWS, V[:, :5]),
        ValueError,
        "the values of the gradient of array 'w' have shape (2, 5), but its 2 rows",
    ),
    "count": ((ROWS, V[:1]), ValueError, "the values of the gradient of array 'w' have shape (1, 6), but its 2"),
    "too far": ((np.array([0, 30]), V), ValueError, "the gradient of array 'w' has row 30, but the array has 30 rows"),
    "below 0": ((np.array([0, -1]), V), ValueError, "the gradient of array 'w' has row -1, but the array has 30 rows"),
    "unsigned": ((np.array([0, 2**64 - 1], np.uint64), V), ValueError, "the gradient of array 'w' has row 1844674"),
}


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}], ids=str)
@pytest.mark.parametrize(("grad", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_gradient_of_rows_is_refused_and_changes_nothing(grad, error, message, options):
    optimizer = RMSprop({"w": start(), "b": start((6,))}, 0.1, **options)
    optimizer.step({"w": start(), "b": start((6,))})
    before = pickle.dumps(optimizer)
    with pytest.raises(error) as caught:
        optimizer.step({"w": grad, "b": start((6,))})
    assert str(caught.value).startswith(message)
    assert pickle.dumps(optimizer) == before


def test_arrays_without_rows_or_that_were_changed_are_refused():
    with pytest.raises(ValueError, match="array '0' has no axes, and so no rows: pass its gradient as an array"):
        RMSprop([np.ones(())]).step([(np.zeros(1, int), np.ones(1))])
    table = start()
    optimizer = RMSprop([table])
    table.flags.writeable = False
    with pytest.raises(ValueError, match="array '0' has become read-only"):
        optimizer.step([(ROWS, V)])
    assert same_bits(table, start())


def test_a_failing_gradient_beside_rows_leaves_the_rows_alone():
    optimizer = RMSprop({"w": start(), "b": start((6,))}, 0.1)
    with pytest.raises(ValueError, match="the gradient of array 'b' has shape"):
        optimizer.step({"w": (ROWS, V), "b": start((5,))})
    assert same_bits(optimizer.arrays["w"], start())
    assert optimizer.state["w"]["step"] == 0


def test_no_memory_for_the_sums_is_an_error_and_counts_no_step(monkeypatch):
    optimizer = RMSprop([start(), start((6,))], 0.1)
    monkeypatch.setattr("rmsprop.row_table.prepared_rows", lambda *_: lambda: native.NO_MEMORY)
    with pytest.raises(MemoryError, match="no memory for the sums"):
        optimizer.step([(ROWS, V), start((6,))])
    monkeypatch.undo()
    assert [state["step"] for state in optimizer.state] == [0, 0]
    assert same_bits(optimizer.arrays[1], start((6,)))
