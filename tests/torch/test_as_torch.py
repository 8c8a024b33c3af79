"""What code does with torch.optim.RMSprop besides training, it can do with this class."""

import io
import subprocess
import sys
import warnings
from copy import deepcopy

import numpy as np
import pytest
import torch
import torch.distributed as dist
from support import same_bits
from torch._subclasses import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker

from rmsprop.reference import init, update
from rmsprop.rule import Rule
from rmsprop.torch import RMSprop

TORCHS = torch.optim.RMSprop
BOTH = pytest.mark.parametrize("cls", [TORCHS, RMSprop], ids=["torch", "ours"])
OPTIONS = [{}, {"momentum": 0.9}, {"centered": True, "momentum": 0.9, "weight_decay": 0.1}]


def a_gradient(param, seed):
    return torch.randn(param.shape, dtype=param.dtype, generator=torch.Generator().manual_seed(seed))


def take_steps(optimizer, steps, first=0):
    params = optimizer.param_groups[0]["params"]
    for step in range(first, first + steps):
        for index, param in enumerate(params):
            param.grad = a_gradient(param, 10 * step + index)
        optimizer.step()
    return params


def test_it_is_one():
    optimizer = RMSprop([torch.zeros(3)])
    assert isinstance(optimizer, TORCHS)
    assert issubclass(RMSprop, TORCHS)


@BOTH
@pytest.mark.parametrize("options", [*OPTIONS, {"foreach": True}], ids=str)
def test_steps_on_fake_tensors(cls, options):
    with FakeTensorMode():
        model = torch.nn.Linear(300, 200)
        optimizer = cls(model.parameters(), **options)
        for _ in range(2):
            model(torch.ones(5, 300)).sum().backward()
            optimizer.step()
    state = optimizer.state[model.weight]
    averages = [value for name, value in state.items() if name != "step"]
    assert {(type(value), tuple(value.shape)) for value in averages} == {(type(averages[0]), (200, 300))}
    assert type(averages[0]).__name__ == "FakeTensor"


def tracked(cls, model, **options):
    """The bytes of optimizer state that torch's memory tracker sees after a step."""
    optimizer, tracker = cls(model.parameters(), **options), MemTracker()
    tracker.track_external(model, optimizer)
    with tracker:
        model(torch.ones(5, 300)).sum().backward()
        optimizer.step()
    (snapshot,) = tracker.get_tracker_snapshot("current").values()
    return next(size for kind, size in snapshot.items() if "OPT" in str(kind).upper().split(".")[-1])


