"""Everything that watches a step or changes its learning rate works as it does around torch's class."""

import pytest
import torch
from torch.optim import lr_scheduler, swa_utils
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from rmsprop.torch import RMSprop

SCHEDULERS = {
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.95**epoch),
    "MultiplicativeLR": lambda o: lr_scheduler.MultiplicativeLR(o, lambda epoch: 0.9),
    "StepLR": lambda o: lr_scheduler.StepLR(o, 3, gamma=0.5),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, [3, 7]),
    "ConstantLR": lambda o: lr_scheduler.ConstantLR(o, 0.5, total_iters=4),
    "LinearLR": lambda o: lr_scheduler.LinearLR(o, 0.7, 0.0, total_iters=3),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o, total_iters=8, power=2.0),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 5),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
    "ChainedScheduler": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(o, 0.1, total_iters=2), lr_scheduler.ExponentialLR(o, 0.9)]
    ),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.1, total_iters=3), lr_scheduler.ExponentialLR(o, 0.9)], [3]
    ),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 1e-3, 1e-1, step_size_up=3),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=13),
    "ReduceLROnPlateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=1),
    "SWALR": lambda o: swa_utils.SWALR(o, swa_lr=1e-3, anneal_epochs=4),
}


def test_all_schedulers_of_torch_are_here():
    theirs = {name for name in lr_scheduler.__all__ if name != "LRScheduler"}
    assert SCHEDULERS.keys() == theirs | {"SWALR"}


@pytest.mark.parametrize("tensor_lr", [False, True], ids=["number", "tensor"])
@pytest.mark.parametrize("make", SCHEDULERS.values(), ids=SCHEDULERS)
def test_a_scheduler_drives_it_as_it_drives_torch(make, tensor_lr, implementation, twins, train):
    # CyclicLR and OneCycleLR change the momentum too.
    lr = torch.tensor(0.05, dtype=torch.float64) if tensor_lr else 0.05
    theirs, ours = twins()
    optimizers = (
        torch.optim.RMSprop(theirs, lr=lr, momentum=0.9),
        RMSprop(ours, lr=lr.clone() if tensor_lr else lr, momentum=0.9, **implementation),
    )
    schedulers = [make(optimizer) for optimizer in optimizers]
    for seed in range(12):
        train(*optimizers, steps=1, seed=seed)
        for scheduler in schedulers:
            scheduler.step(*([1.0] if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau) else []))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("start", [0.7, 0.9, 1 / 3])
def test_a_learning_rate_that_a_scheduler_rounded_below_zero_is_zero(start, implementation):
    # torch's LinearLR with end_factor=0 ends at -5e-19 for these; training must go on.
    param = torch.zeros(3, requires_grad=True)
    optimizer = RMSprop([param], lr=0.01, **implementation)
    scheduler = lr_scheduler.LinearLR(optimizer, start, 0.0, total_iters=3 if start == 0.7 else 5)
    lrs = []
    for _ in range(7):
        param.grad = torch.ones(3)
        optimizer.step()
        scheduler.step()
        lrs.append(optimizer.param_groups[0]["lr"])
    assert min(lrs) < 0
    before = param.detach().clone()
    optimizer.step()
    assert torch.equal(param, before)


def test_no_scheduler_complains_of_the_order_of_steps():
    optimizer = RMSprop([torch.zeros(1)])
    scheduler = lr_scheduler.StepLR(optimizer, 1)
    optimizer.step()
    scheduler.step()  # warns, and so fails here, if it has not seen the optimizer's step


def test_weight_averaging_is_that_of_torch(implementation):
    averages = []
    for cls, flags in ((torch.optim.RMSprop, {}), (RMSprop, implementation)):
        torch.manual_seed(3)
        model = torch.nn.Sequential(torch.nn.Linear(4, 3, bias=False), torch.nn.BatchNorm1d(3)).double()
        averaged = swa_utils.AveragedModel(model)
        optimizer = cls(model.parameters(), **flags)
        data = [torch.randn(8, 4, dtype=torch.float64) for _ in range(5)]
        for inputs in data:
            optimizer.zero_grad()
            (model(inputs) - inputs[:, :3].exp()).square().sum().backward()
            optimizer.step()
            averaged.update_parameters(model)
        swa_utils.update_bn(data, averaged)
        averages.append(averaged.state_dict())
    torch.testing.assert_close(averages[1], averages[0], rtol=1e-10, atol=1e-10)


