"""Rows that a step needs prepared, those that need no preparing, and how they are named: else it says what to do."""

import numpy as np
import pytest
import torch
from prepared_rows import gradient, made, param_of, taken, taken_densely

from rmsprop.torch import RMSprop, ScheduleFreeRMSprop


def test_rows_that_are_not_prepared_are_not_touched():
    optimizer = made(momentum=0.9)
    taken(optimizer, gradient(0))
    before, others = param_of(optimizer).detach().clone(), torch.ones(30, dtype=torch.bool)
    others[gradient(1)._indices()[0]] = False
    taken(optimizer, gradient(1))
    assert torch.equal(param_of(optimizer)[others], before[others])
    optimizer.prepare()
    assert not torch.equal(param_of(optimizer)[others], before[others])


def test_a_row_that_was_not_prepared_is_refused_before_anything_changes():
    optimizer = made(momentum=0.9)
    for nth in range(3):
        taken(optimizer, gradient(nth))
    before, now = param_of(optimizer).detach().clone(), gradient(9)
    param_of(optimizer).grad = now
    with pytest.raises(RuntimeError, match=r"row \d+ of parameter 0 has a gradient, but was not prepared: a forward"):
        optimizer.step()
    assert torch.equal(param_of(optimizer), before)
    assert optimizer.state[param_of(optimizer)]["step"] == 3
    taken(optimizer, now)  # says sorry


@pytest.mark.filterwarnings("ignore:rmsprop makes the sparse gradient of parameter 0 dense")
@pytest.mark.parametrize("options", [{}, {"max_grad_ratio": 0.5}], ids=["a dense gradient", "a dense copy"])
def test_rows_that_were_not_prepared_are_refused_where_a_step_needs_all_rows(options):
    optimizer = made(momentum=0.9)
    for nth in range(3):
        taken(optimizer, gradient(nth))
    optimizer.param_groups[0].update(options)
    before, now = param_of(optimizer).detach().clone(), gradient(9)
    param_of(optimizer).grad = now if options else now.to_dense()
    with pytest.raises(RuntimeError, match=r"row \d+ of parameter 0 has a gradient, but was not prepared: a forward"):
        optimizer.step()
    assert torch.equal(param_of(optimizer), before)
    optimizer.prepare()
    optimizer.step()
    assert optimizer.state[param_of(optimizer)]["step"] == 4


SWEPT = {
    "l2": ({"weight_decay": 0.1}, "weight decay moves rows that have no gradient"),
    "caution": ({"momentum": 0.9, "caution": True}, "momentum moves rows|caution"),
    "units": ({"momentum": 0.9, "max_grad_ratio": 0.5}, "momentum moves rows|max_grad_ratio"),
}


@pytest.mark.parametrize(("options", "match"), SWEPT.values(), ids=SWEPT)
def test_what_has_no_closed_form_is_still_swept_and_says_so(options, match):
    rows, dense = (made(**options) for _ in range(2))
    with pytest.warns(UserWarning, match=match) as told:
        taken(rows, gradient(0))
    assert "prepare()" not in str(told[0].message)
    taken_densely(dense, gradient(0))
    for nth in range(1, 5):
        taken(rows, gradient(nth))
        taken_densely(dense, gradient(nth))
    assert torch.equal(param_of(rows), param_of(dense))


def test_who_does_not_prepare_is_told_of_it():
    optimizer = made(momentum=0.9)
    param_of(optimizer).grad = gradient(0)
    with pytest.warns(UserWarning, match=r"the whole table\. prepare\(\) of the optimizer with the rows, before each"):
        optimizer.step()


def a_wider_gradient(optimizer):
    param_of(optimizer).grad_dtype = None
    param_of(optimizer).grad = gradient(0, dtype=torch.float64)


def a_gradient_of_shared_state(optimizer):
    optimizer.share_memory()
    param_of(optimizer).grad = gradient(0)


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}], ids=str)
@pytest.mark.parametrize("given", [a_wider_gradient, a_gradient_of_shared_state])
def test_nobody_is_told_to_prepare_where_that_does_nothing(given, options):
    optimizer = made(**options)
    given(optimizer)
    with pytest.warns(UserWarning, match=r"costs as much as one of the whole table$"):
        optimizer.step()


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "sparse": "lazy"}, {"sparse": "rowwise"}], ids=str)
def test_rows_that_rest_need_no_preparing(options):
    prepared, other = made(**options), made(**options)
    for nth in range(5):
        taken(prepared, gradient(nth))
        param_of(other).grad = gradient(nth)
        other.step()
    assert torch.equal(param_of(prepared), param_of(other))


