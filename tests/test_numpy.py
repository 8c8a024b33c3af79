"""The NumPy front end computes reference.py to the last bit, in place, whatever the order of memory."""

import gc
import inspect
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

from rmsprop import DIALECTS, Rule, native, reference
from rmsprop.numpy import RMSprop
from rmsprop.numpy import plan as plan_module
from rmsprop.recipes import RECIPES

H = np.ones(4, np.float32)
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


@pytest.fixture(params=["kernel", "operations"])
def implementation(request, monkeypatch):
    """What updates the arrays."""
    if request.param == "operations":
        monkeypatch.setattr(native, "missing", lambda: "there is none")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "rmsprop updates the arrays by NumPy's operations")
            yield
    else:
        yield


@pytest.mark.usefixtures("implementation")
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


@pytest.mark.usefixtures("implementation")
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


@pytest.mark.usefixtures("implementation")
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


@pytest.mark.usefixtures("implementation")
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


@pytest.mark.usefixtures("implementation")
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


def test_the_signature_names_every_option():
    names = list(inspect.signature(RMSprop).parameters)
    assert names[:5] == ["arrays", "lr", "dialect", "maximize", "threads"]
    assert sorted(names[5:]) == sorted(Rule.__slots__)


def test_hyperparameters_may_be_arrays_without_axes():
    array, plain = np.ones(3), np.ones(3)
    optimizer = RMSprop([array], np.array(0.5), decay=np.array(0.9, np.float32), momentum=np.array(0.5))
    assert optimizer.rule == Rule(decay=float(np.float32(0.9)), momentum=0.5)
    optimizer.lr = np.array(0.25)
    optimizer.step([np.ones(3)])
    RMSprop([plain], 0.25, decay=float(np.float32(0.9)), momentum=0.5).step([np.ones(3)])
    assert (array == plain).all()


@pytest.mark.parametrize("lr", [-1e-19, -0.5])
def test_a_learning_rate_may_end_below_zero(lr):
    optimizer, other = (RMSprop([np.ones(3)], lr=0.1) for _ in range(2))
    expected = Reference(np.ones(3), Rule())
    optimizer.lr = lr
    optimizer.step([np.ones(3)])
    expected.step(np.ones(3), lr)
    assert expected.agrees(optimizer.arrays[0], optimizer.state[0])
    other.load_state_dict(optimizer.state_dict())
    assert other.lr == lr


@pytest.mark.usefixtures("implementation")
def test_a_step_that_is_interrupted_anywhere_is_whole_or_did_not_happen():
    """With ρ = 1, v₀ = 1, ε = 0 and lr = 1 each update takes 1 from the parameter."""
    matrix = np.zeros((4, 2), np.float32)
    arrays = [matrix[:, 0], np.zeros(3, np.float32), np.zeros(3)]  # one with gaps is written back after the kernel
    grads = [np.ones(array.shape, array.dtype) for array in arrays]
    optimizer = RMSprop(arrays, lr=1.0, decay=1.0, eps=0.0, initial_square_avg=1.0)

    def interrupt(*_):
        raise KeyboardInterrupt

    before, interrupted = signal.signal(signal.SIGALRM, interrupt), 0
    gc.disable()  # other packages have callbacks in it, where an interrupt gets lost
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
        gc.enable()
    assert interrupted > 100


def test_a_key_pressed_while_a_step_is_prepared_leaves_the_counts_alone(monkeypatch):
    arrays = [np.zeros(4, np.float32), np.zeros(4, np.float32)]
    expected, optimizer = Reference(arrays[0], Rule(bias_correction=True)), RMSprop(arrays, bias_correction=True)
    optimizer.step([H, H])
    with monkeypatch.context() as patch:
        patch.setattr(plan_module, "_Stretches", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
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


def test_arrays_may_interleave_and_be_empty():
    matrix = np.zeros((4, 4))
    arrays = [matrix[:, 0], matrix[:, 1], matrix[:0], matrix[::2, 2], matrix[1::2, 2]]
    RMSprop(arrays).step([np.ones_like(array) for array in arrays])
    assert (matrix[:, :3] < -0.09).all()
    assert (matrix[:, 3] == 0.0).all()
