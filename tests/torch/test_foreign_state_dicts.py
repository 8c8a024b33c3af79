"""State dicts of other optimizers: another RMSProp's is understood, anything else is refused by name."""

from copy import deepcopy

import pytest
import torch
from dialects.timm_optimizers import RMSpropTF
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike

from rmsprop.torch import RMSprop

TORCHS = torch.optim.RMSprop
# Those that share a word with RMSprop's: SGD a momentum_buffer and nesterov, Adadelta square_avg, ASGD alpha.
OTHERS = [
    (torch.optim.SGD, {"momentum": 0.9}, "SGD"),
    (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}, "SGD"),
    (torch.optim.SGD, {}, "SGD"),
    (torch.optim.Adam, {}, "Adam"),
    (torch.optim.Adam, {"amsgrad": True}, "Adam"),
    (torch.optim.AdamW, {}, "Adam"),
    (torch.optim.NAdam, {}, "N?Adam"),
    (torch.optim.RAdam, {}, "R?Adam"),
    (torch.optim.Adamax, {}, "Adam"),
    (torch.optim.Adagrad, {}, "Adagrad"),
    (torch.optim.Adadelta, {}, "Adadelta"),
    (torch.optim.Rprop, {}, "Rprop"),
    (torch.optim.ASGD, {}, "ASGD"),
    (torch.optim.Adafactor, {}, "Adafactor"),
]


def some_params(seed=0):
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, dtype=torch.float64, generator=random).requires_grad_() for shape in ((3, 4), (5,))]


def take_steps(optimizer, steps, seed=0):
    random = torch.Generator().manual_seed(seed)
    params = optimizer.param_groups[0]["params"]
    for _ in range(steps):
        for param in params:
            param.grad = torch.randn(param.shape, dtype=param.dtype, generator=random)
        optimizer.step()
    return params


def goes_on_from(before, after):
    """Take steps with both, the second loaded from the first, and compare what becomes of the parameters."""
    after.load_state_dict(before.state_dict())
    mine = after.param_groups[0]["params"]
    with torch.no_grad():
        for param, its in zip(mine, before.param_groups[0]["params"], strict=True):
            param.copy_(its)
    expected = take_steps(before, 4, seed=1)
    torch.testing.assert_close(take_steps(after, 4, seed=1), expected, rtol=1e-12, atol=1e-12)


def assert_refused(state_dict, name, **options):
    optimizer, twin = RMSprop(some_params(), **options), RMSprop(some_params(), **options)
    for each in (optimizer, twin):
        take_steps(each, 2)
    before = deepcopy(optimizer.state_dict())
    given = deepcopy(state_dict)
    with pytest.raises(ValueError, match=rf"\b{name}"):
        optimizer.load_state_dict(state_dict)
    after = optimizer.state_dict()
    assert after["param_groups"] == before["param_groups"]
    torch.testing.assert_close(after["state"], before["state"], rtol=0, atol=0)
    torch.testing.assert_close(state_dict, given, rtol=0, atol=0)
    assert all(map(torch.equal, take_steps(optimizer, 2, seed=1), take_steps(twin, 2, seed=1)))


