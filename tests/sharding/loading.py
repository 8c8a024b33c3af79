"""Distributed checkpoints that other ranks load, and go on from to where one process comes that never stopped."""

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from sharding.runs import FORMS, RUNS, STEPS, model_of, take_step, whole
from sharding.support import case, full

NAMES = ("square_avg", "momentum_buffer", "compensation")


def fresh(run, mesh):
    model = model_of(run, mesh)
    with torch.no_grad():
        for param in model.parameters():
            param.zero_()
    return model, RUNS[run][1](model.parameters(), **RUNS[run][2])


def as_whole(run, model, optimizer):
    """Return whether a run is where one process is, at once and after two more steps."""
    twin, its = whole(run, 0)
    at_once = _are_equal(model, optimizer, twin, its)
    if RUNS[run][0] is not RUNS[run][1]:  # from here on by the other optimizer
        after = RUNS[run][1](twin.parameters(), **RUNS[run][2])
        after.load_state_dict(its.state_dict())
        its = after
    for step in range(STEPS, STEPS + 2):
        take_step(model, optimizer, step)
        take_step(twin, its, step)
    return at_once, _are_equal(model, optimizer, twin, its)


def _are_equal(model, optimizer, twin, its):
    return all(
        torch.equal(full(param.detach()), other.detach())
        and all(
            torch.equal(full(optimizer.state[param][name]), its.state[other][name])
            for name in NAMES
            if its.state[other].get(name) is not None
        )
        and optimizer.state[param]["step"].item() == its.state[other]["step"].item()
        for param, other in zip(model.parameters(), twin.parameters(), strict=True)
    )


def _loaded(mesh, folder, runs, options):
    pairs = {run: fresh(run, mesh) for run in runs}
    content = {
        run: {"model": get_model_state_dict(pair[0]), "optimizer": get_optimizer_state_dict(*pair, options=options)}
        for run, pair in pairs.items()
    }
    dcp.load(content, checkpoint_id=folder)
    for run, pair in pairs.items():
        set_model_state_dict(pair[0], content[run]["model"])
        set_optimizer_state_dict(*pair, content[run]["optimizer"], options=options)
    return {run: as_whole(run, *pair) for run, pair in pairs.items()}


@case
def loaded(mesh, folder):
    return {form: _loaded(mesh, f"{folder}/{form}", RUNS, options) for form, options in FORMS.items()}


@case
def loaded_from_meanwhile(mesh, folder):
    return _loaded(mesh, f"{folder}/meanwhile", ["plain"], FORMS["nested"])


@case
def loaded_from_whole(mesh, folder):
    """The first rank has the whole state, and the others get their parts from it."""
    options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    content = torch.load(f"{folder}/whole.pt") if mesh.get_rank() == 0 else {run: ({}, {}) for run in RUNS}
    found = {}
    for run in RUNS:
        model, optimizer = fresh(run, mesh)
        set_model_state_dict(model, content[run][0], options=options)
        set_optimizer_state_dict(model, optimizer, content[run][1], options=options)
        found[run] = as_whole(run, model, optimizer)
    return found