@pytest.mark.parametrize("fake", [False, True], ids=["real", "fake"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_memory_tracker_sees_the_state(options, fake):
    def sizes():
        return [tracked(cls, torch.nn.Linear(300, 200), **options) for cls in (TORCHS, RMSprop)]

    if fake:
        with FakeTensorMode():
            theirs, ours = sizes()
    else:
        theirs, ours = sizes()
    assert abs(theirs - ours) <= 16  # step counters


@BOTH
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_lazy_module_whose_state_is_loaded_before_its_first_forward(cls, options):
    inputs = torch.linspace(-1.0, 1.0, 6, dtype=torch.float64).view(2, 3)
    model, lazy = torch.nn.Linear(3, 2).double(), torch.nn.LazyLinear(2).double()
    optimizer, later = TORCHS(model.parameters(), **options), cls(lazy.parameters(), **options)
    model(inputs).sum().backward()
    optimizer.step()
    later.load_state_dict(deepcopy(optimizer.state_dict()))
    lazy(inputs)
    lazy.load_state_dict(model.state_dict())
    for _ in range(2):
        for each, its in ((model, optimizer), (lazy, later)):
            its.zero_grad()
            each(inputs).square().sum().backward()
            its.step()
    torch.testing.assert_close(list(lazy.parameters()), list(model.parameters()), rtol=1e-12, atol=1e-12)
    assert later.state[lazy.weight]["step"] == 3


@BOTH
def test_a_lazy_module_takes_its_first_step_without_state(cls):
    model = torch.nn.LazyLinear(2)
    optimizer = cls(model.parameters())
    optimizer.step()  # nothing has a gradient yet
    optimizer.load_state_dict(optimizer.state_dict())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    assert optimizer.state[model.weight]["step"] == 1


@pytest.fixture
def zero_redundancy():
    """torch's ZeroRedundancyOptimizer, in a group of one process."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit", DeprecationWarning)  # at the import
        from torch.distributed.optim import ZeroRedundancyOptimizer
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield ZeroRedundancyOptimizer
    dist.destroy_process_group()


@pytest.mark.parametrize("options", [{}, {"dialect": "tensorflow1"}, {"dialect": "keras", "momentum": 0.9}], ids=str)
def test_zero_redundancy(options, zero_redundancy):
    ours, expected = ([torch.ones(shape, dtype=torch.float64) for shape in ((3, 2), (4,))] for _ in range(2))
    optimizer = zero_redundancy(ours, optimizer_class=RMSprop, lr=0.01, **options)
    plain = RMSprop(expected, lr=0.01, **options)
    for each in (optimizer, plain):
        take_steps(each, 2)
    optimizer.consolidate_state_dict()
    again = zero_redundancy(ours, optimizer_class=RMSprop, lr=0.5, **options)
    again.load_state_dict(optimizer.state_dict())
    for each in (again, plain):
        each.param_groups[0]["lr"] = 0.02
        take_steps(each, 2, first=2)
    assert all(map(torch.equal, ours, expected))


class OwnInit(RMSprop):
    """Written for torch's class: makes the defaults itself and calls the base of all optimizers."""

    def __init__(self, params, lr=1e-2, alpha=0.99, eps=1e-8, momentum=0.0, centered=False, weight_decay=0.0):
        defaults = {"lr": lr, "alpha": alpha, "eps": eps, "momentum": momentum, "centered": centered}
        flags = {"capturable": False, "foreach": None, "maximize": False, "differentiable": False}
        torch.optim.Optimizer.__init__(self, params, {**defaults, "weight_decay": weight_decay, **flags})


class OwnInitOfTorchs(TORCHS):
    __init__ = OwnInit.__init__


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_subclass_that_calls_the_base_of_all_optimizers(options):
    results = []
    for cls in (OwnInit, OwnInitOfTorchs):
        params = [torch.ones(5, dtype=torch.float64), torch.ones(2, dtype=torch.float64)]
        optimizer = cls(params[:1], **options)
        take_steps(optimizer, 2)
        optimizer.add_param_group({"params": params[1:], "lr": 0.1})
        params[1].grad = torch.ones(2, dtype=torch.float64)
        take_steps(optimizer, 2, first=2)
        later = cls(params[:1], **options)
        later.add_param_group({"params": params[1:]})
        later.load_state_dict(optimizer.state_dict())
        take_steps(later, 2, first=4)
        results.append(params)
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)


NUMBERS = {
    "lr": [np.array(0.01), np.float32(0.01), torch.tensor(0.01), torch.tensor([0.01])],
    "alpha": [torch.tensor(0.9), torch.tensor(0.9, dtype=torch.float64)],
    "eps": [torch.tensor(1e-3), torch.tensor([1e-3])],
    "weight_decay": [torch.tensor(0.1)],
    "momentum": [torch.tensor(0.9), torch.tensor([0.9])],
}


@pytest.mark.parametrize("flags", [{}, {"fused": True}, {"fused": False}], ids=str)
@pytest.mark.parametrize(("name", "value"), [(name, value) for name in NUMBERS for value in NUMBERS[name]], ids=repr)
def test_numbers_may_be_tensors_of_one_element(name, value, flags):
    def trained(cls, number, **more):
        optimizer = cls([torch.ones(5, dtype=torch.float64)], **{name: number}, **more)
        take_steps(optimizer, 2)
        copy = cls([optimizer.param_groups[0]["params"][0].clone()], **{name: number}, **more)
        file = io.BytesIO()
        torch.save(optimizer.state_dict(), file)
        file.seek(0)
        copy.load_state_dict(torch.load(file, weights_only=False))
        return take_steps(copy, 2, first=2)

    # NaN-free and close: a float32 tensor's 0.9 is float32's here too.
    torch.testing.assert_close(trained(RMSprop, value, **flags), trained(TORCHS, value), rtol=1e-12, atol=1e-12)
    assert all(map(torch.equal, trained(RMSprop, value, **flags), trained(RMSprop, float(value), **flags)))


@pytest.mark.parametrize("name", ["alpha", "eps", "weight_decay", "momentum"])
def test_a_tensor_of_several_numbers_is_none(name):
    with pytest.raises((TypeError, ValueError), match="Invalid"):
        RMSprop([torch.ones(5)], **{name: torch.tensor([0.1, 0.2])})


def test_gradscaler_and_those_who_ask_for_it_see_a_class_that_does_not_scale_itself():
    # Lightning refuses to clip, and accelerate counts no skipped step, where this is true.
    assert not getattr(TORCHS, "_step_supports_amp_scaling", False)
    assert not getattr(RMSprop, "_step_supports_amp_scaling", False)
    assert not getattr(RMSprop([torch.zeros(3)]), "_step_supports_amp_scaling", False)


@pytest.mark.parametrize("clips", [False, True], ids=["as it is", "clipped"])
def test_a_gradscaler_on_the_cpu_steps_and_skips_as_with_torchs(clips):
    def trained(cls):
        weight = torch.linspace(-1.0, 1.0, 5, dtype=torch.float64).requires_grad_()
        optimizer = cls([weight], lr=0.1, momentum=0.9)
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=2)
        scales = []
        for step in range(6):
            optimizer.zero_grad()
            factor = torch.inf if step == 2 else float(step + 1)
            scaler.scale((weight.square() * factor).sum()).backward()
            if clips:
                scaler.unscale_(optimizer)
                torch.nn.utils.clip_grad_norm_([weight], 0.5)
            scaler.step(optimizer)
            scaler.update()
            scales.append(scaler.get_scale())
        return weight.detach(), optimizer.state[weight]["step"].item(), scales

    ours, theirs = trained(RMSprop), trained(TORCHS)
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-12, atol=1e-12)
    assert ours[1:] == theirs[1:]
    assert ours[1] == 5.0


