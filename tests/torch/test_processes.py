"""Optimizers and processes: a step after a fork, and Hogwild training on memory that processes share."""

import pytest
import torch
from workers import (
    bits,
    in_processes,
    load_and_take_turns,
    params_of,
    state_is_shared,
    step_on_noise,
    step_with_the_gradients_there,
    take_turns,
)

from rmsprop.torch import RMSprop

TORCHS = torch.optim.RMSprop
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
LARGE = 1 << 20
OPTIONS = {
    "plain": (torch.float32, {}),
    "momentum": (torch.float32, {"momentum": 0.9}),
    "centered": (torch.float32, {"centered": True, "momentum": 0.9, "weight_decay": 0.1}),
    "corrected": (torch.float64, {"bias_correction": True}),
    "tensorflow1": (torch.float32, {"dialect": "tensorflow1", "lr": 0.01}),
    "bfloat16": (torch.bfloat16, {"momentum": 0.9}),
    "bfloat16 centered": (torch.bfloat16, {"centered": True}),
}


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def large(options, size=LARGE):
    param = torch.nn.Parameter(torch.linspace(-1.0, 1.0, size))
    param.grad = torch.linspace(2.0, -3.0, size)
    return RMSprop([param], fused=True, **options)


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "centered": True}], ids=str)
def test_a_forked_child_goes_on_with_the_bits_of_its_parent(options, two_threads):
    optimizer = large(options)
    optimizer.step()
    found = in_processes("fork", step_with_the_gradients_there, optimizer, 3)
    for _ in range(3):
        optimizer.step()
    assert found == [bits(optimizer)] * 2


def test_a_child_of_a_child_steps_too(two_threads):
    optimizer = large({})
    optimizer.step()
    (found,) = in_processes("fork", in_a_child_of_its_own, optimizer, count=1)
    for _ in range(2):
        optimizer.step()
    assert found == bits(optimizer)


def in_a_child_of_its_own(rank, count, barrier, optimizer):
    optimizer.step()
    reading, writing = torch.multiprocessing.get_context("fork").Pipe(duplex=False)
    child = torch.multiprocessing.get_context("fork").Process(
        target=lambda: writing.send(step_with_the_gradients_there(0, 1, None, optimizer, 1))
    )
    torch.multiprocessing.current_process()._config["daemon"] = False  # a daemon may not have children
    child.start()
    return reading.recv() if reading.poll(30) else child.kill()


class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 12

    def __getitem__(self, index):
        return torch.full((1024,), float(index + 1)), torch.tensor(index % 2)


