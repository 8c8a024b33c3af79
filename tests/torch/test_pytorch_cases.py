"""The cases that PyTorch ships for its own RMSprop, run on both classes."""

import re
import warnings
from copy import deepcopy

import pytest
import torch
from torch.testing._internal import common_optimizers

from rmsprop.torch import RMSprop

# The import above forbids every later change of torch.backends' flags in this process; allow them again.
setattr(torch.backends, "__allow_nonbracketed_mutation_flag", True)

INFO = next(info for info in common_optimizers.optim_db if info.optim_cls is torch.optim.RMSprop)
CPU = torch.device("cpu")
INPUTS = [pytest.param(case.kwargs, id=case.desc) for case in INFO.optim_inputs_func(device=CPU)]
ERRORS = INFO.optim_error_inputs_func(device=CPU, dtype=torch.float32)
FLAGS = [{}, {"fused": True}, {"fused": False}, {"foreach": True}, {"foreach": False}, {"lr": torch.tensor(1e-3)}]


@pytest.mark.parametrize("flags", FLAGS, ids=lambda flags: "-".join(f"{k}={v}" for k, v in flags.items()) or "default")
@pytest.mark.parametrize("options", INPUTS)
def test_parameters_and_state_are_those_of_torch(options, flags, twins, train):
    # In float64 the two differ by the roundings of a few steps, far below 1e-12.
    theirs, ours = twins()
    torchs = torch.optim.RMSprop(theirs, **{**options, **({"lr": flags["lr"]} if "lr" in flags else {})})
    mine = RMSprop(ours, **{**options, **flags})
    train(torchs, mine, gaps=True)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    saved = torchs.state_dict()["state"]
    known = {key: {name: mine.state_dict()["state"][key][name] for name in state} for key, state in saved.items()}
    torch.testing.assert_close(known, saved, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("options", INPUTS)
def test_complex_parameters_are_pairs_of_reals_as_in_torch(options, implementation, twins, train):
    theirs, ours = twins(dtype=torch.complex128)
    train(torch.optim.RMSprop(theirs, **options), RMSprop(ours, **options, **implementation))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("options", INPUTS)
def test_differentiable_steps_are_those_of_torch(options, twins, train):
    theirs, ours = ([param.clone() for param in params] for params in twins())
    train(
        torch.optim.RMSprop(theirs, **options, differentiable=True),
        RMSprop(ours, **options, differentiable=True),
        steps=3,
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("flags", "gaps"),
    [({"fused": True}, False), ({"fused": False}, False), ({}, True), ({"fused": True}, True)],
    ids=["kernel", "composite", "gaps", "kernel-gaps"],
)
@pytest.mark.parametrize("schedulers", [[], *INFO.scheduler_inputs], ids=["constant", "scheduled"])
@pytest.mark.parametrize("options", INPUTS)
def test_the_loss_goes_the_right_way(options, schedulers, flags, gaps):
    weight = (torch.randn(10, 5, 2)[..., 0] if gaps else torch.randn(10, 5)).requires_grad_()
    bias, inputs = torch.randn(10, requires_grad=True), torch.randn(5)
    optimizer = RMSprop([weight, bias], **options, **flags)
    started = [make(optimizer) for make in schedulers]

    def closure():
        optimizer.zero_grad()
        loss = (weight.mv(inputs) + bias).square().sum()
        loss.backward()
        return loss

    before = closure().item()
    for _ in range(20):
        loss = optimizer.step(closure)
        for scheduler in started:
            plateau = isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau)
            scheduler.step(*([loss.item()] if plateau else []))
    assert (closure().item() > before) == options.get("maximize", False)


@pytest.mark.parametrize("case", ERRORS, ids=lambda case: case.optimizer_error_input.desc)
def test_errors_are_those_of_torch(case):
    given = case.optimizer_error_input
    assert case.error_on is common_optimizers.OptimizerErrorEnum.CONSTRUCTION_ERROR
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        if issubclass(case.error_type, Warning):
            RMSprop(given.params, **given.kwargs)
            assert any(re.search(case.error_regex, str(warning.message)) for warning in seen)
        else:
            with pytest.raises(case.error_type, match=case.error_regex):
                RMSprop(given.params, **given.kwargs)


@pytest.mark.parametrize("options", INPUTS)
def test_an_older_state_dict_still_loads(options, twins, train, implementation):
    params, copies = twins()
    optimizer, loaded = (RMSprop(p, **options, **implementation) for p in (params, copies))
    train(optimizer, steps=3)
    old = deepcopy(optimizer.state_dict())
    for group in old["param_groups"]:
        for flag in INFO.not_og_supported_flags:
            del group[flag]
    loaded.load_state_dict(old)
    with torch.no_grad():
        for copy, param in zip(copies, params, strict=True):
            copy.copy_(param)
    train(optimizer, loaded, seed=2)
    torch.testing.assert_close(copies, params, rtol=0, atol=0)
