"""Distributed checkpoints that many ranks save, read by `rmsprop.checkpoint` on the first of them."""

import numpy as np
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_model_state_dict, get_optimizer_state_dict

from rmsprop.checkpoint import load
from sharding.runs import FORMS, RUNS, whole
from sharding.saving import trained
from sharding.support import case


def is_as_whole(run, folder):
    """Return whether a folder has the names, the state and the rule of a run that one process has."""
    model, optimizer = whole(run, 0)
    found, expected = load(folder, key=f"{run}.optimizer"), load(optimizer.state_dict())
    assert [each.name for each in found.parameters] == [name for name, _ in model.named_parameters()]
    assert (found.format, found.groups) == (expected.format, expected.groups)
    return all(
        each.step == its.step
        and each.arrays.keys() == its.arrays.keys()
        and all(np.array_equal(each.arrays[name], its.arrays[name]) for name in its.arrays)
        for each, its in zip(found.parameters, expected.parameters, strict=True)
    )


@case
def read_in_one_process(mesh, folder):
    models = {run: trained(run, mesh) for run in RUNS}
    found = {}
    for form, options in FORMS.items():
        content = {
            run: {"model": get_model_state_dict(pair[0]), "optimizer": get_optimizer_state_dict(*pair, options=options)}
            for run, pair in models.items()
        }
        saved = f"{folder}/{form} of {mesh.size()}"
        dcp.save(content, checkpoint_id=saved)
        found[form] = {run: is_as_whole(run, saved) for run in RUNS} if mesh.get_rank() == 0 else None
        dist.barrier()
    return found
