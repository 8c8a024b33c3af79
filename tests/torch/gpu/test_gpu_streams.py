"""What only a GPU can show: graphs, streams, several devices, memory, the compiled kernel at work."""

import pytest
import torch

from rmsprop.torch import RMSprop

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    # What torch says when a capturable step is not captured.
    pytest.mark.filterwarnings("ignore:This instance was constructed with capturable=True:UserWarning"),
]
OPTIONS = {"momentum": 0.9, "centered": True, "capturable": True}
LONG = 50_000_000  # cycles: some 30 ms


def trained(make, steps=8, **options):
    """A parameter after some steps that `make` takes; the gradient of each step is the parameter plus 1."""
    torch.manual_seed(0)
    param = torch.randn(100_003, device="cuda", requires_grad=True)
    optimizer = RMSprop([param], fused=True, **{**OPTIONS, **options})
    make(optimizer, param, steps)
    torch.cuda.synchronize()
    return param.detach().clone(), optimizer.state[param]["step"].item()


def eagerly(optimizer, param, steps):
    for _ in range(steps):
        param.grad = param.detach() + 1
        optimizer.step()


def warmed_up(optimizer, param, steps):
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        eagerly(optimizer, param, steps)
    torch.cuda.current_stream().wait_stream(side)


def captured(optimizer, param, steps):
    warmed_up(optimizer, param, 3)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        eagerly(optimizer, param, 1)
    for _ in range(steps - 3):
        graph.replay()


REPLAYED = {
    "plain": {},
    "corrected": {"bias_correction": True},
    "scaled": {"caution": True, "max_update_rms": 0.5, "max_grad_ratio": 0.1},
}


@pytest.mark.parametrize("options", REPLAYED.values(), ids=REPLAYED)
def test_a_captured_step_is_replayed(options):
    expected = trained(eagerly, **options)
    found = trained(captured, **options)
    assert torch.equal(found[0], expected[0])
    assert found[1] == expected[1] == 8


def test_a_replay_reads_the_learning_rate_of_the_moment():
    def rates(step):
        return 0.1 / (1 + step)

    def changing(take):
        param = torch.ones(1000, device="cuda")
        lr = torch.tensor(0.0, device="cuda")
        optimizer = RMSprop([param], lr=lr, fused=True, **OPTIONS)
        param.grad = torch.full_like(param, 0.5)
        take(optimizer, lr)
        return param

    def eager(optimizer, lr):
        for step in range(8):
            lr.fill_(rates(step))
            optimizer.step()

    def graph(optimizer, lr):
        lr.fill_(rates(0))
        optimizer.step()
        torch.cuda.synchronize()
        made = torch.cuda.CUDAGraph()
        with torch.cuda.graph(made):
            optimizer.step()
        for step in range(1, 8):
            lr.fill_(rates(step))
            made.replay()

    assert torch.equal(changing(graph), changing(eager))


def test_a_graph_outlives_the_tables_that_later_steps_replace():
    param, other = (torch.ones(5000, device="cuda") for _ in range(2))
    optimizer = RMSprop([param], lr=0.01, fused=True, **OPTIONS)
    param.grad = torch.ones_like(param)
    optimizer.step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        optimizer.step()
    optimizer.add_param_group({"params": [other]})
    other.grad = torch.ones_like(other)
    optimizer.step()
    junk = [torch.full((n,), 0x5A5A5A5A, dtype=torch.int64, device="cuda") for n in range(1, 2000)]
    before = param.clone()
    graph.replay()
    torch.cuda.synchronize()
    assert (param < before).all()
    assert torch.isfinite(param).all()
    assert all((tensor == 0x5A5A5A5A).all() for tensor in junk)