SOME_ROWS = {
    "a number": 3,
    "a list of numbers": [torch.tensor(3), 3],
    "a range": range(2, 5),
    "bytes": np.array([3], np.int8),
    "numbers without sign": np.array([[3, 2]], np.uint16),
    "int32": torch.tensor([3, 3, 2], dtype=torch.int32),
}


@pytest.mark.parametrize("rows", SOME_ROWS.values(), ids=SOME_ROWS)
def test_rows_are_named_by_whatever_holds_integers(rows):
    optimizer, dense = (made(momentum=0.9, dtype=torch.float64) for _ in range(2))
    grads = [gradient(nth, dtype=torch.float64) for nth in range(5)]
    for nth in range(5):
        taken(optimizer, grads[nth])
        taken_densely(dense, grads[nth])
    optimizer.prepare(rows)
    moved = param_of(optimizer)[3] - param_of(dense)[3]
    assert moved.abs().max() <= 6 * 5 * 2**-53 * 4


def test_other_sparse_dimensions_spare_nobody_the_preparing():
    optimizer = made((6, 3, 2), momentum=0.9)
    for nth in range(3):
        taken(optimizer, gradient(nth, (6, 3, 2), 2))
    optimizer.prepare([4])
    before = param_of(optimizer).detach().clone()
    behind = torch.sparse_coo_tensor([[4, 5], [0, 1]], torch.ones(2, 2), (6, 3, 2), check_invariants=True)
    param_of(optimizer).grad = behind
    with pytest.raises(RuntimeError, match="row 5 of parameter 0 has a gradient, but was not prepared"):
        optimizer.step()
    assert torch.equal(param_of(optimizer), before)
    taken(optimizer, behind)


BAD = {
    "a row too far": (lambda p: [30], ValueError, "row 30 of parameter 0 was named, which has rows 0 to 29"),
    "a row below 0": (lambda p: {p: torch.tensor([[2, -1]])}, ValueError, "row -1 of parameter 0"),
    "no integers": (
        lambda p: torch.ones(3),
        TypeError,
        "rows of parameter 0 must be integers, but are of torch.float32",
    ),
    "a mask": (lambda p: torch.ones(30, dtype=torch.bool), TypeError, "must be integers, but are of torch.bool"),
    "a set": (lambda p: {1, 2}, TypeError, "in one tensor, array or list, but this set can't be read as such"),
    "several tensors": (lambda p: [torch.ones(2, dtype=torch.int64)] * 2, TypeError, "this list can't be read"),
    "too large a number": (lambda p: [2**70], TypeError, "this list can't be read as such: Overflow"),
    "coordinates": (lambda p: torch.arange(3).to_sparse(), TypeError, "must be a dense tensor of integers"),
    "another tensor": (lambda p: {torch.ones(3): [0]}, ValueError, r"a tensor of shape \(3,\), which is no parameter"),
    "a name": (lambda p: {"weight": [0]}, ValueError, "rows of 'weight', which is no parameter"),
}


@pytest.mark.parametrize(("rows", "error", "match"), BAD.values(), ids=BAD)
def test_bad_rows_are_refused(rows, error, match):
    optimizer = made(momentum=0.9)
    with pytest.raises(error, match=match):
        optimizer.prepare(rows(param_of(optimizer)))
    assert not optimizer.state


def test_rows_of_one_of_several_parameters_are_named():
    optimizer = RMSprop([torch.ones(3, 2), torch.ones(4)], momentum=0.9)
    with pytest.raises(ValueError, match=r"has 2 parameters: say whose rows these are, prepare\(\{weight: rows\}\)"):
        optimizer.prepare([0])


def test_an_average_of_all_steps_prepares_no_rows():
    optimizer = ScheduleFreeRMSprop([torch.ones(3, 2, requires_grad=True)], lr=0.1)
    with pytest.raises(RuntimeError, match="ScheduleFreeRMSprop does not support sparse gradients, and can't prepare"):
        optimizer.prepare([0])
