"""Distributed checkpoints that many ranks save: all runs in one, in both forms."""

import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, get_optimizer_state_dict

from sharding.runs import FORMS, RUNS, STEPS, model_of, take_step
from sharding.support import case


def trained(run, mesh):
    model = model_of(run, mesh)
    optimizer = RUNS[run][0](model.parameters(), **RUNS[run][2])
    for step in range(STEPS):
        take_step(model, optimizer, step)
    return model, optimizer


@case
def saved(mesh, folder):
    models = {run: trained(run, mesh) for run in RUNS}
    for form, options in FORMS.items():
        content = {
            run: {"model": get_model_state_dict(model), "optimizer": get_optimizer_state_dict(*pair, options=options)}
            for run, pair in models.items()
            for model in [pair[0]]
        }
        dcp.save(content, checkpoint_id=f"{folder}/{form}")
    return True


@case
def saved_meanwhile(mesh, folder):
    """A save that goes on beside training holds what there was when it was asked for."""
    model, optimizer = trained("plain", mesh)
    content = {"plain": {"model": get_model_state_dict(model), "optimizer": get_optimizer_state_dict(model, optimizer)}}
    writing = dcp.async_save(content, checkpoint_id=f"{folder}/meanwhile")
    for step in range(STEPS, STEPS + 2):
        take_step(model, optimizer, step)
    writing.result()
    return True


@case
def saved_whole(mesh, folder):
    """The whole state on the first rank, as a file of torch's."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    content = {}
    for run in RUNS:
        model, optimizer = trained(run, mesh)
        content[run] = (
            get_model_state_dict(model, options=options),
            get_optimizer_state_dict(model, optimizer, options=options),
        )
    if mesh.get_rank() == 0:
        torch.save(content, f"{folder}/whole.pt")
    return all(bool(part) == (mesh.get_rank() == 0) for parts in content.values() for part in parts)
