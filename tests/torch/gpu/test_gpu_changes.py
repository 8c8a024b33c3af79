"""What changes between two steps is computed as the specification says, by the same launch."""

import numpy as np
import pytest
import torch
from support import same_bits

from rmsprop import Rule
from rmsprop.reference import init, update
from rmsprop.torch import RMSprop, gpu
from rmsprop.torch.groups import rule_of

# What torch says on a GPU when a capturable step is not captured.
pytestmark = pytest.mark.filterwarnings("ignore:This instance was constructed with capturable=True:UserWarning")


class Specified:
    """An optimizer on the Triton kernel, and what the specification says of each of its parameters.

    Args:
        params: The parameters.
        **options: Those of the optimizer.
    """

    def __init__(self, params, **options):
        self.params = params
        self.optimizer = RMSprop(params, fused=True, **options)
        self.group = self.optimizer.param_groups[0]
        self.rule = rule_of(self.group)
        self.expected = [as_numpy(param) for param in params]
        self.states = [init(self.rule, param) for param in self.expected]
        self.counts = [0] * len(params)
        self._random = torch.Generator().manual_seed(0)

    def step(self, active=None):
        """Take a step in which the parameters of these numbers, else all, have gradients."""
        rule, lr, maximize = rule_of(self.group), self.group["lr"], self.group["maximize"]
        for i, param in enumerate(self.params):
            param.grad = None
            if active is None or i in active:
                grad = torch.randn(param.shape, generator=self._random).to(param.dtype)
                param.grad = grad.to(param.device)
                self.counts[i] += 1
                grad = as_numpy(grad)
                new = update(rule, lr, self.counts[i], self.expected[i], grad, self.states[i], maximize=maximize)
                self.expected[i], self.states[i] = new
        self.optimizer.step()

    def check(self, tolerance=0.0):
        """Compare parameters, states and counters with the specification: all bits of them, without a tolerance."""
        for i, param in enumerate(self.params):
            state = self.optimizer.state.get(param, {})
            kept = self.states[i] if state else {}
            pairs = [(param, self.expected[i]), *((state[name], value) for name, value in kept.items())]
            for found, expected in pairs:
                if tolerance:
                    np.testing.assert_allclose(as_numpy(found), expected, rtol=tolerance, atol=tolerance)
                else:
                    assert same_bits(as_numpy(found), expected)
            assert state.get("step", 0) == self.counts[i]


def as_numpy(tensor):
    return tensor.detach().cpu().numpy().copy()


@pytest.fixture
def new(device):
    """Makes `Specified` with parameters of some sizes."""

    def make(*sizes, **options):
        params = [1.0 + torch.rand(size, generator=torch.Generator().manual_seed(size)) for size in sizes]
        return Specified([param.to(device) for param in params], **options)

    return make


CHANGES = {
    "nesterov": [{"nesterov": True}, {"nesterov": False}],
    "lr_in_momentum": [{"lr_in_momentum": True}, {"lr_in_momentum": False}],
    "both": [{"nesterov": True, "lr_in_momentum": True}, {"nesterov": False}],
    "momentum": [{"momentum": 0.3}, {"momentum": 0.95}],
    "weight_decay": [{"weight_decay": 0.1}, {"weight_decay": 0.0}],
    "weight_decay_mode": [{"weight_decay": 0.1, "weight_decay_mode": "decoupled"}, {"weight_decay_mode": "l2"}],
    "epsilon": [{"eps": 1e-2, "eps_inside_sqrt": True}, {"eps_inside_sqrt": False}],
    "decay": [{"alpha": 0.3}, {"alpha": 0.999}],
    "lr": [{"lr": 0.5}, {"lr": -0.25}],
    "maximize": [{"maximize": True}, {"maximize": False}],
}


@pytest.mark.parametrize("centered", [False, True])
@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES)
def test_options_change_and_the_launch_stays(changes, centered, new, launches):
    ours = new(5, 1500, momentum=0.9, centered=centered)
    for options in ({}, *changes, {}):
        ours.group.update(options)
        ours.step()
        ours.check()
    assert len(launches) == len(changes) + 2
    assert len(set(launches)) == 1
    assert len(launches[0]._compiled) == 1


TURNS = {
    "by turns": [{0}, {1, 2}, {0}, {1, 2}],
    "one rests": [{0, 1, 2}, {0, 2}, {0, 1, 2}, {0, 2}],
    "one after the other": [{0}, {1}, {2}, {0, 1, 2}],
    "nobody once": [{0, 1, 2}, set(), {0, 1, 2}],
}


@pytest.mark.parametrize("turns", TURNS.values(), ids=TURNS)
def test_parameters_take_turns(turns, new):
    ours = new(5, 1500, 1024, momentum=0.9, centered=True)
    for active in turns:
        ours.step(active)
        ours.check()


def test_once_all_have_taken_a_step_turns_change_no_plan(new, launches):
    ours = new(5, 1500, 1024, momentum=0.9)
    ours.step()
    plan = ours.optimizer._stepper.plan
    for active in ({0}, {1, 2}, {2}, {0, 1, 2}):
        ours.step(active)
        launch = launches[-1]
        assert set(launch._owners) == active  # no program is started for one that rests
    ours.check()
    assert ours.optimizer._stepper.plan is plan
    assert len(set(launches)) == 1


