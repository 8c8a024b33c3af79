"""What the tables on the device say is true at every step, whatever was replaced since the last one."""

import copy
import pickle
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rmsprop.torch import RMSprop, gpu

# What torch says on a GPU when a capturable step is not captured.
pytestmark = pytest.mark.filterwarnings("ignore:This instance was constructed with capturable=True:UserWarning")

OPTIONS = {"momentum": 0.9, "centered": True}


@pytest.fixture
def pair(device):
    """Two equal lists of parameters: one for the Triton kernel, one for the reference."""
    params = [torch.randn(shape, device=device) for shape in ((3,), (40, 30), (), (2, 2))]
    return params, [param.clone() for param in params]


@pytest.fixture
def step(device):
    """Takes a step with both optimizers on equal gradients and compares all parameters."""

    def take(ours, theirs):
        for p, q in zip(*(o.param_groups[0]["params"] for o in (ours, theirs)), strict=True):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        ours.step()
        theirs.step()
        for p, q in zip(*(o.param_groups[0]["params"] for o in (ours, theirs)), strict=True):
            torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-5)

    return take


def optimizers(pair, **options):
    return RMSprop(pair[0], fused=True, **OPTIONS, **options), RMSprop(pair[1], fused=False, **OPTIONS, **options)


def test_gradients_and_learning_rates_change(pair, step):
    both = optimizers(pair)
    for lr in (0.1, 0.01, 0.01, 0.2):
        for optimizer in both:
            optimizer.param_groups[0]["lr"] = lr
        step(*both)


def test_gradients_stay_in_place_and_nothing_is_sent_again(pair, device, monkeypatch):
    optimizer = RMSprop(pair[0], fused=True)
    for param in pair[0]:
        param.grad = torch.ones_like(param)
    optimizer.step()
    sent = []
    monkeypatch.setattr("rmsprop.torch.gpu.Stream.send", lambda _, words: sent.append(words))
    optimizer.step()
    assert sent == []


def test_only_what_moves_is_sent_again(pair, device, monkeypatch):
    optimizer, send, sent = RMSprop(pair[0], fused=True), gpu.Stream.send, []
    monkeypatch.setattr(gpu.Stream, "send", lambda stream, words: sent.append(words.size) or send(stream, words))
    for _ in range(3):
        old = [param.grad for param in pair[0]]  # so that the new ones lie elsewhere
        for param in pair[0]:
            param.grad = torch.ones_like(param)
        optimizer.step()
        del old
    addresses_and_rule = len(pair[0]) + gpu.kernels().tables.WORDS_PER_RULE.value
    assert sent[2:] == [addresses_and_rule] * 3


def test_a_capture_takes_no_pinned_memory_and_keeps_what_the_graph_reads(monkeypatch):
    cpu, words = torch.device("cpu"), [np.arange(5) + 10 * i for i in range(3)]
    table, eager, captured = gpu.WordTable(), gpu.Stream(cpu, []), gpu.Stream(cpu, [])
    captured.kept = []
    before = table.on_device(words[0], eager)
    with monkeypatch.context() as patch:
        patch.setattr(gpu.Stream, "room_for", lambda *_: pytest.fail("memory was asked for"))
        assert table.on_device(words[0], captured) is before
        moved = table.on_device(words[1], captured)
    assert moved.tolist() == words[1].tolist()
    assert any(kept is before for kept in captured.kept)
    assert any(kept is moved for kept in captured.kept)
    # Later steps, and another graph, leave alone what a graph reads.
    later = [table.on_device(words[2], eager), table.on_device(words[1], captured)]
    assert moved.tolist() == words[1].tolist()
    assert len({tensor.data_ptr() for tensor in (before, moved, *later)}) == 4


@pytest.fixture
def pretended(monkeypatch):
    """A device on whose streams tables are sent: what was asked for, and the stream that is current."""
    asked, current = [], SimpleNamespace(cuda_stream=5)
    empty, to = torch.empty, torch.Tensor.to

    def noted_empty(shape, **keywords):
        asked.append(("pinned", keywords.pop("pin_memory")))
        return empty(shape, **keywords)

    def noted_to(tensor, device, **keywords):
        asked.append(("non-blocking", keywords["non_blocking"]))
        return to(tensor, device)

    monkeypatch.setattr(torch, "empty", noted_empty)
    monkeypatch.setattr(torch.Tensor, "to", noted_to)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: current)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    return asked, current


def test_tables_are_sent_from_pinned_memory_without_waiting(pretended):
    asked, _ = pretended
    gpu.Stream(torch.device("meta"), []).send(np.arange(5))
    assert asked == [("pinned", True), ("non-blocking", True)]


def test_another_stream_gets_tables_of_its_own(pretended):
    _, current = pretended
    table, words, device = gpu.WordTable(), np.arange(5), torch.device("meta")
    first, again = (table.on_device(words, gpu.Stream(device, [])) for _ in range(2))
    current.cuda_stream = 7
    other = table.on_device(words, gpu.Stream(device, []))
    assert first is again
    assert other is not first  # which may be on its way still, or be handed out again while this stream reads it
    assert table.on_device(words, gpu.Stream(device, [])) is other


