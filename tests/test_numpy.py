"""The NumPy front end computes reference.py to the last bit, in place, whatever the order of memory."""

import copy
import pickle
import signal
import warnings
import weakref

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support import ALL_RULES, same_bits, wild_gradients

from rmsprop import DIALECTS, Rule, reference
from rmsprop.numpy import RMSprop
from rmsprop.numpy import plan as plan_module
from rmsprop.recipes import RECIPES

EVERYTHING = {"centered": True, "momentum": 0.9, "nesterov": True, "bias_correction": True, "weight_decay": 0.01}


def options(rule):
    return {name: getattr(rule, name) for name in Rule.__slots__}


def reals(array):
    """Return a complex array as pairs of reals, any other as it is."""
    array = np.ascontiguousarray(array)
    return array.view(array.real.dtype) if array.dtype.kind == "c" else array


class Reference:
    """What an optimizer must do with one array: `reference.update`, on a copy with no layout of its own."""

    def __init__(self, array, rule):
        self.rule, self.count = rule, 0
        self.param = reals(array).copy()
        self.state = reference.init(rule, self.param)

    def step(self, grad, lr, **how):
        self.count += 1
        self.param, self.state = reference.update(self.rule, lr, self.count, self.param, reals(grad), self.state, **how)

    def agrees(self, array, state):
        return (
            same_bits(reals(array), self.param)
            and state["step"] == self.count
            and list(state)[1:] == list(self.rule.state_names)
            and all(same_bits(reals(state[name]), self.state[name]) for name in self.state)
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_rule_has_the_bits_of_the_reference(dtype):
    rng = np.random.default_rng(1)
    for rule in ALL_RULES:
        arrays = [rng.standard_normal(shape).astype(dtype) for shape in ((5, 7), (48,))]
        expected = [Reference(array, rule) for array in arrays]
        optimizer = RMSprop(arrays, **options(rule), maximize=True)
        for step in range(1, 4):
            optimizer.lr = 0.01 / step
            grads = [wild_gradients(rng, array.shape, dtype) for array in arrays]
            optimizer.step(grads, grad_scale=0.7)
            for array, grad, state, one in zip(arrays, grads, optimizer.state, expected, strict=True):
                one.step(grad, 0.01 / step, maximize=True, grad_scale=0.7)
                assert one.agrees(array, state), (rule, step)


DTYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, np.complex64, np.complex128]


def numbers(rng, shape, dtype):
    dtype = np.dtype(dtype)
    values = rng.standard_normal(shape) + (1j * rng.standard_normal(shape) if dtype.kind == "c" else 0.0)
    return values.astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", [Rule(initial_square_avg=1.0), Rule(decay=0.9, **EVERYTHING)], ids=["plain", "all"])
def test_every_dtype_has_the_bits_of_the_reference(dtype, rule):
    rng = np.random.default_rng(0)
    array = numbers(rng, (6, 5), dtype)
    expected, optimizer = Reference(array, rule), RMSprop([array], **options(rule))
    for _ in range(5):
        grad = numbers(rng, (6, 5), dtype)
        optimizer.step([grad])
        expected.step(grad, 0.01)
        assert expected.agrees(array, optimizer.state[0])
    kept = {np.dtype(np.float16): np.float32, np.dtype(ml_dtypes.bfloat16): np.float32}.get(array.dtype, array.dtype)
    assert all(optimizer.state[0][name].dtype == kept for name in rule.state_names)


def test_arrays_of_all_dtypes_share_a_step():
    rng = np.random.default_rng(0)
    arrays = {np.dtype(dtype).name: numbers(rng, (3, 4), dtype) for dtype in DTYPES}
    expected = {name: Reference(array, Rule()) for name, array in arrays.items()}
    optimizer = RMSprop(arrays)
    grads = {name: numbers(rng, (3, 4), array.dtype) for name, array in reversed(arrays.items())}
    optimizer.step(grads)
    for name, one in expected.items():
        one.step(grads[name], 0.01)
        assert one.agrees(arrays[name], optimizer.state[name])


