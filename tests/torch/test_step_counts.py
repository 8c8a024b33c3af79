"""One counter per group costs less than one per parameter, and must mean the same: the steps of each parameter."""

import pickle
from copy import copy, deepcopy

import numpy as np
import pytest
import torch

from rmsprop.torch import RMSprop


def counts(optimizer):
    return [
        optimizer.state[p]["step"].item() if p in optimizer.state else None for p in optimizer.param_groups[0]["params"]
    ]


def step(optimizer, present):
    for param, given in zip(optimizer.param_groups[0]["params"], present, strict=True):
        param.grad = torch.ones_like(param) if given else None
    optimizer.step()


def three(cls=RMSprop, **options):
    return cls([torch.zeros(3, requires_grad=True) for _ in range(3)], **options)


PATTERNS = {
    "always": [(1, 1, 1)] * 4,
    "one idle from the start": [(1, 1, 0)] * 3 + [(1, 1, 1)] * 2,
    "one drops out": [(1, 1, 1)] * 2 + [(1, 0, 1)] * 3,
    "in turns": [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1)],
    "out and back": [(1, 1, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1), (1, 1, 1)],
    "none": [(0, 0, 0), (1, 1, 1), (0, 0, 0)],
}


@pytest.mark.parametrize("flags", [{"fused": True}, {"fused": False}, {"capturable": True}], ids=str)
@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_every_parameter_is_counted_as_torch_counts_it(pattern, flags):
    ours, theirs = three(bias_correction=True, **flags), three(torch.optim.RMSprop)
    for present in pattern:
        step(ours, present)
        step(theirs, present)
        assert counts(ours) == counts(theirs)


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_bias_correction_goes_by_the_count_of_the_parameter(pattern, implementation):
    together = three(bias_correction=True, **implementation)
    params = together.param_groups[0]["params"]
    apart = [torch.zeros(3, requires_grad=True) for _ in params]
    several = [RMSprop([param], bias_correction=True, **implementation) for param in apart]
    for present in pattern:
        step(together, present)
        for optimizer, given in zip(several, present, strict=True):
            step(optimizer, [given])
    assert all(map(torch.equal, params, apart))


def test_a_counter_is_a_tensor_like_that_of_torch():
    ours, theirs = three(), three(torch.optim.RMSprop)
    for optimizer in (ours, theirs):
        step(optimizer, (1, 1, 1))
    for mine, its in zip(ours.state.values(), theirs.state.values(), strict=True):
        assert isinstance(mine["step"], torch.Tensor)
        assert mine["step"].dtype == its["step"].dtype
        assert mine["step"].shape == its["step"].shape
        assert mine["step"].device == its["step"].device


