"""Steps that backward takes: those of `step()`, with no gradient left when they are done."""

import gc
import threading
import weakref
from copy import deepcopy

import pytest
import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from rmsprop.torch import RMSprop, step_in_backward
from rmsprop.torch.backward import joint_update


class Tied(torch.nn.Module):
    """Embeds, and predicts with the same weight; small and large parameters, a scalar among them."""

    def __init__(self, checkpoints=False):
        super().__init__()
        self.embedding = torch.nn.Embedding(50, 16)
        self.layers = torch.nn.ModuleList(torch.nn.Linear(16, 16) for _ in range(3))
        self.norm = torch.nn.LayerNorm(16)
        self.scale = torch.nn.Parameter(torch.tensor(1.0))
        self.checkpoints = checkpoints

    def forward(self, tokens):
        x = self.embedding(tokens)
        for layer in (*self.layers, self.layers[0]):
            part = lambda x, layer=layer: torch.tanh(layer(x))  # noqa: E731
            x = checkpoint(part, x, use_reentrant=False) if self.checkpoints else part(x)
        return functional.linear(self.norm(x) * self.scale, self.embedding.weight)


def pair(**options):
    torch.manual_seed(0)
    model = Tied(options.pop("checkpoints", False))
    models = [model, deepcopy(model)]
    return models, [RMSprop(each.parameters(), **options) for each in models]


def backward(model, seed, scale=1.0):
    tokens = torch.randint(50, (4, 6), generator=torch.Generator().manual_seed(seed))
    (scale * functional.cross_entropy(model(tokens).flatten(0, 1), tokens.flatten())).backward()


def same(models, optimizers):
    for ours, theirs in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(ours, theirs)
        found, expected = optimizers[0].state[ours], optimizers[1].state[theirs]
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in found)


OPTIONS = {
    "plain": {},
    "momentum": {"momentum": 0.9, "centered": True, "weight_decay": 0.1},
    "bias correction": {"bias_correction": True},
    "caution": {"caution": True, "momentum": 0.9},
    "adaptive clipping": {"max_grad_ratio": 0.01},
    "checkpoints": {"checkpoints": True},
    "limits": {"max_grad_value": 1e-3, "max_update_rms": 0.5},
    "state in bfloat16": {"state_dtype": torch.bfloat16, "seed": 3, "max_grad_value": 1e-3},
    "state in 8 bits": {"state_dtype": "8bit", "seed": 3, "momentum": 0.9, "centered": True},
    "state in 8 bits by tensor operations": {"state_dtype": "8bit", "max_grad_value": 1e-3, "fused": False},
    "tensor operations": {"fused": False},
    "a tensor for a rate": {"lr": torch.tensor(0.01)},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_they_are_the_steps_of_step(options):
    models, optimizers = pair(**options)
    step_in_backward(optimizers[0])
    for seed in range(4):
        backward(models[0], seed)
        assert all(param.grad is None for param in models[0].parameters())
        backward(models[1], seed)
        optimizers[1].step()
        optimizers[1].zero_grad()
    same(models, optimizers)


@pytest.mark.parametrize("state_dtype", [None, torch.bfloat16, "8bit"], ids=str)
def test_options_that_stay_are_checked_once(state_dtype, monkeypatch):
    (model, _), (optimizer, _) = pair(state_dtype=state_dtype)
    step_in_backward(optimizer)
    backward(model, 0)

    def fail(group):
        raise AssertionError("the options of a group are checked, and all its parameters planned, anew")

    monkeypatch.setattr(joint_update, "check_group", fail)
    backward(model, 1)


def test_tensor_operations_that_nobody_asked_for_are_mentioned_once():
    (model, _), (optimizer, _) = pair(state_dtype="8bit", max_update_rms=1.0)
    step_in_backward(optimizer)
    with pytest.warns(UserWarning, match="by tensor operations") as told:
        backward(model, 0)
    backward(model, 1)  # warnings are errors
    assert len(told) == 1
    assert told[0].filename == __file__


def test_random_bits_are_those_of_the_whole_optimizer():
    models, optimizers = [], []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(torch.nn.Sequential(*(torch.nn.Linear(16, 16) for _ in range(3))).bfloat16())
        optimizers.append(RMSprop(models[-1].parameters(), rounding="stochastic", seed=3))
    step_in_backward(optimizers[0])
    for _ in range(3):
        for model in models:
            model(torch.ones(2, 16, dtype=torch.bfloat16)).sum().backward()
        optimizers[1].step()
        optimizers[1].zero_grad()
    same(models, optimizers)


def test_groups_schedules_and_loops_that_still_step():
    models, optimizers = [], []
    for _ in range(2):
        torch.manual_seed(0)
        models.append(Tied())
        first, *rest = models[-1].parameters()
        optimizers.append(RMSprop([{"params": [first], "lr": 1e-3}, {"params": rest, "momentum": 0.5}]))
    handle = step_in_backward(optimizers[0])
    schedules = [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9) for optimizer in optimizers]
    for seed in range(5):
        for model, optimizer, schedule in zip(models, optimizers, schedules, strict=True):
            optimizer.zero_grad()
            backward(model, seed)
            if not (optimizer is optimizers[0] and seed == 0):
                optimizer.step()
            schedule.step()
        if seed == 2:
            for optimizer in optimizers:
                optimizer.param_groups[1]["momentum"] = 0.7
        if seed == 3:
            optimizers[0].load_state_dict(deepcopy(optimizers[0].state_dict()))
    same(models, optimizers)
    handle.remove()
    backward(models[0], 9)
    assert models[0].scale.grad is not None
    step_in_backward(optimizers[0])


