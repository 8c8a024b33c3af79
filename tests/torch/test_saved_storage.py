"""State and weights in every storage, saved and loaded in every way: the run goes on with the same bits."""

import io

import pytest
import safetensors.torch
import torch
import torch.distributed.checkpoint as dcp
from stepping import assert_equal, optimizer_of, params_of, step
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_optimizer_state_dict,
    set_optimizer_state_dict,
)

from rmsprop import checkpoint
from rmsprop.torch import RMSprop

STORAGES = {
    "state in float32": {},
    "state in bfloat16": {"state_dtype": torch.bfloat16},
    "state in 8 bits": {"state_dtype": "8bit"},
    "weights rounded at random": {"rounding": "stochastic"},
    "weights with what they lack": {"rounding": "kahan"},
    "both in 8 bits": {"rounding": "stochastic", "state_dtype": "8bit"},
    "both in 16 bits": {"rounding": "kahan", "state_dtype": torch.bfloat16},
}
RULES = {"plain": {}, "centered with momentum": {"centered": True, "momentum": 0.9}}
SUFFIXES = {"rmsprop.jax": ".safetensors", "numpy": ".npz"}
every_storage = pytest.mark.parametrize("storage", STORAGES.values(), ids=STORAGES)
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)


def dtype_of(storage):
    return torch.bfloat16 if "rounding" in storage else torch.float32


def stepped(storage, rule, steps=2):
    optimizer = optimizer_of(dtype_of(storage), lr=0.03, seed=3, **storage, **rule)
    for nth in range(steps):
        step(optimizer, nth)
    return optimizer


def copies_of(optimizer):
    return [param.detach().clone().requires_grad_() for param in params_of(optimizer)]


def saved_by_torch(content):
    file = io.BytesIO()
    torch.save(content, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def saved_as_safetensors(content):
    """The tensors of the state in safetensors; the groups are no tensors."""
    flat = {f"{i}.{name}": value for i, state in content["state"].items() for name, value in state.items()}
    read = safetensors.torch.load(safetensors.torch.save(flat))
    state = {i: {name: read[f"{i}.{name}"] for name in state} for i, state in content["state"].items()}
    return {**content, "state": state}


WAYS = {"in memory": lambda content: content, "torch.save": saved_by_torch, "safetensors": saved_as_safetensors}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@every_rule
@every_storage
def test_state_dicts_hold_it(storage, rule, way):
    optimizer = stepped(storage, rule)
    other = RMSprop(copies_of(optimizer))
    other.load_state_dict(way(optimizer.state_dict()))
    assert {key: other.param_groups[0][key] for key in storage} == storage
    assert_equal(optimizer, other)
    for nth in (2, 3):
        step(optimizer, nth)
        step(other, nth)
    assert_equal(optimizer, other)


# A centered rule's variance is not in the template of a fresh optimizer unless its state is packed, and then is found
# again from v and m to all but its last bits: test_distributed_checkpoint.py has the bound.
DISTRIBUTED = {
    f"{name}, {kind}": (storage, rule)
    for name, storage in STORAGES.items()
    for kind, rule in {**RULES, "momentum": {"momentum": 0.9}}.items()
    if "centered" not in rule or "state_dtype" in storage
}


@pytest.mark.parametrize("flat", [False, True], ids=["nested", "flattened"])
@pytest.mark.filterwarnings("ignore:torch.distributed is disabled, unavailable or uninitialized")
@pytest.mark.parametrize(("storage", "rule"), DISTRIBUTED.values(), ids=DISTRIBUTED)
def test_distributed_checkpoints_hold_it(storage, rule, flat, tmp_path):
    options = StateDictOptions(flatten_optimizer_state_dict=flat)
    models = [torch.nn.Linear(30, 7, dtype=dtype_of(storage)) for _ in range(2)]
    first, second = (RMSprop(model.parameters(), seed=3, **storage, **rule) for model in models)
    step(first, 0)
    step(first, 1)
    models[1].load_state_dict(models[0].state_dict())
    dcp.save(get_optimizer_state_dict(models[0], first, options=options), checkpoint_id=tmp_path)
    content = get_optimizer_state_dict(models[1], second, options=options)
    dcp.load(content, checkpoint_id=tmp_path)
    set_optimizer_state_dict(models[1], second, content, options=options)
    assert_equal(first, second)
    for each in (first, second):
        step(each, 2)
    assert_equal(first, second)


@every_rule
@every_storage
def test_torchs_optimizer_takes_the_numbers_and_gives_them_back(storage, rule):
    """By `convert`, where a state dict has codes. What Kahan's rounding keeps beside the weights stays behind."""
    ours = stepped(storage, rule)
    theirs = torch.optim.RMSprop(copies_of(ours), lr=0.03)
    theirs.load_state_dict(checkpoint.convert(ours, "torch", notes=[]))
    back = RMSprop(copies_of(ours), seed=3, **storage)
    back.load_state_dict(theirs.state_dict())
    for first, second, third in zip(params_of(ours), params_of(theirs), params_of(back), strict=True):
        number, mine, again = theirs.state[second], ours.state[first], back.state[third]
        assert number.keys() == {"step", "square_avg", *(("grad_avg", "momentum_buffer") if rule else ())}
        for name in number.keys() - {"step"}:
            assert number[name].dtype == second.dtype  # torch casts what it loads
            if name != "square_avg" or not rule:  # which is d + m² where it is centered
                assert torch.equal(number[name], mine[name].to(second.dtype))
                if storage.get("state_dtype") != "8bit":  # whose codes are chosen anew
                    assert torch.equal(again[name].to(second.dtype), number[name])
    for each in (theirs, back):
        step(each, 2)


@pytest.mark.parametrize("to", ["rmsprop.jax", "numpy", "torch"])
@every_rule
@every_storage
def test_files_of_others_hold_the_numbers(storage, rule, to, tmp_path):
    """And what comes back from them is state in float32, with the bits that it stood for."""
    ours, notes = stepped(storage, rule), []
    moved, back = tmp_path / f"moved{SUFFIXES.get(to, '.pt')}", tmp_path / "back.pt"
    torch.save(ours.state_dict(), tmp_path / "run.pt")
    checkpoint.save(tmp_path / "run.pt", moved, to, notes=notes)
    assert any("give it again where the run goes on" in note for note in notes) is bool(storage)
    said = {"decay": 0.99, "eps": 1e-8, "momentum": 0.0, **rule, "lr_in_momentum": False}
    loaded = checkpoint.load(moved, to, **(said if to == "rmsprop.jax" else {}))
    checkpoint.save(loaded, back, "rmsprop.torch", lr=0.03, notes=[])
    names = {"square_avg"} if not rule else {"grad_avg", "momentum_buffer", *(() if to == "torch" else ("grad_var",))}
    for state, param in zip(torch.load(back)["state"].values(), params_of(ours), strict=True):
        for name in names:
            assert state[name].dtype == torch.float32
            assert torch.equal(state[name], ours.state[param][name].float())