@st.composite
def views(draw, shape):
    """A view of the shape into memory of its own: any order of axes, any direction, gaps, an offset of some bytes."""
    axes = draw(st.permutations(range(len(shape))))
    steps = [draw(st.sampled_from((1, 1, -1, 2, -3))) for _ in shape]
    offset = draw(st.sampled_from((0, 0, 4, 3)))
    stored = [shape[axis] * abs(steps[axis]) for axis in axes]
    memory = np.full(int(np.prod(stored)) * 4 + offset, 7, np.uint8)
    block = memory[offset:].view(np.float32).reshape(stored).transpose(np.argsort(axes))
    view = block[(..., *(slice(None, None, step) for step in steps))]
    return memory, view


@st.composite
def cases(draw):
    shape = tuple(draw(st.lists(st.integers(0, 5), max_size=4)))
    return draw(views(shape)), [draw(views(shape)) for _ in range(2)]


@settings(max_examples=300)
@given(cases())
def test_no_layout_changes_a_bit_or_anything_beside_the_array(case):
    (memory, array), grads = case
    rng, rule = np.random.default_rng(0), Rule(decay=0.9, **EVERYTHING)
    array[...] = 0.0
    surroundings = memory.copy()
    array[...] = rng.standard_normal(array.shape)
    expected, optimizer = Reference(array, rule), RMSprop([array], **options(rule))
    for _, grad in grads:
        grad[...] = rng.standard_normal(array.shape)
        grad.flags.writeable = False
        before = grad.copy()
        optimizer.step([grad])
        expected.step(grad, 0.01)
        assert expected.agrees(array, optimizer.state[0])
        assert same_bits(grad, before)
    array[...] = 0.0
    assert np.array_equal(memory, surroundings)


@pytest.mark.parametrize("order", ["C", "F", "K"])
def test_state_lies_in_memory_as_the_array_does(order):
    array = np.ones((2, 3, 4)).transpose(1, 0, 2).copy(order=order)
    optimizer = RMSprop([array])
    assert optimizer.state[0]["square_avg"].strides == array.strides


def test_threads_change_no_bit():
    rng = np.random.default_rng(0)
    start, grad = numbers(rng, 500_003, np.float32), numbers(rng, 500_003, np.float32)  # above one thread's least
    expected = Reference(start, Rule())
    expected.step(grad, 0.01)
    for threads in (None, 1, 2, 3):
        array = start.copy()
        optimizer = RMSprop([array], threads=threads)
        optimizer.step([grad])
        assert expected.agrees(array, optimizer.state[0])


def _swapped(arrays, optimizer):
    return arrays[::-1]


def _shifted(arrays, optimizer):
    memory = arrays[0].base
    return [memory[51:151], memory[99:199]]  # begin in an array


def _earlier(arrays, optimizer):
    memory = arrays[0].base
    return [memory[:100], memory[250:350]]  # end in an array


def _state(arrays, optimizer):
    return [state["square_avg"] for state in optimizer.state]


@pytest.mark.parametrize("grads_of", [_swapped, _shifted, _earlier, _state])
def test_gradients_in_the_memory_of_arrays_or_state_are_read_before_it_is_written(grads_of):
    memory = np.random.default_rng(0).standard_normal(400)
    arrays = [memory[50:150], memory[300:]]
    expected, optimizer = [Reference(array, Rule()) for array in arrays], RMSprop(arrays)
    for _ in range(3):
        grads = grads_of(arrays, optimizer)
        for one, grad in zip(expected, [grad.copy() for grad in grads], strict=True):
            one.step(grad, 0.01)
        optimizer.step(grads)
        for one, array, state in zip(expected, arrays, optimizer.state, strict=True):
            assert one.agrees(array, state)


LOSSLESS = {
    "fewer bits": lambda grad: grad.astype(np.float32),
    "integers": lambda grad: grad.astype(np.int32),
    "other byte order": lambda grad: grad.astype(grad.dtype.newbyteorder()),
    "not aligned": lambda grad: np.frombuffer(b"x" + grad.tobytes(), np.float64, offset=1).reshape(grad.shape),
    "a memmap": lambda grad: grad.view(np.memmap),
}