def test_micro_batches_are_accumulated():
    models, optimizers = pair()
    handle = step_in_backward(optimizers[0])
    for _ in range(2):
        with handle.accumulating():
            backward(models[0], 0, 0.5)
        backward(models[0], 1, 0.5)
        backward(models[1], 0, 0.5)
        backward(models[1], 1, 0.5)
        optimizers[1].step()
        optimizers[1].zero_grad()
    same(models, optimizers)


def test_gradients_are_freed_while_backward_goes_on():
    layers = torch.nn.Sequential(*(torch.nn.Linear(32, 32, bias=False) for _ in range(6)))
    step_in_backward(RMSprop(layers.parameters()))
    alive = []
    for param in layers.parameters():
        param.register_post_accumulate_grad_hook(
            lambda _: alive.append(sum(each.grad is not None for each in layers.parameters()))
        )
    layers(torch.ones(1, 32)).sum().backward()
    assert alive == [0] * 6


def test_parameters_added_later_take_part():
    first, second = (torch.ones(3, requires_grad=True) for _ in range(2))
    optimizer = RMSprop([first])
    step_in_backward(optimizer)
    optimizer.add_param_group({"params": [second], "lr": 0.1})
    (first.sum() + second.sum()).backward()
    assert optimizer.state[second]["step"] == 1
    assert second[0] == 1 - torch.tensor(0.1) / (torch.tensor(0.01).sqrt() + 1e-8)


def test_frozen_parameters_take_part_once_they_wake():
    models, optimizers = pair()
    for model in models:
        model.requires_grad_(False)
        next(model.parameters()).requires_grad_(True)
    step_in_backward(optimizers[0])
    for seed in range(4):
        if seed == 2:
            for model in models:
                model.requires_grad_(True)
                next(model.parameters()).requires_grad_(False)
        for model in models:
            backward(model, seed)
        optimizers[1].step()
        optimizers[1].zero_grad()
    assert all(param.grad is None for param in models[0].parameters())
    same(models, optimizers)


def test_parameters_of_whole_numbers_are_left_alone():
    frozen, trained = torch.ones(3, dtype=torch.int32), torch.ones(3, requires_grad=True)
    step_in_backward(RMSprop([frozen, trained]))
    trained.sum().backward()
    assert not frozen.requires_grad
    assert trained[0] < 1


def test_a_backward_that_fails_leaves_the_next_one_right():
    models, optimizers = pair()
    step_in_backward(optimizers[0])

    def fail(grad):
        raise ArithmeticError

    broken = models[0].embedding.weight.register_hook(fail)
    before = deepcopy(models[0].embedding.weight)
    with pytest.raises(ArithmeticError):
        backward(models[0], 0)
    broken.remove()
    optimizers[0].zero_grad()
    assert torch.equal(before, models[0].embedding.weight)
    backward(models[0], 1)
    assert all(param.grad is None for param in models[0].parameters())