@pytest.mark.parametrize("default", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_the_default_dtype_never_makes_a_counter_too_narrow_to_count(default):
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        ours, theirs = three(), three(torch.optim.RMSprop)
        for optimizer in (ours, theirs):
            step(optimizer, (1, 1, 1))
        dtypes = {state["step"].dtype for optimizer in (ours, theirs) for state in optimizer.state.values()}
        assert dtypes == {torch.float64 if default == torch.float64 else torch.float32}
    finally:
        torch.set_default_dtype(before)


def test_a_state_dict_shows_every_parameter_a_counter_of_its_own():
    # torch adds 1 to the counter of each parameter: one in common would count thrice as fast there.
    optimizer = three()
    step(optimizer, (1, 1, 1))
    loaded = three(torch.optim.RMSprop)
    loaded.load_state_dict(pickle.loads(pickle.dumps(optimizer.state_dict())))
    step(loaded, (1, 1, 1))
    assert counts(loaded) == [2, 2, 2]


@pytest.mark.parametrize(
    "copy",
    [
        deepcopy,
        lambda optimizer: pickle.loads(pickle.dumps(optimizer)),
        lambda optimizer: (twin := three(), twin.load_state_dict(optimizer.state_dict()))[0],
    ],
    ids=["deepcopy", "pickle", "state dict"],
)
def test_counts_survive_a_copy_and_part_from_the_original(copy):
    optimizer = three()
    for present in PATTERNS["in turns"]:
        step(optimizer, present)
    twin = copy(optimizer)
    assert counts(twin) == counts(optimizer) == [4, 4, 4]
    step(twin, (1, 0, 1))
    assert counts(twin) == [5, 4, 5]
    assert counts(optimizer) == [4, 4, 4]


def test_a_parameter_added_later_starts_at_one(implementation):
    optimizer = three(**implementation)
    step(optimizer, (1, 1, 1))
    optimizer.param_groups[0]["params"].append(torch.zeros(3, requires_grad=True))
    step(optimizer, (1, 1, 1, 1))
    assert counts(optimizer) == [2, 2, 2, 1]


def test_deleted_state_starts_anew(implementation):
    optimizer = three(**implementation)
    step(optimizer, (1, 1, 1))
    first = optimizer.param_groups[0]["params"][0]
    del optimizer.state[first]
    step(optimizer, (1, 1, 1))
    assert counts(optimizer) == [1, 2, 2]
    optimizer.state.clear()
    step(optimizer, (1, 1, 1))
    assert counts(optimizer) == [1, 1, 1]


@pytest.mark.parametrize("value", [5, 5.0, torch.tensor(5.0), torch.tensor(5.0, dtype=torch.float64)], ids=repr)
def test_a_counter_may_be_replaced(value, implementation):
    optimizer = three(bias_correction=True, **implementation)
    step(optimizer, (1, 1, 1))
    optimizer.state[optimizer.param_groups[0]["params"][1]]["step"] = deepcopy(value)
    step(optimizer, (1, 1, 1))
    assert counts(optimizer) == [2, 6, 2]
    step(optimizer, (1, 1, 1))
    assert counts(optimizer) == [3, 7, 3]


def test_groups_are_counted_apart(implementation):
    first, second = (torch.zeros(3, requires_grad=True) for _ in range(2))
    optimizer = RMSprop([{"params": [first]}, {"params": [second]}], **implementation)
    first.grad = torch.ones(3)
    optimizer.step()
    second.grad = torch.ones(3)
    optimizer.step()
    assert optimizer.state[first]["step"] == 2
    assert optimizer.state[second]["step"] == 1


def test_dtypes_and_kernels_are_counted_together(implementation):
    # One of them has gaps in memory, so that it always takes the composite path.
    params = [torch.zeros(3), torch.zeros(3, dtype=torch.float64), torch.zeros(4, 2)[:, 0], torch.zeros(2).bfloat16()]
    optimizer = RMSprop(params, bias_correction=True, fused=None if implementation["fused"] else False)
    for _ in range(3):
        step(optimizer, (1, 1, 1, 1))
    assert counts(optimizer) == [3, 3, 3, 3]


READS = {
    "[]": lambda state: state["step"],
    "get": lambda state: state.get("step"),
    "values": lambda state: next(value for value in state.values() if value.dim() == 0),
    "items": lambda state: next(value for name, value in state.items() if name == "step"),
    "copy": lambda state: state.copy()["step"],
    "copy.copy": lambda state: copy(state)["step"],
    "dict": lambda state: dict(state)["step"],
    "**": lambda state: {**state}["step"],
    "|": lambda state: (state | {})["step"],
    "reversed |": lambda state: ({} | state)["step"],
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_counter_that_is_given_other_memory_counts_on_there(read):
    # A step does not look at counters that nobody has asked for.
    for optimizer in (ours := three(), theirs := three(torch.optim.RMSprop)):
        for _ in range(3):
            step(optimizer, (1, 1, 1))
        first, second, _ = optimizer.param_groups[0]["params"]
        counter = (read if optimizer is ours else READS["[]"])(optimizer.state[first])
        counter.data = torch.tensor(10.0)
        optimizer.state[second]["step"].share_memory_()
        for _ in range(2):
            step(optimizer, (1, 1, 1))
    assert counts(ours) == counts(theirs) == [12, 5, 5]
    assert ours.state[ours.param_groups[0]["params"][1]]["step"].is_shared()


def loaded(optimizer):
    other = three()
    other.load_state_dict(optimizer.state_dict())
    return other


WAYS = {
    "same": lambda it: it,
    "copied": deepcopy,
    "pickled": lambda it: pickle.loads(pickle.dumps(it)),
    "loaded": loaded,
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_steps_need_not_look_at_counters_however_an_optimizer_came_here(way):
    optimizer = three()
    step(optimizer, (1, 1, 1))
    optimizer = way(optimizer)
    step(optimizer, (1, 1, 1))
    assert all(state.has_pinned_counter() for state in optimizer.state.values())
    assert counts(optimizer) == [2, 2, 2]


def test_a_counter_that_somebody_sets_is_the_one_that_counts():
    optimizer = three()
    step(optimizer, (1, 1, 1))
    first = optimizer.param_groups[0]["params"][0]
    own = optimizer.state[first]["step"] = torch.tensor(7.0)
    step(optimizer, (1, 1, 1))
    assert own.item() == 8
    assert counts(optimizer) == [8, 2, 2]


@pytest.mark.parametrize(
    "saved", [3, 3.0, np.float64(3), np.array([3]), torch.tensor(3), torch.tensor([3.0])], ids=repr
)
def test_a_saved_count_may_be_any_number(saved):
    optimizer = three()
    step(optimizer, (1, 1, 1))
    state_dict = optimizer.state_dict()
    state_dict["state"][0]["step"] = saved
    optimizer.load_state_dict(state_dict)
    step(optimizer, (1, 1, 1))
    assert counts(optimizer) == [4, 2, 2]


NO_COUNTS = ["x", [1], float("nan"), float("inf"), -1, torch.zeros(3), torch.tensor(-1.0), torch.tensor(float("nan"))]


@pytest.mark.parametrize("saved", NO_COUNTS, ids=repr)
def test_what_is_no_count_is_not_loaded(saved):
    optimizer = three()
    step(optimizer, (1, 1, 1))
    state_dict = optimizer.state_dict()
    state_dict["state"][1]["step"] = saved
    with pytest.raises(ValueError, match=r"loaded state has step .*, but it counts updates: a number >= 0"):
        optimizer.load_state_dict(state_dict)
    assert counts(optimizer) == [1, 1, 1]