@pytest.mark.parametrize("convert", LOSSLESS.values(), ids=LOSSLESS)
def test_gradients_that_convert_without_loss_are_taken(convert):
    array, grad = np.ones((2, 3)), 8.0 * np.arange(6.0).reshape(2, 3)
    expected, optimizer = Reference(array, Rule()), RMSprop([array])
    expected.step(grad, 0.01)
    optimizer.step([convert(grad)])
    assert expected.agrees(array, optimizer.state[0])


def test_an_array_without_axes_takes_the_scalar_that_numpy_computes():
    theta = np.array(3.0)
    optimizer = RMSprop([theta], lr=0.1, decay=0.75)
    optimizer.step([2.0 * theta])  # a np.float64
    assert float(theta) == pytest.approx(2.8, abs=1e-8)


def test_a_memmap_is_updated_on_disk(tmp_path):
    path = tmp_path / "weights"
    array = np.memmap(path, np.float32, "w+", shape=(10,))
    RMSprop([array]).step([np.ones(10, np.float32)])
    array.flush()
    assert np.fromfile(path, np.float32) == pytest.approx([-0.1] * 10, rel=1e-6)


@pytest.mark.parametrize("rule", [Rule(), Rule(bias_correction=True, momentum=0.9)], ids=["plain", "corrected"])
def test_an_array_without_a_gradient_stays_and_is_not_counted(rule):
    rng = np.random.default_rng(0)
    arrays = {name: numbers(rng, (4,), np.float32) for name in "abc"}
    expected = {name: Reference(array, rule) for name, array in arrays.items()}
    optimizer = RMSprop(arrays, **options(rule))
    for present in ("abc", "a", "a", "bc", "", "abc", "c", "abc"):
        grads = {name: numbers(rng, (4,), np.float32) if name in present else None for name in arrays}
        optimizer.step(grads)
        for name in present:
            expected[name].step(grads[name], 0.01)
        assert all(one.agrees(arrays[name], optimizer.state[name]) for name, one in expected.items())
    assert [state["step"] for state in optimizer.state.values()] == [5, 4, 5]