def test_it_waits_for_who_saves_or_loads_state_in_another_thread():
    (model, _), (optimizer, _) = pair()
    step_in_backward(optimizer)
    thread = threading.Thread(target=backward, args=(model, 0))
    with optimizer._stepper.lock:
        thread.start()
        thread.join(0.2)
        assert thread.is_alive()
        assert not optimizer.state
    thread.join(30)
    assert len(optimizer.state) == len(list(model.parameters()))


def test_it_keeps_no_optimizer_alive():
    param = torch.ones(2, requires_grad=True)
    optimizer = RMSprop([param])
    step_in_backward(optimizer).remove()
    kept = weakref.ref(optimizer)
    del optimizer
    gc.collect()
    assert kept() is None


def test_clipping_by_the_norm_is_refused():
    optimizer = RMSprop([torch.ones(1, requires_grad=True)], max_grad_norm=1.0)
    with pytest.raises(RuntimeError, match="can't clip by `max_grad_norm`: the norm is known after the last gradient"):
        step_in_backward(optimizer)
    optimizer.max_grad_norm = None
    step_in_backward(optimizer)
    with pytest.raises(RuntimeError, match="can't clip by `max_grad_norm`"):
        optimizer.max_grad_norm = 1.0
    with pytest.raises(RuntimeError, match="takes the steps of this optimizer already"):
        step_in_backward(optimizer)


def test_a_parameter_is_stepped_for_one_optimizer():
    """A second one, as a cell of a notebook that is run again makes it, would train nothing and say nothing."""
    shared, own = (torch.ones(1, requires_grad=True) for _ in range(2))
    first = step_in_backward(RMSprop([shared], lr=0.1))
    second = RMSprop([("bias", own), ("weight", shared)], lr=0.1)
    with pytest.raises(RuntimeError, match=r"of parameter weight for another optimizer already.*: remove\(\) that one"):
        step_in_backward(second)
    own.sum().backward()
    assert own.grad is not None  # nothing of it was taken
    first.remove()
    step_in_backward(second)
    shared.sum().backward()
    assert second.state[shared]["step"] == 1


OTHERS = {"torch's": torch.optim.RMSprop([torch.ones(1)]), "a number": 3}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_other_optimizers_are_refused(other):
    kind = "int" if other == 3 else "torch.optim.rmsprop.RMSprop"
    with pytest.raises(TypeError, match=f"is one of rmsprop.torch.RMSprop, but {kind} was given: make one"):
        step_in_backward(other)


def test_a_closure_is_evaluated_and_its_backward_steps():
    param = torch.ones(1, requires_grad=True)
    optimizer = RMSprop([param], lr=0.1, eps=0.0)
    step_in_backward(optimizer)

    def closure():
        optimizer.zero_grad()
        loss = param.sum()
        loss.backward()
        return loss

    assert optimizer.step(closure) == 1.0
    assert optimizer.state[param]["step"] == 1
    assert param.grad is None


def test_a_scaler_that_unscales_is_refused_at_its_step():
    param = torch.ones(1, requires_grad=True)
    optimizer = RMSprop([param])
    step_in_backward(optimizer)
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(param.sum()).backward()
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="can't serve GradScaler"):
        scaler.step(optimizer)


def test_reentrant_checkpoints_are_refused():
    layer = torch.nn.Linear(2, 2)
    step_in_backward(RMSprop(layer.parameters()))
    before = layer.weight.detach().clone()
    x = torch.ones(1, 2, requires_grad=True)
    with pytest.raises(RuntimeError, match="use_reentrant=False"):
        checkpoint(layer, x, use_reentrant=True).sum().backward()
    assert torch.equal(layer.weight, before)


def test_grad_scaler_is_refused():
    param = torch.ones(1, requires_grad=True)
    optimizer = RMSprop([param])
    step_in_backward(optimizer)
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(param.sum()).backward()
    with pytest.raises(RuntimeError, match="can't serve GradScaler"):
        scaler.step(optimizer)


def test_a_differentiable_step_is_refused():
    with pytest.raises(RuntimeError, match="can't be `differentiable`"):
        step_in_backward(RMSprop([torch.ones(1, requires_grad=True)], differentiable=True))


def test_copies_step_themselves():
    param = torch.ones(1, requires_grad=True)
    optimizer = RMSprop([param])
    step_in_backward(optimizer)
    assert deepcopy(optimizer).in_backward is None
