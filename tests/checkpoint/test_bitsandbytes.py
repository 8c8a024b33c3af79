"""bitsandbytes' RMSprop: its own optimizers, on the CPU, take what is written, and what they write is read."""

import copy
import re

import bitsandbytes as bnb
import numpy as np
import pytest
import torch

from rmsprop import checkpoint
from rmsprop.checkpoint import CheckpointError, convert, load
from rmsprop.torch import RMSprop

SHAPES = ((70, 73), (10,), (5000,))  # of blocks that aren't full, and one below its least size
STORAGES = {"float32": None, "bfloat16": torch.bfloat16, "8bit": "8bit"}
NESTED = "__bnb_optimizer_quant_state__"


def params_of(optimizer):
    return [param for group in optimizer.param_groups for param in group["params"]]


def made(cls, shapes=SHAPES, **options):
    """An optimizer with parameters that don't depend on who it is."""
    draw = torch.Generator().manual_seed(1)
    return cls([torch.nn.Parameter(torch.randn(shape, generator=draw)) for shape in shapes], lr=0.01, **options)


def step(optimizer, nth):
    """One step with gradients whose sizes lie within three decades."""
    draw = torch.Generator().manual_seed(100 + nth)
    for param in params_of(optimizer):
        sizes = torch.logspace(-3, 0, param.numel()).view(param.shape)
        param.grad = torch.randn(param.shape, generator=draw) * sizes
    optimizer.step()


def stepped(cls, steps=3, **options):
    optimizer = made(cls, **options)
    for nth in range(steps):
        step(optimizer, nth)
    return optimizer


def twin(optimizer, cls, content, **options):
    """Another optimizer of equal parameters that has loaded a state dict."""
    other = cls([param.detach().clone().requires_grad_() for param in params_of(optimizer)], **options)
    other.load_state_dict(content)
    return other


def convert_quietly(run, to, **options):
    return convert(run, to, notes=[], **options)


def flat(state):
    return {**{name: value for name, value in state.items() if name != NESTED}, **state.get(NESTED, {})}


def numbers(state):
    """What bitsandbytes itself makes of one of its states."""
    if state["state1"].dtype == torch.float32:
        return state["state1"]
    code = {"absmax": state["absmax1"], "code": state["qmap1"], "blocksize": 256}
    return bnb.functional.dequantize_blockwise(state["state1"], **code)


def assert_same(first, second):
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert torch.equal(value, second[key]) if isinstance(value, torch.Tensor) else value == second[key]


# ------------------------------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("state_dtype", STORAGES.values(), ids=STORAGES)
def test_it_loads_what_is_written_and_goes_on(state_dtype, tmp_path):
    ours = stepped(RMSprop, alpha=0.95, eps=1e-6, weight_decay=0.01, state_dtype=state_dtype)
    checkpoint.save(ours, tmp_path / "run.pt", "bitsandbytes", notes=[])
    theirs = twin(ours, bnb.optim.RMSprop8bit, torch.load(tmp_path / "run.pt", weights_only=True))
    assert theirs.param_groups[0]["betas"] == (0.95, 0.0)
    for param, state in zip(params_of(ours), theirs.state.values(), strict=True):
        assert state["step"] == 3
        assert state["state1"].dtype == (torch.float32 if param.numel() < 4096 else torch.uint8)
        if param.numel() < 4096:
            assert torch.equal(state["state1"], ours.state[param]["square_avg"].float())
    other = twin(ours, torch.optim.RMSprop, convert_quietly(theirs, "torch"))
    step(theirs, 3)
    step(other, 3)
    for mine, its in zip(params_of(other), params_of(theirs), strict=True):
        torch.testing.assert_close(mine, its, rtol=2**-20, atol=2**-20)  # a few roundings of numbers about 1


def test_each_number_is_the_nearest_that_a_code_can_stand_for():
    ours = stepped(RMSprop)
    fractions = bnb.functional.create_dynamic_map(signed=True)
    for param, state in zip(params_of(ours), convert_quietly(ours, "bitsandbytes")["state"].values(), strict=True):
        if "qmap1" not in state:
            continue
        assert torch.equal(state["qmap1"], fractions)
        v = ours.state[param]["square_avg"].flatten()
        for codes, largest, block in zip(
            state["state1"].flatten().split(256), state["absmax1"], v.split(256), strict=True
        ):
            assert largest == block.max()
            share = block.double() / largest.double()
            errors = (share[:, None] - fractions.double()).abs()
            taken = errors.gather(1, codes.long()[:, None])[:, 0]
            assert (taken <= errors.amin(1) + 2**-23).all()  # a share and a middle, each rounded to float32