@pytest.mark.parametrize("persistent", [False, True])
def test_training_goes_on_while_a_data_loader_forks_its_workers(persistent, two_threads):
    def trained(workers):
        torch.manual_seed(0)
        model = torch.nn.Linear(1024, LARGE // 1024)
        optimizer = RMSprop(model.parameters(), lr=1e-4)
        forking = {"multiprocessing_context": "fork", "timeout": 30, "persistent_workers": persistent}
        loader = torch.utils.data.DataLoader(Rows(), 4, num_workers=workers, **(forking if workers else {}))
        for _ in range(2):
            for rows, labels in loader:
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(model(rows), labels).backward()
                optimizer.step()
        return bits(optimizer)

    assert trained(2) == trained(0)


def small(cls, dtype, options, shared):
    random = torch.Generator().manual_seed(0)
    params = [torch.randn(shape, generator=random).to(dtype).requires_grad_() for shape in ((3, 5), (7,), ())]
    if shared:
        for param in params:
            param.share_memory_()
    return cls(params, **options)


def assert_equal(found, expected):
    assert all(map(torch.equal, params_of(found), params_of(expected)))
    for one, other in zip(params_of(found), params_of(expected), strict=True):
        torch.testing.assert_close(dict(found.state[one]), dict(expected.state[other]), rtol=0, atol=0)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_that_take_turns_train_as_one(method, count):
    # All options at once: a spawned process imports torch first, which takes seconds.
    optimizers, twins = ([small(RMSprop, *row, shared) for row in OPTIONS.values()] for shared in (True, False))
    for optimizer in optimizers:
        optimizer.share_memory()
    assert in_processes(method, take_turns, optimizers, 7, count=count) == [True] * count
    for turn in range(7):
        for twin in twins:
            step_on_noise(twin, turn)
    for optimizer, twin in zip(optimizers, twins, strict=True):
        assert_equal(optimizer, twin)
        step_on_noise(optimizer, 7)
        step_on_noise(twin, 7)
        assert_equal(optimizer, twin)


def test_sharing_after_some_steps_loses_nothing():
    optimizers, twins = ([small(RMSprop, *row, shared) for row in OPTIONS.values()] for shared in (True, False))
    for optimizer in optimizers:
        step_on_noise(optimizer, 0)
        optimizer.share_memory()
        assert state_is_shared(optimizer)
    assert in_processes("fork", take_turns, optimizers, 2) == [True] * 2
    for optimizer, twin in zip(optimizers, twins, strict=True):
        for seed in (0, 0, 1):
            step_on_noise(twin, seed)
        assert_equal(optimizer, twin)


@pytest.mark.parametrize("row", OPTIONS.values(), ids=OPTIONS)
def test_sharing_makes_all_state_at_once(row):
    optimizer, twin = small(RMSprop, *row, True), small(RMSprop, *row, False)
    optimizer.share_memory()
    assert state_is_shared(optimizer)
    assert all(optimizer.state[param]["step"].item() == 0 for param in params_of(optimizer))
    step_on_noise(optimizer, 0)
    step_on_noise(twin, 0)
    for one, other in zip(params_of(optimizer), params_of(twin), strict=True):
        assert optimizer.state[one].keys() == twin.state[other].keys()


def test_a_parameter_without_a_gradient_gets_shared_state_too():
    params = [torch.zeros(3, requires_grad=True), torch.zeros(4, requires_grad=True), torch.zeros(5)]  # one is frozen
    params[0].grad = torch.ones(3)
    whole_numbers = torch.zeros(3, dtype=torch.int64)
    optimizer = RMSprop([*params, whole_numbers])
    optimizer.share_memory()
    assert all(optimizer.state[param]["square_avg"].is_shared() for param in params)
    assert whole_numbers not in optimizer.state


def shared_by_hand(base, step):
    """An A3C program's class: it makes the state itself, and shares it itself."""

    class SharedRMSprop(base):
        def __init__(self, params, **options):
            super().__init__(params, **options)
            for param in params_of(self):
                state = self.state[param]
                state["step"] = step.clone()
                state["square_avg"] = torch.zeros_like(param)
                if options.get("momentum"):
                    state["momentum_buffer"] = torch.zeros_like(param)
            for param in params_of(self):
                for value in self.state[param].values():
                    value.detach_().share_memory_()

    return SharedRMSprop


@pytest.mark.parametrize("base", [TORCHS, RMSprop], ids=["torch", "ours"])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}], ids=str)
@pytest.mark.parametrize("step", [torch.zeros(()), torch.zeros(1)], ids=["0-d", "of one element"])
def test_state_that_a_program_shares_itself_stays_shared(step, options, base):
    optimizer = small(shared_by_hand(base, step), torch.float32, options, True)
    twin = small(base, torch.float32, options, False)
    assert in_processes("fork", take_turns, [optimizer], 5) == [True] * 2
    for turn in range(5):
        step_on_noise(twin, turn)
    for one, other in zip(params_of(optimizer), params_of(twin), strict=True):
        assert torch.equal(one, other)
        assert torch.equal(optimizer.state[one]["square_avg"], twin.state[other]["square_avg"])
        assert optimizer.state[one]["step"].item() == 5


def test_what_one_process_loads_all_go_on_from():
    # torch puts private tensors in the state's place, and the processes part.
    rows = list(OPTIONS.values())
    optimizers, twins = ([small(RMSprop, *row, shared) for row in rows] for shared in (True, False))
    earlier = [small(RMSprop, *row, False) for row in rows]
    for optimizer, before in zip(optimizers, earlier, strict=True):
        optimizer.share_memory()
        step_on_noise(before, 99)
    saved = [optimizer.state_dict() for optimizer in earlier]
    assert in_processes("fork", load_and_take_turns, optimizers, 4, saved) == [True] * 2
    for optimizer, twin, state_dict in zip(optimizers, twins, saved, strict=True):
        twin.load_state_dict(state_dict)
        for turn in range(4):
            step_on_noise(twin, turn)
        assert_equal(optimizer, twin)


@pytest.mark.parametrize(("base", "stays_shared"), [(TORCHS, False), (RMSprop, True)], ids=["torch", "ours"])
def test_loading_in_one_process_leaves_shared_state_shared(base, stays_shared):
    optimizer = small(shared_by_hand(base, torch.zeros(())), torch.float32, {}, True)
    earlier = small(base, torch.float32, {}, False)
    step_on_noise(earlier, 99)
    found = in_processes("fork", load_and_take_turns, [optimizer], 2, [earlier.state_dict()])
    assert found == [stays_shared, True]


def odd_things_in_a_child(rank, count, barrier, optimizers):
    """Step and save what needs torch's own operations on large tensors, whose threads a child doesn't have."""
    for optimizer in optimizers:
        optimizer.step()
        optimizer.state_dict()
    return [optimizer.state[param]["step"].item() for optimizer in optimizers for param in params_of(optimizer)]


def test_a_forked_child_does_what_takes_torchs_operations(two_threads):
    gaps, whole = torch.nn.Parameter(torch.zeros(LARGE, 2)[:, 0]), torch.nn.Parameter(torch.zeros(LARGE))
    gaps.grad = torch.ones(LARGE)
    whole.grad = torch.ones(()).expand(LARGE)  # copied into the parameter's order
    through_a_copy, new = RMSprop([gaps]), RMSprop([whole], centered=True, momentum=0.9)
    through_a_copy.step()  # on torch's threads; the other's state is made in the child
    assert in_processes("fork", odd_things_in_a_child, [through_a_copy, new]) == [[2.0, 1.0]] * 2
