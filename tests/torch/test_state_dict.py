"""State dicts go both ways between this class and torch's, and survive every way of saving them."""

import io
import pickle
from copy import deepcopy

import pytest
import torch

from rmsprop.torch import RMSprop

TORCHS_OPTIONS = [
    {},
    {"momentum": 0.9},
    {"centered": True},
    {"centered": True, "momentum": 0.5, "weight_decay": 0.1, "maximize": True},
]
OWN_OPTIONS = [
    {"bias_correction": True, "centered": True, "momentum": 0.9, "nesterov": True},
    {"dialect": "tensorflow1", "lr": 0.01, "momentum": 0.9, "centered": True},
    {"weight_decay": 0.1, "weight_decay_mode": "decoupled", "alpha": 0.3},
]
CLASSES = [(torch.optim.RMSprop, RMSprop), (RMSprop, torch.optim.RMSprop)]


def copy_params(source, target):
    with torch.no_grad():
        for a, b in zip(source, target, strict=True):
            b.copy_(a)


def assert_same(found, expected):
    assert found["param_groups"] == expected["param_groups"]
    torch.testing.assert_close(found["state"], expected["state"], rtol=0, atol=0)


def through_a_file(state_dict, **options):
    file = io.BytesIO()
    torch.save(state_dict, file)
    file.seek(0)
    return torch.load(file, **options)


WAYS = {
    "directly": lambda state_dict: state_dict,
    "deepcopy": deepcopy,
    "pickle": lambda state_dict: pickle.loads(pickle.dumps(state_dict)),
    "file": lambda state_dict: through_a_file(state_dict, weights_only=False),
    "weights_only": lambda state_dict: through_a_file(state_dict, weights_only=True),
}


@pytest.mark.parametrize(("first", "second"), CLASSES, ids=["from torch", "to torch"])
@pytest.mark.parametrize("options", TORCHS_OPTIONS, ids=str)
def test_training_goes_on_in_the_other_class(first, second, options, twins, train):
    params, reference = twins()
    before, whole = first(params, **options), torch.optim.RMSprop(reference, **options)
    train(before, whole, steps=5, gaps=True)
    after = second(params, **options)
    after.load_state_dict(before.state_dict())
    train(after, whole, steps=5, seed=2)
    # d = v − m² is rebuilt from v at the change, which costs a few digits where v and m² are close
    torch.testing.assert_close(params, reference, rtol=1e-10, atol=1e-10)
    steps = [state["step"] for state in after.state_dict()["state"].values()]
    assert steps == [state["step"] for state in whole.state_dict()["state"].values()]


def test_there_and_back_again_nothing_is_lost(twins, train):
    params, untouched = twins()
    options = {"centered": True, "momentum": 0.9}
    here, whole = RMSprop(params, **options), RMSprop(untouched, **options)
    train(here, whole, steps=5)
    torchs = torch.optim.RMSprop(params, **options)
    torchs.load_state_dict(here.state_dict())
    back = RMSprop(params, **options)
    back.load_state_dict(torchs.state_dict())
    train(back, whole, steps=5, seed=2)
    assert all(map(torch.equal, params, untouched))