def test_a_graph_outlives_the_dense_copies_of_a_plan_that_another_replaced():
    memory, other = torch.ones(10_000, device="cuda"), torch.ones(5000, device="cuda")
    optimizer = RMSprop([param := memory[::2]], lr=0.01, fused=True, **OPTIONS)
    param.grad = torch.ones_like(other)
    optimizer.step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        optimizer.step()
    optimizer.add_param_group({"params": [other]})
    other.grad = torch.ones_like(other)
    optimizer.step()
    junk = [torch.full((5000,), 7.0, device="cuda") for _ in range(100)]
    before = param.clone()
    graph.replay()
    torch.cuda.synchronize()
    assert (param < before).all()
    assert (memory[1::2] == 1).all()
    assert all((tensor == 7).all() for tensor in junk)


def test_capturing_without_capturable_is_refused_and_counts_nothing():
    param = torch.ones(3, device="cuda")
    optimizer = RMSprop([param], fused=True)
    param.grad = torch.ones_like(param)
    optimizer.step()
    graph = torch.cuda.CUDAGraph()
    with pytest.raises(RuntimeError, match="capturable is False"), torch.cuda.graph(graph):
        optimizer.step()
    assert optimizer.state[param]["step"] == 1


def test_a_step_does_not_wait_for_the_gpu():
    params = [torch.ones(100, device="cuda") for _ in range(50)]
    optimizer = RMSprop(params, fused=True)
    for _ in range(3):
        for param in params:
            param.grad = torch.ones_like(param)
        optimizer.step()
    torch.cuda.synchronize()
    finished = torch.cuda.Event()
    torch.cuda._sleep(LONG)
    for _ in range(5):  # every step sends new addresses while those of the step before are still to be read
        for param in params:
            param.grad = torch.full_like(param, 2.0)
        optimizer.step()
    finished.record()
    assert not finished.query()
    torch.cuda.synchronize()
    assert optimizer.state[params[0]]["step"] == 8


def test_tables_in_flight_are_not_overwritten():
    # Steps whose gradients lie elsewhere each time are put in line before the first of them begins.
    def run(asleep):
        torch.manual_seed(0)
        params = [torch.zeros(64, device="cuda") for _ in range(300)]
        grads = [[torch.randn(64, device="cuda") for _ in params] for _ in range(20)]
        optimizer = RMSprop(params, lr=0.1, fused=True)
        if asleep:
            torch.cuda._sleep(LONG)
        for row in grads:
            for param, grad in zip(params, row, strict=True):
                param.grad = grad
            optimizer.step()
            if not asleep:
                torch.cuda.synchronize()
        torch.cuda.synchronize()
        return params

    assert all(map(torch.equal, run(True), run(False)))


def test_any_stream_may_take_a_step():
    expected, _ = trained(eagerly, capturable=False)

    def hopping(optimizer, param, steps):
        for _ in range(steps):
            warmed_up(optimizer, param, 1)

    assert torch.equal(trained(hopping, capturable=False)[0], expected)


def test_a_step_needs_less_than_a_megabyte():
    def requested(when):  # without what the allocator rounds up
        return torch.cuda.memory_stats()[f"requested_bytes.all.{when}"]

    torch.cuda.synchronize()
    before = requested("current")
    params = [torch.ones(1_000_000, device="cuda") for _ in range(100)]
    optimizer = RMSprop(params, fused=True)
    for param in params:
        param.grad = torch.ones_like(param)
    optimizer.step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    for _ in range(3):
        for param in params:
            param.grad = param.grad.view(-1)  # another object at the same place
        optimizer.step()
    torch.cuda.synchronize()
    parameters_gradients_state = 3 * 4 * 100 * 1_000_000
    assert 0 < requested("peak") - before - parameters_gradients_state < 1_000_000  # the tables are in it


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_several_devices():
    params = [torch.ones(1000, device=device) for device in ("cuda:0", "cuda:1", "cpu")]
    optimizer = RMSprop(params, lr=torch.tensor(0.1, device="cuda:1"))
    for _ in range(3):
        for param in params:
            param.grad = torch.full_like(param, 0.3)
        optimizer.step()
    assert torch.equal(params[0].cpu(), params[2])
    assert torch.equal(params[1].cpu(), params[2])
    assert torch.cuda.current_device() == 0