ADOPT = {"init_from_gradient": True, "delayed": True, "averaged_momentum": True, "momentum": 0.9}
COUNTED = {
    "corrected": {"bias_correction": True, "momentum": 0.9},
    "centered": {"bias_correction": True, "momentum": 0.9, "centered": True, "eps": 1e-3},  # which alone divides first
    "averaged momentum": {"bias_correction": True, "momentum": 0.9, "averaged_momentum": True},
    "ADOPT": ADOPT,
}


@pytest.mark.parametrize("options", COUNTED.values(), ids=COUNTED)
def test_every_parameter_has_the_gains_of_its_own_count(options, new, launches):
    ours = new(5, 1500, 1024, capturable=True, **options)
    for active in ({0, 1, 2}, {0, 1}, {1}, {0, 1, 2}, {0, 1, 2}):
        ours.step(active)
    assert [ours.optimizer.state[param]["step"].item() for param in ours.params] == [4, 5, 3]
    assert len(set(launches)) == 1
    # A gain from a count on the device may be rounded the other way: 2⁻²⁴ of what an average moves by, in five steps.
    ours.check(tolerance=1e-6)


@pytest.mark.parametrize("options", COUNTED.values(), ids=COUNTED)
def test_counts_that_are_known_here_part_parameters_and_have_all_bits(options, new, launches):
    ours = new(5, 1500, 1024, **options)
    for active in ({0, 1, 2}, {0, 1}, {1}, {0, 1, 2}):
        ours.step(active)
        ours.check()


def test_counters_may_have_a_dimension(device):
    params = [torch.ones(3, device=device) for _ in range(4)]
    optimizers = [RMSprop(two, fused=True, capturable=True, bias_correction=True) for two in (params[:2], params[2:])]
    for param in params[:2]:
        optimizers[0].state[param]["step"] = torch.zeros(1, device=device)
    for optimizer in optimizers:
        for param in optimizer.param_groups[0]["params"]:
            param.grad = torch.arange(3.0, device=device)
        optimizer.step()
    assert all(torch.equal(param, params[0]) for param in params)


def gapped(device, dtype=torch.float32):
    memory = torch.arange(1.0, 3001.0).to(dtype).to(device)
    return memory, memory[::2]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_parameter_with_gaps_is_updated_in_a_dense_copy(dtype, device, launches):
    memory, param = gapped(device, dtype)
    between = memory[1::2].clone()
    ours = Specified([param, torch.ones(7, dtype=dtype, device=device)], momentum=0.9, centered=True)
    for active in (None, {0}, {1}, None):
        ours.step(active)
        ours.check()
    assert ours.optimizer.paths() == {"0": "kernel on dense copy (triton)", "1": "kernel (triton)"}
    assert torch.equal(memory[1::2], between)
    assert len(launches) == 4
    assert len(set(launches)) == 1


def test_a_gradient_wider_than_its_parameter_is_not_rounded(device):
    param = torch.linspace(1, 2, 1500).bfloat16().to(device)
    param.grad_dtype = None  # allows any
    optimizer, rule = RMSprop([param], lr=0.1, momentum=0.9, fused=True), Rule(momentum=0.9)
    state = init(rule, as_numpy(param.float()))
    for step in (1, 2, 3):
        grad = torch.linspace(-1, 1, 1500) / 3 + step
        expected, state = update(rule, 0.1, step, as_numpy(param.float()), as_numpy(grad), state)
        param.grad = grad.to(device)
        optimizer.step()
        assert same_bits(as_numpy(param.float()), as_numpy(torch.from_numpy(expected).bfloat16().float()))
        assert same_bits(as_numpy(optimizer.state[param]["square_avg"]), state["square_avg"])
    assert optimizer.paths() == {"0": "kernel on dense copy (triton)"}


@pytest.mark.parametrize("infinite", [False, True])
def test_a_dense_copy_knows_whether_there_is_a_step(infinite, device):
    memory, param = gapped(device)
    before = memory.clone()
    optimizer = RMSprop([param], lr=0.5, fused=True)
    param.grad = torch.ones(1500, device=device)
    optimizer.found_inf = torch.tensor(float(infinite), device=device)
    optimizer.step()
    assert torch.equal(memory, before) == infinite
    assert optimizer.state[param]["step"] == 1 - infinite


def test_a_captured_step_keeps_the_dense_copies_that_its_graph_reads(device, monkeypatch):
    _, param = gapped(device)
    optimizer = RMSprop([param], fused=True)
    param.grad = torch.ones(1500, device=device)
    optimizer.step()
    copy = optimizer._stepper.plan.first.buckets[0].copies.all[0]
    assert not any(kept is copy for kept in optimizer._stepper._captured)

    class Captured(gpu.Stream):
        def __init__(self, device, kept):
            super().__init__(device, kept)
            self.kept = kept

    monkeypatch.setattr(gpu, "Stream", Captured)
    optimizer.step()
    assert any(kept is copy for kept in optimizer._stepper._captured)