def test_hooks_run_around_a_step_in_the_order_of_torch(implementation):
    def order(cls, **flags):
        seen = []
        optimizer = cls([torch.zeros(1)], **flags)
        handles = [
            register_optimizer_step_pre_hook(lambda *_: seen.append("global pre")),
            register_optimizer_step_post_hook(lambda *_: seen.append("global post")),
            optimizer.register_step_pre_hook(lambda *_: seen.append("pre")),
            optimizer.register_step_post_hook(lambda *_: seen.append("post")),
        ]
        optimizer.step()
        optimizer.step(lambda: seen.append("closure"))
        for handle in handles:
            handle.remove()
        optimizer.step()
        return seen

    assert order(RMSprop, **implementation) == order(torch.optim.RMSprop)


@pytest.mark.parametrize("kind", ["register_step_pre_hook", "register_step_post_hook"])
def test_every_kind_of_hook_runs_alone(kind, implementation):
    seen, optimizer = [], RMSprop([torch.zeros(1)], **implementation)
    everywhere = {
        "register_step_pre_hook": register_optimizer_step_pre_hook,
        "register_step_post_hook": register_optimizer_step_post_hook,
    }
    for register in (getattr(optimizer, kind), everywhere[kind]):
        handle = register(lambda *_: seen.append(kind))
        optimizer.step()
        handle.remove()
        optimizer.step()
    assert seen == [kind, kind]


def test_a_pre_hook_may_replace_the_arguments():
    optimizer = RMSprop([torch.zeros(1)])
    optimizer.register_step_pre_hook(lambda optimizer, args, kwargs: ((args[0], lambda: "from the hook"), {}))
    assert optimizer.step() == "from the hook"
    assert optimizer.step(lambda: "given") == "from the hook"


def test_a_pre_hook_may_change_gradients_and_options(implementation):
    param = torch.zeros(3, requires_grad=True)
    optimizer = RMSprop([param], lr=0.1, **implementation)

    def hook(optimizer, args, kwargs):
        param.grad = torch.full((3,), -2.0)
        optimizer.param_groups[0]["lr"] = 0.2

    optimizer.register_step_pre_hook(hook)
    param.grad = torch.ones(3)
    optimizer.step()
    torch.testing.assert_close(param.detach(), torch.full((3,), 2.0))


@pytest.mark.filterwarnings("ignore:Warning. Profiler clears events:UserWarning")  # torch 2.10, of every profile
def test_the_profiler_sees_a_step_by_its_name():
    param = torch.zeros(3, requires_grad=True)
    param.grad = torch.ones(3)
    optimizer = RMSprop([param])
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        optimizer.step()
    assert "Optimizer.step#RMSprop.step" in {event.key for event in profiler.key_averages()}


def test_hooks_of_state_dicts_see_the_form_of_torch(twins, train):
    params, copies = twins()
    optimizer, loaded = RMSprop(params, centered=True), RMSprop(copies, centered=True)
    train(optimizer, steps=2)
    seen = []

    def after_saving(optimizer, state_dict):
        seen.append("square_avg" in state_dict["state"][0])
        return {**state_dict, "note": "kept"}

    def before_loading(optimizer, state_dict):
        seen.append("square_avg" in state_dict["state"][0])
        state_dict["param_groups"][0]["lr"] = 0.5

    optimizer.register_state_dict_pre_hook(lambda optimizer: optimizer.state.update(epoch=3))
    optimizer.register_state_dict_post_hook(after_saving)
    loaded.register_load_state_dict_pre_hook(before_loading)
    loaded.register_load_state_dict_post_hook(lambda optimizer: seen.append(optimizer.param_groups[0]["lr"]))
    state_dict = optimizer.state_dict()
    loaded.load_state_dict(state_dict)
    assert state_dict["note"] == "kept"
    assert seen == [True, True, 0.5]
    assert loaded.state["epoch"] == 3


def test_a_step_in_the_backward_pass():
    params = [torch.zeros(3, requires_grad=True) for _ in range(4)]
    optimizers = {param: RMSprop([param], lr=0.1) for param in params}

    def step(param):
        optimizers[param].step()
        optimizers[param].zero_grad()

    for param in params:
        param.register_post_accumulate_grad_hook(step)
    sum((param - 1).square().sum() for param in params).backward()
    assert all(param.grad is None for param in params)
    torch.testing.assert_close([p.detach() for p in params], [torch.ones(3)] * 4)