def test_steps_that_torch_took_in_between_count(twins, train):
    params, reference = twins()
    options = {"centered": True}
    here, whole = RMSprop(params, **options), RMSprop(reference, **options)
    train(here, whole, steps=3)
    torchs = torch.optim.RMSprop(params, **options)
    torchs.load_state_dict(here.state_dict())
    train(torchs, whole, steps=3, seed=2)
    back = RMSprop(params, **options)
    back.load_state_dict(torchs.state_dict())
    train(back, whole, steps=3, seed=3)
    torch.testing.assert_close(params, reference, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("options", TORCHS_OPTIONS + OWN_OPTIONS, ids=str)
def test_a_loaded_optimizer_goes_on_to_the_bit(options, way, implementation, twins, train):
    params, copies = twins(dtype=torch.float32)
    optimizer = RMSprop(params, **options, **implementation)
    train(optimizer, steps=4, gaps=True)
    loaded = RMSprop(copies, **options, **implementation)
    loaded.load_state_dict(way(optimizer.state_dict()))
    copy_params(params, copies)
    train(optimizer, loaded, steps=4, seed=2, gaps=True)
    assert all(map(torch.equal, params, copies))
    assert_same(loaded.state_dict(), optimizer.state_dict())


@pytest.mark.parametrize("copy", [deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["deepcopy", "pickle"])
def test_a_copied_optimizer_goes_on_to_the_bit(copy, implementation, twins, train):
    optimizer = RMSprop(twins(1)[0], momentum=0.9, centered=True, **implementation)
    train(optimizer, steps=3)
    twin = copy(optimizer)
    train(optimizer, twin, steps=3, seed=2)
    mine, its = (o.param_groups[0]["params"] for o in (optimizer, twin))
    assert all(map(torch.equal, mine, its))
    assert not any(a is b for a, b in zip(mine, its, strict=True))


def test_a_model_and_its_optimizer_are_copied_together(train):
    model = torch.nn.Linear(3, 2)
    optimizer = RMSprop(model.parameters())
    train(optimizer, steps=2)
    twin_model, twin = deepcopy((model, optimizer))
    train(twin, steps=2)
    assert twin.param_groups[0]["params"][0] is twin_model.weight
    assert not torch.equal(twin_model.weight, model.weight)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("options", TORCHS_OPTIONS, ids=str)
def test_state_from_16_bits_is_widened_and_stays_wide(dtype, options, twins, train):
    theirs, ours = twins(dtype=dtype)
    torchs = torch.optim.RMSprop(theirs, **options, eps=1e-3)
    train(torchs, steps=3)
    optimizer = RMSprop(ours, **options, eps=1e-3)
    for _ in range(2):
        optimizer.load_state_dict(torchs.state_dict())
        for param in ours:
            assert {v.dtype for k, v in optimizer.state[param].items() if k != "step"} == {torch.float32}
        torchs = optimizer
    train(optimizer, steps=1)


def test_loading_copies(twins, train):
    params, copies = twins()
    optimizer = RMSprop(params, momentum=0.9)
    train(optimizer, steps=2)
    state_dict = optimizer.state_dict()
    before = deepcopy(state_dict)
    loaded = RMSprop(copies)
    loaded.load_state_dict(state_dict)
    train(loaded, steps=2)
    assert_same(state_dict, before)


def test_loaded_state_takes_the_memory_order_of_the_parameter(twins, train):
    (source,), (target,) = twins(shapes=[(2, 3, 4, 5)])
    target.data = target.data.contiguous(memory_format=torch.channels_last)
    optimizer, loaded = RMSprop([source]), RMSprop([target], fused=True)
    train(optimizer, steps=2)
    loaded.load_state_dict(optimizer.state_dict())
    assert loaded.state[target]["square_avg"].stride() == target.stride()
    train(optimizer, loaded, steps=2, seed=2)


def test_names_of_parameters_are_kept():
    model, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    optimizer = RMSprop(model.named_parameters())
    assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"]
    loaded = RMSprop(other.parameters())
    loaded.load_state_dict(optimizer.state_dict())
    assert loaded.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]


@pytest.mark.parametrize("cls", [RMSprop, torch.optim.RMSprop], ids=["ours", "torch's"])
def test_names_in_another_order_are_refused(cls):
    # Of equal shape, so that torch gives the state of one to the other without a word.
    first, second = (torch.nn.Parameter(torch.ones(3)) for _ in range(2))
    saving, loading = cls([("a", first), ("b", second)]), RMSprop([("b", second), ("a", first)])
    with pytest.raises(ValueError, match="parameter 'a' where this optimizer has 'b', and the same names in another"):
        loading.load_state_dict(saving.state_dict())
    in_groups = RMSprop([{"params": [("a", second)]}, {"params": [("b", first)]}])
    swapped = RMSprop([{"params": [("b", first)]}, {"params": [("a", second)]}])
    with pytest.raises(ValueError, match="the same names in another order"):
        swapped.load_state_dict(in_groups.state_dict())


def test_names_that_a_wrapper_adds_to_are_loaded():
    model = torch.nn.Linear(3, 2)
    wrapped = [(f"module.{name}", param) for name, param in model.named_parameters()]
    RMSprop(model.named_parameters()).load_state_dict(RMSprop(wrapped).state_dict())


def test_step_counts_that_are_numbers_load(twins, train):
    params, copies = twins()
    optimizer, loaded = RMSprop(params), RMSprop(copies)
    train(optimizer, steps=3)
    state_dict = deepcopy(optimizer.state_dict())
    for state in state_dict["state"].values():
        state["step"] = state["step"].item()
    loaded.load_state_dict(state_dict)
    train(loaded, steps=1)
    assert all(loaded.state[param]["step"] == 4 for param in copies)


def test_what_others_put_beside_the_state_travels_along(twins, train):
    params, copies = twins()
    optimizer, loaded = RMSprop(params), RMSprop(copies)
    optimizer.state["epoch"] = 7
    optimizer.state["notes"] = {"seed": 3}
    train(optimizer, steps=2)
    loaded.load_state_dict(deepcopy(optimizer.state_dict()))
    assert loaded.state["epoch"] == 7
    assert loaded.state["notes"] == {"seed": 3}
    train(loaded, steps=1)


@pytest.mark.parametrize("options", TORCHS_OPTIONS, ids=str)
def test_turning_centered_off_and_on_saves_what_is_current(options, twins, train):
    params = twins(1)[0]
    optimizer = RMSprop(params, **options)
    group = optimizer.param_groups[0]
    for centered in (True, False, True, False):
        group["centered"] = centered
        train(optimizer, steps=2, seed=int(centered))
        for index, param in enumerate(params):
            saved = optimizer.state_dict()["state"][index]
            state = optimizer.state[param]
            current = state["grad_var"] + state["grad_avg"].square() if centered else state["square_avg"]
            assert torch.equal(saved["square_avg"], current)


def broken_state(state_dict):
    state_dict["state"][0]["square_avg"] = torch.zeros(7, 7)


def broken_option(state_dict):
    state_dict["param_groups"][0]["alpha"] = 1.5


def broken_groups(state_dict):
    state_dict["param_groups"] *= 2


@pytest.mark.parametrize(
    ("breaks", "words"),
    [
        (broken_state, "square_avg of shape"),
        (broken_option, "Invalid alpha value"),
        (broken_groups, "parameter groups"),
    ],
)
def test_after_a_failed_load_all_is_as_before(breaks, words, twins, train):
    params, copies = twins()
    optimizer, twin = RMSprop(params, momentum=0.9), RMSprop(copies, momentum=0.9)
    train(optimizer, twin, steps=2)
    broken = deepcopy(optimizer.state_dict())
    breaks(broken)
    before = deepcopy(optimizer.state_dict())
    with pytest.raises(ValueError, match=words):
        optimizer.load_state_dict(broken)
    assert_same(optimizer.state_dict(), before)
    train(optimizer, twin, steps=2, seed=2)
    assert all(map(torch.equal, params, copies))


@pytest.mark.parametrize(
    "grads", [[torch.inf], [torch.inf, 1.0], [torch.inf, -torch.inf], [torch.nan, 1.0], [3e38, 1.0]], ids=str
)
def test_centered_state_that_is_lost_comes_back_to_the_same_bits(grads):
    param = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = RMSprop([param], lr=0.1, centered=True)
    for grad in grads:
        param.grad = torch.tensor([grad, 0.5])
        optimizer.step()
    before = dict(optimizer.state[param].items())
    optimizer.load_state_dict(deepcopy(optimizer.state_dict()))
    after = dict(optimizer.state[param].items())
    assert before.keys() == after.keys()
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=0, equal_nan=True)