@pytest.mark.parametrize("steps", [0, 2], ids=["at the start", "trained"])
@pytest.mark.parametrize(("cls", "options", "name"), OTHERS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_the_state_of_another_optimizer_is_refused_by_its_name(cls, options, name, steps):
    other = cls(some_params(), lr=0.01, **options)
    take_steps(other, steps)
    assert_refused(other.state_dict(), name)
    assert_refused(other.state_dict(), name, momentum=0.9, centered=True)


@pytest.mark.parametrize("cls", [torch.optim.Adam, torch.optim.Adadelta, torch.optim.ASGD])
def test_torch_itself_loads_such_a_state(cls):
    # Without a word; of SGD's it says KeyError: 'step', of an unstepped one's nothing.
    other = cls(some_params(), lr=0.01)
    take_steps(other, 2)
    torchs = TORCHS(some_params())
    torchs.load_state_dict(other.state_dict())
    first, its = torchs.param_groups[0]["params"][0], other.param_groups[0]["params"][0]
    assert torchs.state[first].keys() == other.state[its].keys()


def test_state_of_bitsandbytes_is_refused_by_its_name():
    # As its RMSprop writes it, at 32 and at 8 bits: betas are (alpha, momentum), and state1 is the average.
    params = some_params()
    group = {"lr": 0.01, "betas": (0.99, 0.0), "eps": 1e-8, "weight_decay": 0, "params": [0, 1]}
    wide = {i: {"step": 3, "state1": torch.ones_like(param)} for i, param in enumerate(params)}
    bytes_ = {
        i: {
            "step": 3,
            "state1": torch.zeros(param.shape, dtype=torch.uint8),
            "qmap1": torch.zeros(256),
            "absmax1": torch.ones(1),
        }
        for i, param in enumerate(params)
    }
    for state in (wide, bytes_):
        assert_refused({"state": state, "param_groups": [group]}, "bitsandbytes")


OF_TIMM = [
    {},
    {"momentum": 0.9, "lr_in_momentum": False},
    {"momentum": 0.9, "centered": True, "weight_decay": 0.1},
    {"momentum": 0.9, "weight_decay": 0.1, "decoupled_decay": True},
    {"alpha": 0.95, "eps": 1e-3},
    {"momentum": 0.9, "caution": True},
    {"momentum": 0.9, "weight_decay": 0.1, "decoupled_decay": True, "corrected_weight_decay": True, "caution": True},
]


@pytest.mark.parametrize("own", [{}, {"dialect": "timm"}, {"dialect": "keras"}], ids=str)
@pytest.mark.parametrize("options", OF_TIMM, ids=str)
def test_timms_state_means_what_timm_means(options, own):
    timms, ours = RMSpropTF(some_params(), lr=0.01, **options), RMSprop(some_params(), **own)
    take_steps(timms, 3)
    goes_on_from(timms, ours)
    group = ours.param_groups[0]
    assert (group["eps_inside_sqrt"], group["initial_square_avg"]) == (True, 1.0)
    assert group["lr_in_momentum"] == options.get("lr_in_momentum", True)
    assert group["weight_decay_mode"] == ("decoupled" if options.get("decoupled_decay") else "l2")


def test_timms_state_at_the_start_loads_too():
    timms, ours = RMSpropTF(some_params(), lr=0.01, momentum=0.9), RMSprop(some_params())
    goes_on_from(timms, ours)


def test_a_correction_of_timm_that_does_not_say_its_learning_rate_is_told():
    options = {"weight_decay": 0.1, "decoupled_decay": True, "corrected_weight_decay": True}
    timms, ours = RMSpropTF(some_params(), lr=0.01, **options), RMSprop(some_params())
    saved = timms.state_dict()
    del saved["param_groups"][0]["max_lr_snapshot"]
    saved["param_groups"][0]["lr"] = 0.005
    for initial_lr, expected in (({}, 0.005), ({"initial_lr": 0.02}, 0.02)):
        saved["param_groups"][0] |= initial_lr
        with pytest.warns(UserWarning, match=rf"doesn't say by which learning rate .*: {expected:g} is taken"):
            ours.load_state_dict(saved)
        assert ours.param_groups[0]["weight_decay_max_lr"] == expected


@pytest.mark.parametrize(
    "options", [{"caution": True}, {"momentum": 0.9, "corrected_weight_decay": True, "weight_decay": 0.1}], ids=str
)
def test_what_has_no_effect_in_timm_has_none_here(options):
    timms, ours = RMSpropTF(some_params(), lr=0.01, **options), RMSprop(some_params())
    take_steps(timms, 2)
    goes_on_from(timms, ours)
    assert not ours.param_groups[0]["caution"]
    assert ours.param_groups[0]["weight_decay_max_lr"] == 0.0


def test_what_timm_said_does_not_come_back():
    timms, ours, later = RMSpropTF(some_params(), decoupled_decay=True), *(RMSprop(some_params()) for _ in range(2))
    ours.load_state_dict(timms.state_dict())
    ours.param_groups[0] |= {"weight_decay_mode": "l2", "eps_inside_sqrt": False, "lr_in_momentum": False}
    later.load_state_dict(ours.state_dict())
    group = later.param_groups[0]
    assert (group["weight_decay_mode"], group["eps_inside_sqrt"], group["lr_in_momentum"]) == ("l2", False, False)


@pytest.mark.parametrize(
    "options", [{}, {"momentum": 0.9}, {"momentum": 0.9, "centered": True, "weight_decay": 0.1}], ids=str
)
def test_stable_baselines_state_goes_on_in_its_dialect(options):
    theirs, ours = RMSpropTFLike(some_params(), **options), RMSprop(some_params(), dialect="sb3")
    take_steps(theirs, 3)
    goes_on_from(theirs, ours)
    assert ours.param_groups[0]["eps_inside_sqrt"] is True
    assert all(ours.state[param]["step"] == 7 for param in ours.param_groups[0]["params"])


@pytest.mark.parametrize("older", [False, True], ids=["today's", "an older one"])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "centered": True, "weight_decay": 0.1}], ids=str)
def test_torchs_own_state_loads(options, older):
    theirs, ours = TORCHS(some_params(), **options), RMSprop(some_params())
    take_steps(theirs, 3)
    saved = deepcopy(theirs.state_dict())
    if older:
        for flag in ("capturable", "foreach", "maximize", "differentiable"):
            del saved["param_groups"][0][flag]
        for state in saved["state"].values():
            state["step"] = int(state["step"])
    theirs.state_dict = lambda: saved
    goes_on_from(theirs, ours)


def test_what_others_write_into_a_group_is_no_reason_to_refuse():
    theirs, ours = TORCHS(some_params()), RMSprop(some_params())
    scheduler = torch.optim.lr_scheduler.OneCycleLR(theirs, 0.1, total_steps=10, cycle_momentum=False)
    theirs.param_groups[0]["lr_scale"] = 0.5
    take_steps(theirs, 3)
    scheduler.step()
    goes_on_from(theirs, ours)
    assert ours.param_groups[0]["lr_scale"] == 0.5
    assert ours.param_groups[0]["initial_lr"] == theirs.param_groups[0]["initial_lr"]


def test_what_a_cyclic_schedule_writes_is_no_reason_either():
    # OneCycleLR writes max_momentum and base_momentum into groups, which are no sign of another optimizer.
    theirs, ours = TORCHS(some_params(), momentum=0.9), RMSprop(some_params())
    scheduler = torch.optim.lr_scheduler.OneCycleLR(theirs, 0.1, total_steps=10)
    take_steps(theirs, 3)
    scheduler.step()
    assert "max_momentum" in theirs.param_groups[0]
    goes_on_from(theirs, ours)