@pytest.mark.parametrize("between", ["torch", "rmsprop.torch", "timm", "sb3", "numpy"])
@pytest.mark.parametrize("cls", [bnb.optim.RMSprop8bit, bnb.optim.RMSprop32bit])
def test_there_and_back_again_no_byte_differs(cls, between, tmp_path):
    theirs = stepped(cls, alpha=0.95)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pt")
    suffix = ".npz" if between == "numpy" else ".pt"
    checkpoint.save(tmp_path / "theirs.pt", tmp_path / f"moved{suffix}", between, notes=[])
    notes = []
    options = {"format": between, "like": theirs, "notes": notes}
    back = convert(tmp_path / f"moved{suffix}", "bitsandbytes", **options)
    assert not [note for note in notes if "8-bit" in note]
    before = theirs.state_dict()
    assert back["param_groups"] == before["param_groups"]
    for key, state in before["state"].items():
        assert state.keys() == back["state"][key].keys()
        assert_same(flat(state), flat(back["state"][key]))
    again = twin(theirs, cls, back)
    step(theirs, 3)
    step(again, 3)
    assert all(map(torch.equal, params_of(theirs), params_of(again)))


def test_blocks_of_zeros_and_what_was_never_stepped_are_kept():
    ours = made(RMSprop, shapes=((8192,), (5000,), (3,)))
    params_of(ours)[0].grad = torch.zeros(8192)
    params_of(ours)[0].grad[300] = 1.0
    ours.step()
    notes = []
    state = convert(ours, "bitsandbytes", notes=notes)["state"]
    assert state.keys() == {0}
    assert not notes
    theirs = twin(ours, bnb.optim.RMSprop8bit, convert_quietly(ours, "bitsandbytes"))
    v = ours.state[params_of(ours)[0]]["square_avg"]
    assert torch.equal(numbers(theirs.state[params_of(theirs)[0]]), v)
    assert torch.equal(torch.from_numpy(load(theirs).parameters[0].arrays["square_avg"]), v)
    assert not np.signbit(load(theirs).parameters[0].arrays["square_avg"]).any()
    step(theirs, 1)


LIKES = {
    "its 8 bits": (bnb.optim.RMSprop8bit, {}, {5110: True, 10: False}),
    "its 32 bits": (bnb.optim.RMSprop32bit, {}, {5110: False, 10: False}),
    "its choice of bits": (bnb.optim.RMSprop, {"optim_bits": 8}, {5110: True, 10: False}),
    "its least size": (bnb.optim.RMSprop8bit, {"min_8bit_size": 8}, {5110: True, 10: True}),
    "a larger least size": (bnb.optim.RMSprop8bit, {"min_8bit_size": 5001}, {5110: True, 5000: False}),
}


@pytest.mark.parametrize("what", ["fresh", "stepped", "state dict"])
@pytest.mark.parametrize(("cls", "options", "coded"), LIKES.values(), ids=LIKES)
def test_what_goes_on_says_what_is_coded(cls, options, coded, what):
    like = stepped(cls, steps=0 if what == "fresh" else 1, **options)
    given = like.state_dict() if what == "state dict" else like
    found = convert_quietly(stepped(RMSprop), "bitsandbytes", like=given)
    sizes = {param.numel(): state for param, state in zip(params_of(like), found["state"].values(), strict=True)}
    assert {size: "absmax1" in flat(sizes[size]) for size in coded} == coded
    step(twin(like, cls, found, **options), 3)


def test_32_bits_keep_every_bit_and_go_on_as_ours():
    ours = stepped(RMSprop, alpha=0.95)
    notes = []
    content = convert(ours, "bitsandbytes", like=made(bnb.optim.RMSprop32bit, alpha=0.95), notes=notes)
    assert not notes
    theirs = twin(ours, bnb.optim.RMSprop32bit, content)
    for param, state in zip(params_of(ours), theirs.state.values(), strict=True):
        assert torch.equal(state["state1"], ours.state[param]["square_avg"])
    step(ours, 3)
    step(theirs, 3)
    for mine, its in zip(params_of(ours), params_of(theirs), strict=True):
        torch.testing.assert_close(mine, its, rtol=2**-20, atol=2**-20)  # a few roundings of numbers about 1


