"""Parameters, gradients and state that share memory: what torch's for-loop computes, or a refusal."""

from contextlib import suppress
from copy import deepcopy

import pytest
import torch

from rmsprop.torch import RMSprop

TORCHS = torch.optim.RMSprop
SIZES = [7, 70_000]  # below and above what one thread takes
FLAGS = [{}, {"fused": False}]
OPTIONS = [{}, {"momentum": 0.9, "weight_decay": 0.1}, {"centered": True}]
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*tensor operations:UserWarning"),  # they may serve, and say so
    pytest.mark.filterwarnings("ignore:optimizer contains a parameter group with duplicate parameters"),
]


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def parameters(*tensors):
    return [torch.nn.Parameter(tensor) for tensor in tensors]


def own_gradients(params, optimizer, step):
    for seed, param in enumerate(params, 100 * step):
        param.grad = noise(*param.shape, seed=seed, dtype=param.dtype)


# Each returns the parameters, and what gives them gradients before a step (by default each its own).
def a_part_is_shared(size):
    memory = noise(size + size // 2)
    return parameters(memory[:size], memory[size // 2 :]), own_gradients


def a_part_is_shared_the_other_way_round(size):
    memory = noise(size + size // 2)
    return parameters(memory[size // 2 :], noise(3, seed=1), memory[:size]), own_gradients


def one_lies_within_another(size):
    memory = noise(size)
    return parameters(memory, memory[size // 3 : size // 2]), own_gradients


def all_is_shared(size):
    memory = noise(size)
    return parameters(memory, memory.view(1, -1)), own_gradients


def the_same_parameter_twice(size):
    return parameters(noise(size)) * 2, own_gradients


def interleaved_columns(size):
    matrix = noise(size, 2)
    return parameters(matrix[:, 0], matrix[:, 1]), own_gradients


def a_column_and_the_whole(size):
    matrix = noise(size, 2)
    return parameters(matrix[:, 0], matrix), own_gradients


def a_real_part_and_the_whole(size):
    numbers = noise(size, dtype=torch.complex128)
    return parameters(numbers.real, numbers), own_gradients


def neighbours(size):
    memory = noise(2 * size)
    return parameters(memory[:size], memory[size:]), own_gradients


def memory_comes_to_overlap_later(size):
    params = parameters(noise(size), noise(size, seed=1))

    def arrange(params, optimizer, step):
        own_gradients(params, optimizer, step)
        if step == 2:
            memory = torch.cat([params[0].data, params[1].data[: size // 2]])
            params[0].data, params[1].data = memory[:size], memory[size // 2 :]
        elif step == 4:
            params[1].data = params[1].data.clone()

    return params, arrange


SHARING_PARAMETERS = [
    a_part_is_shared,
    a_part_is_shared_the_other_way_round,
    one_lies_within_another,
    all_is_shared,
    the_same_parameter_twice,
    interleaved_columns,
    a_column_and_the_whole,
    a_real_part_and_the_whole,
    neighbours,
    memory_comes_to_overlap_later,
]


def gradient_in_its_own_parameter(size):
    def arrange(params, optimizer, step):
        params[0].grad = params[0].detach()

    return parameters(noise(size)), arrange


def gradient_beside_its_own_parameter(size):
    memory = noise(2 * size)

    def arrange(params, optimizer, step):
        params[0].grad = memory[size:]

    return parameters(memory[:size]), arrange


def gradient_in_the_gaps_of_its_parameter(size):
    matrix = noise(size, 2)

    def arrange(params, optimizer, step):
        params[0].grad = matrix[:, 1]

    return parameters(matrix[:, 0]), arrange


def gradient_in_a_later_parameter(size):
    def arrange(params, optimizer, step):
        own_gradients(params, optimizer, step)
        params[0].grad = params[1].detach()

    return parameters(noise(size), noise(size, seed=1)), arrange


def gradient_in_an_earlier_parameter(size):
    def arrange(params, optimizer, step):
        own_gradients(params, optimizer, step)
        params[1].grad = params[0].detach()

    return parameters(noise(size), noise(size, seed=1)), arrange


def gradient_shifted_in_a_later_parameter(size):
    def arrange(params, optimizer, step):
        own_gradients(params, optimizer, step)
        params[0].grad = params[1].detach()[1:]

    return parameters(noise(size), noise(size + 1, seed=1)), arrange


def gradient_shifted_in_an_earlier_parameter(size):
    def arrange(params, optimizer, step):
        own_gradients(params, optimizer, step)
        params[1].grad = params[0].detach()[1:]

    return parameters(noise(size + 1), noise(size, seed=1)), arrange


def gradient_between_two_other_parameters(size):
    memory = noise(2 * size)

    def arrange(params, optimizer, step):
        own_gradients(params, optimizer, step)
        params[1].grad = memory[size // 2 : size // 2 + size]

    return parameters(memory[:size], noise(size, seed=1), memory[size:]), arrange


def each_is_the_gradient_of_the_other(size):
    def arrange(params, optimizer, step):
        first, second = params
        first.grad, second.grad = second, first

    return parameters(noise(size), noise(size, seed=1)), arrange


def gradients_in_a_ring(size):
    def arrange(params, optimizer, step):
        for param, following in zip(params, params[1:] + params[:1], strict=True):
            param.grad = following.detach()

    return parameters(*(noise(size, seed=seed) for seed in range(3))), arrange


def one_gradient_for_two_parameters(size):
    def arrange(params, optimizer, step):
        params[0].grad = params[1].grad = noise(size, seed=step)

    return parameters(noise(size), noise(size, seed=1)), arrange


def gradients_that_overlap(size):
    def arrange(params, optimizer, step):
        memory = noise(size + 1, seed=step)
        params[0].grad, params[1].grad = memory[:-1], memory[1:]

    return parameters(noise(size), noise(size, seed=1)), arrange


def gradient_of_one_number(size):
    def arrange(params, optimizer, step):
        params[0].grad = noise(1, seed=step).expand(size)

    return parameters(noise(size)), arrange


def gradient_moves_into_a_parameter_later(size):
    def arrange(params, optimizer, step):
        own_gradients(params, optimizer, step)
        if step in (2, 3):
            params[step - 2].grad = params[3 - step].detach()

    return parameters(noise(size), noise(size, seed=1)), arrange


def gradient_in_the_state_of_a_later_parameter(size):
    def arrange(params, optimizer, step):
        own_gradients(params, optimizer, step)
        if step > 1:
            params[0].grad = optimizer.state[params[1]]["square_avg"]

    return parameters(noise(size), noise(size, seed=1)), arrange


def gradient_in_the_state_of_an_earlier_parameter(size):
    def arrange(params, optimizer, step):
        own_gradients(params, optimizer, step)
        if step > 1:
            params[1].grad = optimizer.state[params[0]]["square_avg"]

    return parameters(noise(size), noise(size, seed=1)), arrange


def state_of_two_parameters(size):
    def arrange(params, optimizer, step):
        own_gradients(params, optimizer, step)
        if step == 2:
            optimizer.state[params[1]]["square_avg"] = optimizer.state[params[0]]["square_avg"]

    return parameters(noise(size), noise(size, seed=1)), arrange


def state_of_two_parameters_in_part(size):
    def arrange(params, optimizer, step):
        own_gradients(params, optimizer, step)
        if step == 2:
            memory = noise(size + 1, seed=9).square()
            for start, param in enumerate(params):
                optimizer.state[param]["square_avg"] = memory[start : start + size]

    return parameters(noise(size), noise(size, seed=1)), arrange


SHARING_GRADIENTS = [
    gradient_in_its_own_parameter,
    gradient_beside_its_own_parameter,
    gradient_in_the_gaps_of_its_parameter,
    gradient_in_a_later_parameter,
    gradient_in_an_earlier_parameter,
    gradient_shifted_in_a_later_parameter,
    gradient_shifted_in_an_earlier_parameter,
    gradient_between_two_other_parameters,
    each_is_the_gradient_of_the_other,
    gradients_in_a_ring,
    one_gradient_for_two_parameters,
    gradients_that_overlap,
    gradient_of_one_number,
    gradient_moves_into_a_parameter_later,
]
SHARING_STATE = [
    gradient_in_the_state_of_a_later_parameter,
    gradient_in_the_state_of_an_earlier_parameter,
    state_of_two_parameters,
    state_of_two_parameters_in_part,
]


def trained(cls, case, size, steps=4, **options):
    params, arrange = case(size)
    optimizer = cls(params, lr=0.01, **options)
    for step in range(1, steps + 1):
        arrange(params, optimizer, step)
        optimizer.step()
    return [param.detach() for param in params], [optimizer.state[param]["step"].item() for param in params]


# A wrong order changes digits that count. A right one agrees to the roundings of four steps, times what a cancellation
# in g + λθ enlarges them by: for the smallest of 70,000, by some 1e5.
CLOSE = {"rtol": 1e-10, "atol": 1e-10}


@pytest.mark.parametrize("flags", FLAGS, ids=["default", "composite"])
@pytest.mark.parametrize(("size", "options"), [(70_000, OPTIONS[1]), *((7, options) for options in OPTIONS)], ids=str)
@pytest.mark.parametrize("case", [*SHARING_PARAMETERS, *SHARING_GRADIENTS], ids=lambda case: case.__name__)
def test_the_result_is_that_of_torchs_loop(case, size, options, flags):
    found, expected = (
        trained(RMSprop, case, size, **options, **flags),
        trained(TORCHS, case, size, **options, foreach=False),
    )
    torch.testing.assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize("flags", FLAGS, ids=["default", "composite"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("options", OPTIONS[:2], ids=str)
@pytest.mark.parametrize("case", SHARING_STATE, ids=lambda case: case.__name__)
def test_shared_state_gives_the_result_of_torchs_loop(case, options, size, flags):
    found, expected = (
        trained(RMSprop, case, size, **options, **flags),
        trained(TORCHS, case, size, **options, foreach=False),
    )
    torch.testing.assert_close(found, expected, **CLOSE)


def shifted_by(elements):
    def gradient_shifted(size):
        memory = noise(size + abs(elements))
        place = slice(0, size) if elements > 0 else slice(-elements, None)
        its = slice(elements, None) if elements > 0 else slice(0, size)

        def arrange(params, optimizer, step):
            params[0].grad = memory[its]

        return parameters(memory[place]), arrange

    return gradient_shifted


@pytest.mark.parametrize("flags", FLAGS, ids=["default", "composite"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("elements", [1, -1, 3])
def test_a_gradient_that_is_in_part_its_parameter_is_refused(elements, size, flags):
    with pytest.raises(RuntimeError, match="memory"):
        trained(TORCHS, shifted_by(elements), size, foreach=False)
    params, arrange = shifted_by(elements)(size)
    other = torch.nn.Parameter(noise(size, seed=2))
    other.grad = torch.ones_like(other)
    optimizer = RMSprop([other, *params], **flags)
    arrange(params, optimizer, 1)
    before = deepcopy((other, params))
    with pytest.raises(RuntimeError, match=r"parameter 1.*memory"):
        optimizer.step()
    torch.testing.assert_close((other, params), before, rtol=0, atol=0)
    assert not any(optimizer.state.values())


@pytest.mark.parametrize("flags", FLAGS, ids=["default", "composite"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("options", [{"momentum": 0.9}, {"weight_decay": 0.1}, {"maximize": True}], ids=str)
def test_where_torch_copies_such_a_gradient_first_the_result_is_its(options, size, flags):
    # A refusal would do too: nobody means this.
    expected = trained(TORCHS, shifted_by(1), size, **options, foreach=False)
    with suppress(RuntimeError):
        found = trained(RMSprop, shifted_by(1), size, **options, **flags)
        torch.testing.assert_close(found, expected, **CLOSE)


@pytest.mark.parametrize("flags", FLAGS, ids=["default", "composite"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["square_avg", "momentum_buffer"])
def test_a_gradient_in_its_own_state_is_refused(name, size, flags):
    # torch takes it, and squares what it has just decayed: no gradient of anything.
    params = parameters(noise(size), noise(size, seed=1))
    optimizer = RMSprop(params, momentum=0.9, **flags)
    own_gradients(params, optimizer, 1)
    optimizer.step()
    params[1].grad = optimizer.state[params[1]][name]
    before = deepcopy((params, optimizer.state_dict()["state"]))
    with pytest.raises(RuntimeError, match=r"parameter 1.*memory"):
        optimizer.step()
    torch.testing.assert_close((params, optimizer.state_dict()["state"]), before, rtol=0, atol=0)