@pytest.mark.parametrize(
    "options", [{}, {"momentum": 0.9, "centered": True, "weight_decay": 0.01}], ids=["plain", "all"]
)
def test_agrees_with_torch(options):
    rng = np.random.default_rng(0)
    array = rng.standard_normal(100)
    theirs = torch.tensor(array.copy(), requires_grad=True)
    torchs, ours = torch.optim.RMSprop([theirs], **options), RMSprop([array], **options)
    for _ in range(20):
        grad = rng.standard_normal(100)
        theirs.grad = torch.from_numpy(grad)
        torchs.step()
        ours.step([grad])
    np.testing.assert_allclose(array, theirs.detach().numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_dialect_gives_the_defaults_and_an_argument_wins(dialect):
    lr = None if DIALECTS[dialect].lr else 0.5
    optimizer = RMSprop([np.zeros(2)], lr, dialect=dialect, eps=0.25, momentum=0.5)
    assert optimizer.rule == Rule.from_dialect(dialect, eps=0.25, momentum=0.5)
    assert optimizer.lr == DIALECTS[dialect].lr or lr


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_gives_the_settings_and_an_argument_wins(name):
    optimizer = RMSprop.from_recipe([np.zeros(2)], name, threads=None)
    assert (optimizer.rule, optimizer.lr) == (RECIPES[name].rule, RECIPES[name].lr)
    optimizer = RMSprop.from_recipe([np.zeros(2)], name, lr=0.5, eps=0.25, decay=None)
    assert (optimizer.lr, optimizer.rule.eps, optimizer.rule.decay) == (0.5, 0.25, RECIPES[name].rule.decay)


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


def test_arrays_may_interleave_and_be_empty():
    matrix = np.zeros((4, 4))
    arrays = [matrix[:, 0], matrix[:, 1], matrix[:0], matrix[::2, 2], matrix[1::2, 2]]
    RMSprop(arrays).step([np.ones_like(array) for array in arrays])
    assert (matrix[:, :3] < -0.09).all()
    assert (matrix[:, 3] == 0.0).all()


REFUSED_OPTIONS = [
    ({"lr": -1.0}, ValueError, "Invalid learning rate: -1.0"),
    ({"lr": "fast"}, TypeError, "Invalid learning rate: 'fast' is a str"),
    ({"decay": 2.0}, ValueError, "Invalid decay value: 2.0"),
    ({"dialect": "pytorch"}, ValueError, "Unknown dialect 'pytorch'"),
    ({"dialect": "tensorflow1"}, ValueError, "dialect 'tensorflow1' has no default learning rate"),
    ({"maximize": 1}, TypeError, "Invalid maximize value: 1 (allowed: True or False)"),
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
    "complex": ({"w": G, "b": H.astype(np.complex64)}, TypeError, "the gradient of array 'b' has dtype complex64"),
    "objects": ({"w": G, "b": H.astype(object)}, TypeError, "the gradient of array 'b' has dtype object"),
    "a list of numbers": ({"w": G, "b": [1.0] * 4}, TypeError, "the gradient of array 'b' is a list, but a NumPy"),
    "masked": ({"w": G, "b": np.ma.array(H)}, TypeError, "the gradient of array 'b' is a MaskedArray, but a NumPy"),
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


@pytest.mark.parametrize("lr", [np.nan, -1.0, np.inf, None])
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


def test_a_step_that_is_interrupted_anywhere_is_whole_or_did_not_happen():
    """With ρ = 1, v₀ = 1, ε = 0 and lr = 1 each update takes 1 from the parameter."""
    matrix = np.zeros((4, 2), np.float32)
    arrays = [matrix[:, 0], np.zeros(3, np.float32), np.zeros(3)]  # one with gaps is written back after the kernel
    grads = [np.ones(array.shape, array.dtype) for array in arrays]
    optimizer = RMSprop(arrays, lr=1.0, decay=1.0, eps=0.0, initial_square_avg=1.0)

    def interrupt(*_):
        raise KeyboardInterrupt

    before, interrupted = signal.signal(signal.SIGALRM, interrupt), 0
    try:
        for nth in range(6000):
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, 1e-6 * (1 + nth % 60))
                    optimizer.step(grads)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except KeyboardInterrupt:
                interrupted += 1
            for array, state in zip(arrays, optimizer.state, strict=True):
                assert (array == -state["step"]).all()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert interrupted > 100


def test_a_key_pressed_while_a_step_is_prepared_leaves_the_counts_alone(monkeypatch):
    arrays = [np.zeros(4, np.float32), np.zeros(4, np.float32)]
    expected, optimizer = Reference(arrays[0], Rule(bias_correction=True)), RMSprop(arrays, bias_correction=True)
    optimizer.step([H, H])
    with monkeypatch.context() as patch:
        patch.setattr(plan_module, "_Stretches", lambda slots: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            optimizer.step([H, None])
    optimizer.step([H, H])
    for _ in range(2):
        expected.step(H, 0.01)
    assert all(map(expected.agrees, arrays, optimizer.state))


def test_the_kernel_is_given_aligned_memory_only(monkeypatch):
    def shifted():
        return np.zeros(41, np.uint8)[1:].view(np.float32)

    seen, prepared = [], plan_module.native.prepared

    def watched(batches, **options):
        seen.extend(batches[0]._tables)
        return prepared(batches, **options)

    monkeypatch.setattr(plan_module.native, "prepared", watched)
    RMSprop([shifted()]).step([shifted()])
    assert len(seen) == 3
    assert all(address % 4 == 0 for address in seen)


def test_a_step_keeps_no_gradient_alive():
    grad = np.ones(3)
    watched = weakref.ref(grad)
    RMSprop([np.zeros(3)]).step([grad])
    del grad
    assert watched() is None


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
