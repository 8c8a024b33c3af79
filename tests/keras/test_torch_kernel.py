"""On the torch backend the compiled kernel updates the variables: its bits, what it leaves, and what it says then."""

import multiprocessing
import warnings
from dataclasses import replace

import keras
import numpy as np
import pytest
import torch
from support import ALL_RULES, same_bits

from rmsprop import Rule, native, reference
from rmsprop.keras import RMSprop
from rmsprop.keras.optimizer import KEYWORDS
from rmsprop.threads import TorchUpdate

SHAPES = ((7,), (3, 5), (), (0,), (40, 33))
SLOW = "rmsprop updates variable .* by tensor operations, which are slower than its kernel: it "


@pytest.fixture
def kernel_steps(monkeypatch):
    """A list that grows by the number of tables at each call of the kernel."""
    steps = []
    run = TorchUpdate.__call__
    monkeypatch.setattr(TorchUpdate, "__call__", lambda self: steps.append(len(self._batches)) or run(self))
    return steps


@pytest.fixture
def one_by_one(monkeypatch):
    """A list of the variables that are not left to the kernel."""
    names = []
    update = RMSprop.update_step
    monkeypatch.setattr(RMSprop, "update_step", lambda self, g, v, lr: names.append(v.name) or update(self, g, v, lr))
    return names


def numbers(shape, seed, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def options_of(rule):
    return {keyword: getattr(rule, field) for field, keyword in KEYWORDS.items()}


def tensor_of(variable):
    return variable.value.detach()


@pytest.mark.parametrize("rule", ALL_RULES[::5], ids=str)  # 5 divides no axis of it, so every option is met
def test_float32_has_the_bits_of_the_reference(rule, one_by_one):
    starts = [numbers(shape, i) for i, shape in enumerate(SHAPES)]
    variables = [keras.Variable(start, name=f"v{i}") for i, start in enumerate(starts)]
    states = [reference.init(rule, start) for start in starts]
    optimizer, lr = RMSprop(0.01, **options_of(rule)), float(np.float32(0.01))
    for step in range(1, 4):
        grads = [numbers(shape, 10 * step + i) for i, shape in enumerate(SHAPES)]
        optimizer.apply([torch.tensor(grad) for grad in grads], variables)
        for i, grad in enumerate(grads):
            starts[i], states[i] = reference.update(rule, lr, step, starts[i], grad, states[i])
            assert same_bits(starts[i], tensor_of(variables[i]).numpy())
            for name, value in states[i].items():
                assert same_bits(value, tensor_of(optimizer._state[name][i]).numpy()), name
    assert not one_by_one


def variable_in(layout, start, dtype):
    """Return a variable whose tensor lies in memory in some way."""
    tensor = torch.tensor(start, dtype=dtype)
    match layout:
        case "transposed":
            tensor = tensor.T.contiguous().T
        case "gaps":
            wide = torch.zeros(*tensor.shape[:-1], 2 * tensor.shape[-1], dtype=dtype)
            wide[..., ::2] = tensor
            tensor = wide[..., ::2]
    variable = keras.Variable(np.zeros(tensor.shape), dtype=str(dtype).removeprefix("torch."), name="w")
    variable.value.data = tensor
    return variable


@pytest.mark.parametrize("layout", ["plain", "transposed", "gaps"])
@pytest.mark.parametrize("grad_layout", ["plain", "transposed"])
@pytest.mark.parametrize(
    ("dtype", "grad_dtype"),
    [
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.bfloat16, torch.bfloat16),
        (torch.float16, torch.float16),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.bfloat16),
        (torch.float32, torch.int32),
    ],
    ids=str,
)
def test_every_layout_and_dtype(layout, grad_layout, dtype, grad_dtype, one_by_one):
    rule, lr = Rule(momentum=0.5, centered=True, eps=0.5), 2.0**-7
    variable = variable_in(layout, numbers((3, 5), 0), dtype)
    optimizer = RMSprop(lr, **options_of(rule))
    expected = tensor_of(variable).to(torch.promote_types(dtype, torch.float32)).numpy().copy()
    state = reference.init(rule, expected)
    for step in range(1, 3):
        grad = torch.tensor(8 * numbers((3, 5), step)).to(grad_dtype)
        grad = grad.T.contiguous().T if grad_layout == "transposed" else grad
        optimizer.apply([grad], [variable])
        working = grad.to(torch.promote_types(dtype, torch.float32)).numpy()
        expected, state = reference.update(rule, lr, step, expected, working, state)
        expected = torch.tensor(expected).to(dtype)  # rounded as it is stored
        assert torch.equal(tensor_of(variable), expected)
        expected = expected.to(torch.promote_types(dtype, torch.float32)).numpy()
    assert not one_by_one


