"""Another default device, as ``torch.set_default_device("cuda")`` makes it: what serves the CPU is made on the CPU.

"meta", whose tensors have no numbers, stands for it: whatever is made there by mistake is of no use to anybody.
"""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from rmsprop.checkpoint import convert
from rmsprop.lab import Recorder
from rmsprop.torch import RMSprop, ScheduleFreeRMSprop, gpu

OPTIONS = {
    "plain": {},
    "centered": {"centered": True},
    "corrected": {"bias_correction": True},
    "momentum": {"momentum": 0.9},
    "cautious": {"momentum": 0.9, "caution": True},
    "lazy": {"sparse": "lazy"},
    "row-wise": {"sparse": "rowwise", "staleness_decay": 0.1},
    "packed": {"state_dtype": "8bit"},
    "rounded": {"rounding": "stochastic"},
    "clipped": {"max_grad_norm": 0.1},
    "clipped by units": {"max_grad_ratio": 0.01},
    "limited": {"max_update_rms": 0.1},
}
IDS = torch.tensor([[1, 2, 1], [4, 0, 4], [2, 2, 3]])


def trained(options, sparse, context):
    """A table of embeddings after a few steps, saved, loaded and prepared on the way, and its optimizer."""
    torch.manual_seed(0)
    dtype = torch.bfloat16 if "rounding" in options else torch.float32
    table = nn.Embedding(5, 130, sparse=sparse, dtype=dtype)
    optimizer = RMSprop(table.parameters(), **options)
    with context:
        for ids in IDS:
            optimizer.zero_grad()
            optimizer.prepare(ids)
            table(ids).square().sum().backward()
            optimizer.step()
            optimizer.load_state_dict(optimizer.state_dict())
        optimizer.prepare()
    return table.weight, optimizer


@pytest.mark.filterwarnings("ignore:rmsprop:UserWarning")  # of dense copies
@pytest.mark.parametrize("fused", [None, False], ids=["kernel", "tensor operations"])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_it_changes_nothing(options, sparse, fused):
    weight, optimizer = trained(options | {"fused": fused}, sparse, torch.device("meta"))
    expected, plain = trained(options | {"fused": fused}, sparse, nullcontext())
    assert torch.equal(weight, expected)
    state, expected_state = dict(optimizer.state[weight].items()), dict(plain.state[expected].items())
    assert state.keys() == expected_state.keys()
    assert all(torch.equal(state[name], expected_state[name]) for name in state)
    if plain.grad_norm is not None:
        assert torch.equal(optimizer.grad_norm, plain.grad_norm)


@pytest.mark.parametrize("rows", [[1, 2], IDS.numpy()], ids=["list", "array"])
def test_rows_may_be_any_numbers(rows):
    table = nn.Embedding(5, 3, sparse=True)
    optimizer = RMSprop(table.parameters(), momentum=0.9)
    with torch.device("meta"):
        optimizer.prepare(rows)


@pytest.mark.parametrize("fused", [None, False], ids=["kernel", "tensor operations"])
def test_a_schedule_free_step_is_the_same(fused):
    weights = []
    for context in (torch.device("meta"), nullcontext()):
        weights.append(nn.Parameter(torch.ones(3)))
        optimizer = ScheduleFreeRMSprop(weights[-1:], fused=fused)
        with context:
            optimizer.train()
            for _ in range(3):
                weights[-1].grad = torch.arange(3.0, device="cpu")
                optimizer.step()
            optimizer.eval()
    assert torch.equal(*weights)


def test_a_recorder_measures_the_same(tmp_path):
    weight, found = nn.Parameter(torch.ones(3)), []
    for name, context in (("meta", torch.device("meta")), ("cpu", nullcontext())):
        weight.data.fill_(1.0)
        optimizer = RMSprop([weight])
        with context, Recorder(optimizer, tmp_path / name, every=1):
            weight.grad = torch.arange(3.0, device="cpu")
            optimizer.step()
        found.append((tmp_path / name).read_text())
    assert found[0] == found[1]


def test_a_state_dict_is_converted_to_the_same_numbers():
    weight = nn.Parameter(torch.ones(3))
    optimizer = RMSprop([weight])
    weight.grad = torch.ones(3)
    optimizer.step()
    with torch.device("meta"):
        converted = convert(optimizer.state_dict(), "torch")
    assert converted["state"][0]["step"].device.type == "cpu"


def test_memory_for_a_gpu_is_the_hosts():
    with torch.device("meta"):
        assert gpu.Stream(torch.device("cpu"), []).room_for(IDS.numpy()).device.type == "cpu"