@pytest.mark.parametrize("named", [False, True])
def test_state_of_a_parameter_that_was_replaced_is_an_error_that_says_so(named):
    model = torch.nn.Linear(3, 2)
    torchs, ours = (cls(model.named_parameters() if named else model.parameters()) for cls in (TORCHS, RMSprop))
    for optimizer in (torchs, ours):
        take_steps(optimizer, 1)
        optimizer.param_groups[0]["params"][1] = torch.nn.Parameter(torch.zeros(5))
    with pytest.raises(KeyError, match=r"\d{6,}"):  # an address
        torchs.state_dict()
    with pytest.raises(RuntimeError, match=r"parameter .*\(2,\)"):
        ours.state_dict()
    take_steps(ours, 1)  # which is nothing to stop training for


def test_steps_are_counted_beyond_what_a_float32_can_count():
    # torch's counter stays at 2²⁴: its next float32 is 2²⁴ + 2.
    many = 2**24
    params = [torch.ones(3), torch.ones(3)]
    torchs, ours = TORCHS(params[:1]), RMSprop(params[1:])
    for optimizer in (torchs, ours):
        take_steps(optimizer, 1)
        saved = optimizer.state_dict()
        saved["state"][0]["step"] = torch.tensor(float(many))
        optimizer.load_state_dict(saved)
        take_steps(optimizer, 3)
    assert torchs.state[params[0]]["step"].item() == many
    assert ours.state[params[1]]["step"].item() == many + 3
    file = io.BytesIO()
    torch.save(ours.state_dict(), file)
    file.seek(0)
    later = RMSprop([torch.ones(3)])
    later.load_state_dict(torch.load(file))
    (param,) = take_steps(later, 1)
    assert later.state[param]["step"].item() == many + 4


IMPORTS = """
import sys, torch
before = set(sys.modules)
import rmsprop.torch
print(*sorted(name for name in set(sys.modules) - before if name.split(".")[0] != "rmsprop"))
"""


def test_importing_it_loads_no_compiler():
    command = [sys.executable, "-c", IMPORTS]
    loaded = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.split()
    heavy = [name for name in loaded if name.startswith(("torch._dynamo", "torch._inductor", "torch._functorch"))]
    assert heavy == []
    assert not {"sympy", "triton", "jax", "keras", "tensorflow"} & set(loaded)


@pytest.fixture
def flushing():
    before = torch.get_num_threads()
    if not torch.set_flush_denormal(True):
        pytest.skip("this machine cannot flush denormal numbers")
    torch.set_flush_denormal(False)
    yield torch.set_flush_denormal
    torch.set_flush_denormal(False)
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("size", [7, 300_000])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_kernel_keeps_denormal_numbers_where_torch_is_told_to_flush_them(dtype, size, threads, flushing, keywords):
    # v starts from 1, so that updates are as small as the gradients: parameter, mean and momentum are denormal.
    rule = Rule(initial_square_avg=1.0, momentum=0.9, centered=True)
    tiny = np.finfo(dtype).smallest_normal
    random = np.random.default_rng(0)
    start, grad = ((random.standard_normal(size) * tiny / 10).astype(dtype) for _ in range(2))
    expected, state = update(rule, 1.0, 1, start, grad, init(rule, start))
    assert np.count_nonzero(expected) > 0.9 * size
    param = torch.from_numpy(start.copy())
    param.grad = torch.from_numpy(grad)
    optimizer = RMSprop([param], lr=1.0, fused=True, **keywords(rule))
    torch.set_num_threads(threads)
    flushing(True)
    optimizer.step()
    flushed = param[:7] * 1.0
    flushing(False)
    assert flushed.count_nonzero() == 0  # torch does, in the thread that was told
    assert same_bits(param.numpy(), expected)
    for name, value in state.items():
        assert same_bits(optimizer.state[param][name].numpy(), value), name