def test_excluded_and_resting_variables_share_the_call(kernel_steps, one_by_one, array):
    rule = Rule(weight_decay=0.1)
    variables = [keras.Variable(np.ones(3, np.float32), name=name) for name in ("kernel", "bias", "rests")]
    optimizer = RMSprop(0.5, **options_of(rule))
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build(variables)
    grad = numbers(3, 0)
    for _ in range(2):
        with pytest.warns(UserWarning, match="Gradients do not exist"):
            optimizer.apply([torch.tensor(grad), torch.tensor(grad), None], variables)
    for variable, decay in zip(variables, (0.1, 0.0), strict=False):
        own, value, state = replace(rule, weight_decay=decay), np.ones(3, np.float32), {}
        state = reference.init(own, value)
        for step in (1, 2):
            value, state = reference.update(own, 0.5, step, value, grad, state)
        assert same_bits(value, tensor_of(variable).numpy())
    np.testing.assert_array_equal(array(variables[2]), np.ones(3))
    assert kernel_steps == [2, 2]
    assert not one_by_one


def test_variables_may_take_turns(kernel_steps, array):
    variables = [keras.Variable(np.ones(3, np.float32), name=name) for name in "ab"]
    apart = [keras.Variable(np.ones(3, np.float32), name=name) for name in "ab"]
    together, optimizers = RMSprop(0.5), [RMSprop(0.5) for _ in apart]
    together.build(variables)
    for step in range(4):
        grad = torch.tensor(numbers(3, step))
        together.apply([grad], [variables[step % 2]])
        optimizers[step % 2].apply([grad], [apart[step % 2]])
    for one, other in zip(variables, apart, strict=True):
        np.testing.assert_array_equal(array(one), array(other))
    assert len(kernel_steps) == 8


def test_memory_may_move_and_options_may_change(one_by_one):
    variable, optimizer = keras.Variable(np.ones(3, np.float32)), RMSprop(0.5, momentum=0.5)
    expected, state = np.ones(3, np.float32), reference.init(optimizer.rule, np.ones(3, np.float32))
    for step, momentum in enumerate((0.5, 0.25, 0.75), 1):
        optimizer.momentum, optimizer.learning_rate = momentum, 0.5 / step
        variable.value.data = variable.value.data.clone()
        grad = numbers(3, step)
        optimizer.apply([torch.tensor(grad)], [variable])
        lr = float(np.float32(0.5 / step))
        expected, state = reference.update(optimizer.rule, lr, step, expected, grad, state)
        assert same_bits(expected, tensor_of(variable).numpy())
    assert not one_by_one


@pytest.mark.parametrize("layout", ["plain", "gaps"])
def test_autograd_refuses_to_go_back_through_an_updated_variable(layout):
    variable, optimizer = variable_in(layout, np.ones((2, 3)), torch.float32), RMSprop(0.5)
    variable.value.requires_grad_(True)
    loss = (variable.value**2).sum()
    optimizer.apply([torch.ones(2, 3)], [variable])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_gradient_may_require_a_gradient(kernel_steps):
    variable, optimizer = keras.Variable(np.ones(3, np.float32)), RMSprop(0.5)
    optimizer.apply([torch.ones(3, requires_grad=True)], [variable])
    assert kernel_steps == [1]
    assert tensor_of(variable)[0] < 1


def test_what_is_stateless_changes_nothing(kernel_steps, array):
    variable, optimizer = keras.Variable(np.ones(3, np.float32)), RMSprop(0.5)
    optimizer.build([variable])
    state, grad = [v.value for v in optimizer.variables], torch.ones(3)
    (value,), (_, _, velocity) = optimizer.stateless_apply(state, [grad], [variable.value])
    assert not kernel_steps
    np.testing.assert_array_equal(array(variable), np.ones(3))
    np.testing.assert_array_equal(array(optimizer.variables[2]), np.zeros(3))
    optimizer.apply([grad], [variable])
    assert kernel_steps == [1]
    np.testing.assert_allclose(array(value), array(variable), rtol=2**-23)  # torch's √ may be one unit off
    np.testing.assert_array_equal(array(velocity), array(optimizer.variables[2]))