def test_a_parameter_without_state_is_kept_as_its_peers():
    wide = stepped(bnb.optim.RMSprop32bit).state_dict()
    del wide["state"][2]
    found = convert_quietly(stepped(RMSprop), "bitsandbytes", like=wide)
    assert flat(found["state"][2])["state1"].dtype == torch.float32


@pytest.mark.parametrize("size", [64, 2048])
def test_blocks_of_other_sizes_stay(size):
    like = stepped(bnb.optim.RMSprop8bit).state_dict()
    for state in like["state"].values():
        if "absmax1" in (inner := state[NESTED]):
            inner["absmax1"] = torch.ones(-(inner["state1"].numel() // -size))
    found = flat(convert_quietly(stepped(RMSprop), "bitsandbytes", like=like)["state"][0])
    assert found["absmax1"].numel() == -(5110 // -size)
    v = params_of(stepped(RMSprop))[0]
    assert found["state1"].shape == v.shape


def test_what_rounding_loses_is_told():
    ours = stepped(RMSprop, steps=1)
    v = ours.state[params_of(ours)[2]]["square_avg"]
    v.fill_(1.0)
    v[:3] = torch.tensor([2.6e-7, 2.8e-7, 1e-6])  # below and above half of the least fraction, 5.5e-7
    ours.state[params_of(ours)[0]]["square_avg"].fill_(0.5)
    notes = []
    found = convert(ours, "bitsandbytes", notes=notes)["state"][2]
    assert notes == [
        "v of 1 of 3 parameters is rounded to bitsandbytes' 8-bit code: 3 of its 5000 numbers change by more than a "
        "tenth, and 1 of these become 0; a 32-bit state of bitsandbytes, given with like, keeps every bit"
    ]
    assert (numbers(found)[:3] > 0).tolist() == [False, True, True]


def change(optimizer, array, value):
    optimizer.state[params_of(optimizer)[0]][array].view(-1)[7] = value
    return optimizer


def complex_run():
    param = torch.nn.Parameter(torch.ones(3, dtype=torch.complex64))
    optimizer = RMSprop([param])
    param.grad = torch.ones_like(param)
    optimizer.step()
    return optimizer


REFUSED = {
    "momentum": (
        lambda: stepped(RMSprop, momentum=0.9),
        "the checkpoint has a momentum buffer for '0', but the target has no place for one: pass momentum=0 to go on "
        "without",
    ),
    "centered": (
        lambda: stepped(RMSprop, centered=True),
        "the checkpoint is centered (it has an average gradient for '0'), but the target has no place for one: pass "
        "centered=False to go on without",
    ),
    "nan": (
        lambda: change(stepped(RMSprop), "square_avg", torch.nan),
        "square_avg of '0' has numbers that are NaN or infinite, which bitsandbytes' 8-bit code can't hold: convert an "
        "earlier checkpoint",
    ),
    "complex": (
        complex_run,
        "parameter '0' is complex, which bitsandbytes' optimizers don't take: convert to torch or rmsprop.torch",
    ),
}


@pytest.mark.parametrize(("run", "words"), REFUSED.values(), ids=REFUSED)
def test_what_it_cannot_have_is_refused(run, words):
    with pytest.raises(CheckpointError, match=f"^{re.escape(words)}$"):
        convert(run(), "bitsandbytes", notes=[])


@pytest.mark.parametrize("setting", [{"momentum": 0}, {"centered": False}], ids=str)
def test_a_run_goes_on_without_what_it_cannot_have(setting):
    run = stepped(RMSprop, **({"momentum": 0.9} if "momentum" in setting else {"centered": True}))
    content = convert_quietly(run, "bitsandbytes", **setting)
    step(twin(run, bnb.optim.RMSprop8bit, content), 3)


def test_a_rule_that_it_cannot_have_is_told():
    notes = []
    convert(stepped(RMSprop, maximize=True, eps_inside_sqrt=True), "bitsandbytes", notes=notes)
    for field in ("maximize", "eps_inside_sqrt"):
        expected = f"bitsandbytes goes on with {field}=False where the checkpoint has True"
        assert any(note.startswith(expected) for note in notes)


@pytest.mark.parametrize("cls", [bnb.optim.Adam8bit, torch.optim.Adam])
def test_only_an_rmsprop_is_filled(cls):
    with pytest.raises(CheckpointError, match=r"^Adam(8bit)? is not bitsandbytes' RMSprop: give one, or its state"):
        convert(stepped(RMSprop), "bitsandbytes", like=made(cls))


# ------------------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("way", ["live", "state dict"])
def test_what_bitsandbytes_reads_is_read(way):
    theirs = stepped(bnb.optim.RMSprop8bit, alpha=0.95)
    loaded = load(theirs if way == "live" else theirs.state_dict())
    assert loaded.format == "bitsandbytes"
    assert "8-bit code, whose averages move in jumps" in loaded.notes[0]
    assert (loaded.groups[0].settings["decay"], loaded.groups[0].settings["momentum"]) == (0.95, 0.0)
    for parameter, state in zip(loaded.parameters, theirs.state.values(), strict=True):
        assert torch.equal(torch.from_numpy(parameter.arrays["square_avg"]), numbers(state))
        assert parameter.step == 3


def test_state_dicts_without_a_level_below_are_read():
    """As they were before 0.49.2."""
    content = stepped(bnb.optim.RMSprop8bit).state_dict()
    old = copy.deepcopy(content)
    for state in old["state"].values():
        state.update(state.pop(NESTED))
    first, second = load(content), load(old)
    for one, other in zip(first.parameters, second.parameters, strict=True):
        np.testing.assert_array_equal(one.arrays["square_avg"], other.arrays["square_avg"])


def test_its_momentum_is_passed_over():
    loaded = load(stepped(bnb.optim.RMSprop, momentum=0.9))
    assert "which its RMSprop ignores" in loaded.notes[0]
    assert convert(loaded, "torch", notes=[])["state"][0].keys() == {"step", "square_avg"}


UNREADABLE = {
    "no blocks": (lambda state: state.pop("absmax1"), "before it had blocks"),
    "other blocks": (lambda state: state.update(absmax1=torch.ones(77)), "which belongs to no size of blocks"),
}


@pytest.mark.parametrize(("damage", "words"), UNREADABLE.values(), ids=UNREADABLE)
def test_codes_that_can_mean_nothing_are_refused(damage, words):
    content = stepped(bnb.optim.RMSprop8bit).state_dict()
    damage(content["state"][0][NESTED])
    with pytest.raises(CheckpointError, match=words):
        load(content)


@pytest.mark.parametrize("cls", [bnb.optim.RMSprop8bit, bnb.optim.RMSprop32bit])
def test_state_in_another_memory_order_is_not_guessed_at(cls):
    param = torch.randn(8, 64, 3, 3).to(memory_format=torch.channels_last).requires_grad_()
    theirs = cls([param])
    step(theirs, 0)
    assert not theirs.state[param]["state1"].is_contiguous()
    with pytest.raises(CheckpointError, match=r"^state1 of parameter '0' lies in another memory order"):
        load(theirs)
    content = theirs.state_dict()
    content["state"][0][NESTED]["state1"] = theirs.state[param]["state1"].contiguous()
    assert torch.equal(torch.from_numpy(load(content).parameters[0].arrays["square_avg"]), numbers(theirs.state[param]))


OTHERS = {
    "two averages": (bnb.optim.Adam8bit, {}, "one of bitsandbytes' Adam or its kin, which have two averages"),
    "no decay": (bnb.optim.Adagrad8bit, {}, r"one of bitsandbytes' Adagrad: its parameter groups have no decay"),
    "momentum": (bnb.optim.SGD8bit, {"momentum": 0.9}, "has negative elements"),
}


@pytest.mark.parametrize(("cls", "options", "words"), OTHERS.values(), ids=OTHERS)
def test_other_methods_of_bitsandbytes_are_not_taken_for_rmsprop(cls, options, words):
    with pytest.raises(CheckpointError, match=words):
        load(stepped(cls, **options).state_dict())