@pytest.mark.parametrize("name", ["grad_var", "grad_avg", "momentum_buffer"])
def test_state_moves(pair, step, name):
    both = optimizers(pair)
    step(*both)
    kept = [state[name] for state in both[0].state.values()]
    for state in both[0].state.values():
        state[name] = state[name].clone()
    before = [value.clone() for value in kept]
    step(*both)
    assert all(map(torch.equal, kept, before))


def test_parameters_move(pair, step):
    both = optimizers(pair)
    step(*both)
    old = [param.data for param in pair[0]]
    before = [value.clone() for value in old]
    for param in pair[0]:
        param.data = param.data.clone()
    step(*both)
    assert all(map(torch.equal, old, before))


def test_parameters_shrink_where_they_are(device):
    whole = torch.zeros(4000, device=device)
    optimizer = RMSprop([param := torch.nn.Parameter(whole)], fused=True)
    for size in (4000, 5):
        param.data = whole[:size]
        param.grad = torch.ones_like(param)
        if size == 5:
            whole.zero_()
            state = optimizer.state[param]
            state["square_avg"].data = state["square_avg"].data[:5]
        optimizer.step()
    assert (whole[:5] != 0).all()
    assert (whole[5:] == 0).all()


def test_state_that_was_replaced_by_a_state_dict_is_freed(pair, step):
    both = optimizers(pair)
    step(*both)
    old = [weakref.ref(state["momentum_buffer"]) for state in both[0].state.values()]
    both[0].load_state_dict(copy.deepcopy(both[0].state_dict()))
    assert [reference() for reference in old] == [None] * len(old)


def test_without_memory_or_a_compiler_nothing_changes(device, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("out of memory")

    param = torch.ones(3, device=device)
    optimizer = RMSprop([param], fused=True)
    param.grad = torch.ones_like(param)
    for place in (gpu.Stream, "send"), (type(gpu.kernels().kernel.update), "run"):
        with monkeypatch.context() as patch:
            patch.setattr(*place, fail)
            with pytest.raises(RuntimeError, match="out of memory"):
                optimizer.step()
        assert (param == 1).all()
        assert optimizer.state[param]["step"] == 0
        assert (optimizer.state[param]["square_avg"] == 0).all()
    optimizer.step()
    assert optimizer.state[param]["step"] == 1


def test_a_gradient_is_missing_for_a_while(pair, device):
    both = optimizers(pair)
    for missing in ({}, {1}, {0, 2}, {}):
        for i, (p, q) in enumerate(zip(*pair, strict=True)):
            p.grad = None if i in missing else torch.randn_like(p)
            q.grad = None if i in missing else p.grad.clone()
        for optimizer in both:
            optimizer.step()
    for p, q in zip(*pair, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-5, atol=1e-5)
        assert both[0].state[p]["step"] == both[1].state[q]["step"]


def test_no_gradient_at_all(device, launches):
    optimizer = RMSprop([torch.ones(3, device=device)], fused=True)
    optimizer.step()
    assert launches == []


@pytest.mark.parametrize("again", [copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))], ids=["deepcopy", "pickle"])
def test_copies_have_tables_of_their_own(pair, step, again):
    both = optimizers(pair)
    step(*both)
    before = [param.clone() for param in pair[0]]
    step(again(both[0]), again(both[1]))
    assert all(map(torch.equal, pair[0], before))


def test_a_state_dict_is_loaded(pair, step):
    both = optimizers(pair)
    step(*both)
    saved = [copy.deepcopy(optimizer.state_dict()) for optimizer in both]
    step(*both)
    for optimizer, state in zip(both, saved, strict=True):
        optimizer.load_state_dict(state)
    step(*both)


def test_a_group_is_added(pair, device, launches):
    optimizer = RMSprop(pair[0][:2], fused=True)
    for param in pair[0]:
        param.grad = torch.ones_like(param)
    optimizer.step()
    optimizer.add_param_group({"params": pair[0][2:], "lr": 0.5})
    optimizer.step()
    assert [optimizer.state[param]["step"].item() for param in pair[0]] == [2, 2, 1, 1]
    assert len(launches) == 2


def test_counters_go_where_they_are_needed_and_keep_counting(device):
    params = [torch.ones(2, device=device) for _ in range(2)]
    optimizer = RMSprop(params, fused=True, bias_correction=True)
    for number in range(1, 6):
        for param in params:
            param.grad = torch.ones_like(param)
        if number == 3:
            optimizer.param_groups[0]["capturable"] = True
        if number == 4:
            params[1].grad = None  # parts the counters without reading them
        optimizer.step()
    assert [optimizer.state[param]["step"].item() for param in params] == [5, 4]
    assert all(optimizer.state[param]["step"].device == param.device for param in params)


def test_autograd_notices_that_parameters_changed(device):
    param = torch.ones(3, device=device, requires_grad=True)
    loss = (param * param).sum()
    param.grad = torch.ones_like(param)
    RMSprop([param], fused=True).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_compiler_leaves_the_step_to_the_kernel(device, launches):
    param = torch.ones(3, device=device)
    param.grad = torch.ones_like(param)
    optimizer = RMSprop([param])
    torch.compile(lambda: optimizer.step(), backend="eager")()
    assert len(launches) == 1
