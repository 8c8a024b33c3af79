"""What tests of several processes run on every rank of a process group: cases that return plain data, by module.

`shards`, `packed`, `clipping`, `backward` and `refusals` are about single tensors that are cut.
"""

import importlib
import traceback
import warnings
from datetime import timedelta

import pytest
import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh

from sharding.support import CASES

TIMEOUT = 300.0  # seconds; a case takes at most a few, on a machine that has others to serve
HUNG = timedelta(seconds=60)  # after which ranks give up to wait for one that has failed


def run_cases(rank, count, barrier, folder, runs):
    """Return what each case returned, or its traceback, by the number of ranks.

    Args:
        rank: This process's number.
        count: How many processes there are.
        barrier: Where they wait for each other.
        folder: A folder that they share.
        runs: Pairs of a number of ranks, which the first processes are, and the names of modules of cases.
    """
    torch.set_num_threads(1)
    found = {}
    for turn, (ranks, modules) in enumerate(runs):
        barrier.wait(TIMEOUT)
        if rank < ranks:
            store = dist.FileStore(f"{folder}/store {turn}", ranks)
            dist.init_process_group("gloo", store=store, rank=rank, world_size=ranks, timeout=HUNG)
            mesh = init_device_mesh("cpu", (ranks,))
            for module in modules:
                importlib.import_module(f"sharding.{module}")
                found.setdefault(ranks, {}).update(_of_module(module, mesh, folder))
            dist.destroy_process_group()
    return found


def _of_module(module, mesh, folder):
    found = {}
    for name, function in CASES[module].items():
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            try:
                found[name] = function(mesh, folder) if module in WITH_A_FOLDER else function(mesh)
            except Exception:
                found[name] = traceback.format_exc()
    return found


def results(found, case):
    """What a case returned, on each rank; a traceback is shown as it is."""
    by_rank = [rank[case] for rank in found]
    errors = [result for result in by_rank if isinstance(result, str) and result.startswith("Traceback")]
    if errors:
        pytest.fail(errors[0], pytrace=False)
    return by_rank


WITH_A_FOLDER = {"saving", "loading", "converting"}
