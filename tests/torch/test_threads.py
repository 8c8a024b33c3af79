"""One optimizer and several threads: steps come one after the other, and nothing is left locked."""

import threading

import pytest
import torch
from workers import bits, constant_gradient, in_processes, in_threads, step_from_threads

from rmsprop.torch import RMSprop

OPTIONS = {
    "plain": {},
    "centered": {"centered": True, "momentum": 0.9},
    "corrected": {"bias_correction": True},  # where the update itself depends on the count
    "composite": {"fused": False},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_steps_from_several_threads_are_as_many_steps_one_after_the_other(options):
    # In a process of its own, because what goes wrong here ends one.
    size = 2_000_000 if "fused" not in options else 20_000
    (found,) = in_processes("spawn", step_from_threads, options, size, 3, 4, count=1)
    assert found == ([None] * 3, 12, True)


def test_optimizers_in_threads_of_their_own_do_not_wait_for_each_other():
    # Each closure returns only once the other one runs too.
    optimizers = [constant_gradient({}, 1000) for _ in range(2)]
    meeting = threading.Barrier(2)

    def meet():
        meeting.wait(30)

    assert in_threads(*(lambda o=o: o.step(meet) for o in optimizers)) == [None, None]
    assert bits(optimizers[0]) == bits(optimizers[1])


@pytest.mark.parametrize("cls", [torch.optim.RMSprop, RMSprop], ids=["torch", "ours"])
def test_a_closure_may_step_another_optimizer(cls):
    first, second = torch.zeros(5), torch.zeros(5)
    first.grad, second.grad = torch.ones(5), torch.ones(5)
    outer, inner = cls([first], lr=0.1), cls([second], lr=0.1)
    outer.step(inner.step)
    assert torch.equal(first, second)
    assert (first < 0).all()


@pytest.mark.parametrize("cls", [torch.optim.RMSprop, RMSprop], ids=["torch", "ours"])
def test_a_closure_may_step_its_own_optimizer(cls):
    param, twin = torch.zeros(5), torch.zeros(5)
    param.grad = twin.grad = torch.ones(5)
    optimizer, reference = cls([param], lr=0.1), cls([twin], lr=0.1)
    assert in_threads(lambda: optimizer.step(optimizer.step)) == [None]
    for _ in range(2):
        reference.step()
    assert torch.equal(param, twin)
    assert optimizer.state[param]["step"] == 2


def test_closures_that_step_each_others_optimizers_do_not_wait_for_ever():
    first, second = (constant_gradient({}, 1000) for _ in range(2))
    meeting = threading.Barrier(2)

    def stepping(other):
        def closure():
            meeting.wait(30)  # both are inside their step now
            other.step()

        return closure

    assert in_threads(lambda: first.step(stepping(second)), lambda: second.step(stepping(first))) == [None, None]
    assert [o.state[o.param_groups[0]["params"][0]]["step"].item() for o in (first, second)] == [2, 2]
    assert bits(first) == bits(second)


def failing_closure(optimizer):
    def closure():
        raise ArithmeticError("from a test")

    return lambda: optimizer.step(closure)


def failing_option(optimizer):
    def step():
        optimizer.param_groups[0]["alpha"] = 2.0
        try:
            optimizer.step()
        finally:
            optimizer.param_groups[0]["alpha"] = 0.99

    return step


def failing_hook(before):
    def prepare(optimizer):
        def hook(*_):
            raise ArithmeticError("from a test")

        register = optimizer.register_step_pre_hook if before else optimizer.register_step_post_hook

        def step():
            handle = register(hook)
            try:
                optimizer.step()
            finally:
                handle.remove()

        return step

    return prepare


def outside_of(param):
    """A sparse gradient with a row that a parameter hasn't."""
    return torch.sparse_coo_tensor([[len(param)]], [1.0], param.shape, check_invariants=False)


def failing_gradient(optimizer):
    def step():
        (param,) = optimizer.param_groups[0]["params"]
        whole, param.grad = param.grad, outside_of(param)
        try:
            optimizer.step()
        finally:
            param.grad = whole

    return step


FAILURES = {
    "in the closure": (failing_closure, 0),
    "in an option": (failing_option, 0),
    "in a hook before": (failing_hook(True), 0),
    "in a hook after": (failing_hook(False), 1),
    "in a gradient": (failing_gradient, 0),
}


@pytest.mark.parametrize(("failure", "steps_taken"), FAILURES.values(), ids=FAILURES)
def test_an_error_in_one_thread_does_not_block_another(failure, steps_taken):
    optimizer, expected = constant_gradient({}, 1000), constant_gradient({}, 1000)
    optimizer.step()
    (raised,) = in_threads(failure(optimizer))
    assert isinstance(raised, (ArithmeticError, ValueError, RuntimeError))
    assert in_threads(optimizer.step) == [None]
    for _ in range(2 + steps_taken):
        expected.step()
    assert bits(optimizer) == bits(expected)