def test_a_compiler_traces_the_update_in_array_operations(array):
    variables = [keras.Variable(np.ones(3, np.float32)) for _ in range(2)]
    optimizers = [RMSprop(0.5, momentum=0.5) for _ in range(2)]
    for optimizer, variable in zip(optimizers, variables, strict=True):
        optimizer.build([variable])
    compiled = torch.compile(lambda grad: optimizers[0].apply([grad], [variables[0]]), backend="eager")
    for step in range(2):
        grad = torch.tensor(numbers(3, step))
        compiled(grad)
        optimizers[1].apply([grad], [variables[1]])
    np.testing.assert_allclose(array(variables[0]), array(variables[1]), rtol=4 * 2**-23)  # √ of each of two steps


def test_an_update_of_ones_own_is_called(kernel_steps):
    class Halved(RMSprop):
        def update_step(self, gradient, variable, learning_rate):
            super().update_step(gradient, variable, learning_rate / 2)

    variable = keras.Variable(np.ones(3, np.float32))
    Halved(0.5, rho=0.75, epsilon=0.0).apply([torch.ones(3)], [variable])
    assert not kernel_steps
    np.testing.assert_array_equal(tensor_of(variable).numpy(), np.full(3, 0.5, np.float32))  # lr·g/√v = 0.25·2


def entangled_case(case):
    """Return variables, of which the first shares no memory, and their gradients."""
    memory = torch.linspace(-1, 1, 9)
    variables = [keras.Variable(np.ones(4, np.float32), name=name) for name in ("alone", "first", "second")]
    grads = [torch.full((4,), float(i + 1)) for i in range(3)]
    variables[1].value.data = memory[:4]
    match case:
        case "variables":
            variables[2].value.data = memory[2:6]
        case "gradient":
            grads[2] = memory[1:5]
        case "gradient of itself":
            grads[1] = memory[:4]
    return variables, grads


@pytest.mark.parametrize("case", ["variables", "gradient", "gradient of itself"])
def test_what_shares_memory_is_updated_one_after_the_other(case, kernel_steps, one_by_one):
    variables, grads = entangled_case(case)
    optimizer = RMSprop(0.5)
    with pytest.warns(UserWarning, match=SLOW.replace(".*", "first.*") + "shares memory with another variable"):
        optimizer.apply(grads, variables)
    assert kernel_steps == [1]
    assert one_by_one == (["first"] if case == "gradient of itself" else ["first", "second"])
    expected, expected_grads = entangled_case(case)
    for variable, grad in zip(expected, expected_grads, strict=True):
        RMSprop.update_step(built_with(variable), grad, variable, 0.5)
    for one, other in zip(variables, expected, strict=True):
        np.testing.assert_allclose(tensor_of(one), tensor_of(other), rtol=2**-22)


def built_with(variable):
    optimizer = RMSprop(0.5)
    optimizer.build([variable])
    return optimizer


def test_a_gradient_that_moves_into_a_variable_is_seen(kernel_steps, one_by_one):
    variables, grads = entangled_case("gradient")
    optimizer = RMSprop(0.5)
    optimizer.apply([grad.clone() for grad in grads], variables)
    assert not one_by_one
    with pytest.warns(UserWarning, match="shares memory"):
        optimizer.apply(grads, variables)
    assert one_by_one == ["first", "second"]
    optimizer.apply([grad.clone() for grad in grads], variables)
    assert kernel_steps == [1, 1, 1]


def test_a_missing_kernel_is_told_once(monkeypatch, one_by_one):
    monkeypatch.setattr(native, "missing", lambda: "rmsprop's compiled kernel is missing")
    variables = [keras.Variable(np.ones(3, np.float32), name=name) for name in "ab"]
    optimizer = RMSprop(0.5)
    with pytest.warns(UserWarning, match=SLOW + "is on the CPU, where rmsprop's compiled kernel is missing") as found:
        optimizer.apply([torch.ones(3)] * 2, variables)
    assert "a (and 1 more)" in str(found[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer.apply([torch.ones(3)] * 2, variables)
    assert one_by_one == ["a", "b"] * 2


def step_in_child(optimizer, variables, grad, queue):
    optimizer.apply([grad], variables)
    queue.put(float(tensor_of(variables[0])[0]))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_takes_its_step(array):
    # Large enough for several threads; made here, because torch's own operations would hang in the child.
    variables, optimizer = [keras.Variable(np.ones(1 << 18, np.float32))], RMSprop(0.5)
    grad = torch.ones(1 << 18)
    optimizer.apply([grad], variables)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=step_in_child, args=(optimizer, variables, grad, queue))
    child.start()
    found = queue.get(timeout=60)
    child.join()
    optimizer.apply([grad], variables)
    assert found == array(variables[0])[0]
