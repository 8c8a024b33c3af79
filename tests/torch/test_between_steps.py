"""What code around an optimizer does between two steps, and what an interruption leaves: found by attacking it."""

from collections import defaultdict
from copy import deepcopy

import pytest
import torch

from rmsprop.torch import RMSprop, plan
from rmsprop.torch.optimizer import RMSprop as Class
from rmsprop.torch.state import variance


def pair(shapes=((4, 4), (4, 4)), **options):
    """Equal parameters for torch's for-loop and for ours, and their optimizers."""
    values = [torch.randn(shape) for shape in shapes]
    theirs, ours = ([value.clone().requires_grad_() for value in values] for _ in range(2))
    return torch.optim.RMSprop(theirs, lr=0.1, foreach=False, **options), RMSprop(ours, lr=0.1, **options)


def params_of(optimizer):
    return [param for group in optimizer.param_groups for param in group["params"]]


def step(optimizers, seed=0, change=None):
    """Take a step with each on equal gradients, which `change` may replace."""
    for optimizer in optimizers:
        random = torch.Generator().manual_seed(seed)
        for param in params_of(optimizer):
            param.grad = torch.randn(param.shape, generator=random, dtype=param.dtype)
        if change:
            change(params_of(optimizer))
        optimizer.step()


def assert_equal(optimizers):
    theirs, ours = map(params_of, optimizers)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.fixture
def plans(monkeypatch):
    """The plans made since the test began."""
    made, initialise = [], plan.Plan.__init__
    monkeypatch.setattr(plan.Plan, "__init__", lambda *args, **kwargs: made.append(1) or initialise(*args, **kwargs))
    return made


def transposed(of):
    def change(params):
        params[1].grad = of(params).detach().t()

    return change


def test_a_gradient_that_comes_to_lie_in_another_parameter_is_read_in_turn():
    optimizers = pair()
    step(optimizers)
    step(optimizers, 1, transposed(lambda params: params[0]))
    assert_equal(optimizers)


@pytest.mark.parametrize("earlier", [0, 1])
def test_a_gradient_that_is_its_own_parameter_transposed_is_refused_whenever_it_comes(earlier):
    _, ours = pair()
    for seed in range(earlier):
        step([ours], seed)
    with pytest.raises(RuntimeError, match="the gradient of parameter 1 lies in the memory that its update writes to"):
        step([ours], 5, transposed(lambda params: params[1]))


def test_gradients_of_tensor_operations_are_looked_at_beside_parameters_that_share_memory():
    whole = torch.randn(12)
    results = []
    for cls, flags in ((torch.optim.RMSprop, {"foreach": False}), (RMSprop, {"fused": False})):
        memory = whole.clone()
        params = [memory[:8], memory[4:], torch.ones(5), torch.ones(5)]
        optimizer = cls(params, lr=0.1, **flags)
        step([optimizer])
        step([optimizer], 1, lambda params: setattr(params[3], "grad", params[2]))
        step([optimizer], 2, lambda params: setattr(params[2], "grad", params[3]))
        results.append([param.clone() for param in params])
    torch.testing.assert_close(*results)


def test_a_square_avg_that_is_assigned_counts():
    optimizers = pair(centered=True)
    step(optimizers)
    for optimizer in optimizers:
        for held in optimizer.state.values():
            held["square_avg"] = torch.full((4, 4), 100.0)
    step(optimizers, 1)
    assert_equal(optimizers)


def test_what_fails_while_the_variance_is_split_loses_nothing(monkeypatch):
    _, ours = pair()
    for seed in range(3):
        step([ours], seed)
    expected = [held["square_avg"].clone() for held in ours.state.values()]
    ours.param_groups[0]["centered"] = True
    with monkeypatch.context() as patch:
        patch.setattr(variance, "_difference", lambda *_: (_ for _ in ()).throw(MemoryError))
        with pytest.raises(MemoryError):
            step([ours], 4)
    torch.testing.assert_close([held["square_avg"] for held in ours.state.values()], expected, rtol=0, atol=0)


def test_an_interrupted_load_leaves_everything_as_it_was(monkeypatch):
    _, ours = pair()
    step([ours])
    saved, before = deepcopy(ours.state_dict()), deepcopy(ours.state_dict())
    step([ours], 1)
    current = deepcopy(ours.state_dict())
    with monkeypatch.context() as patch:
        patch.setattr("rmsprop.torch.state_dict._adopted", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            ours.load_state_dict(saved)
    torch.testing.assert_close(ours.state_dict(), current, rtol=0, atol=0)
    ours.load_state_dict(saved)
    torch.testing.assert_close(ours.state_dict(), before, rtol=0, atol=0)


def test_a_copied_group_keeps_its_choices():
    first, second = torch.zeros(2), torch.zeros(2)
    options = {"dialect": "tensorflow1", "lr": 0.1}
    optimizer = RMSprop([{"params": [first], "eps_inside_sqrt": False}], **options)
    optimizer.add_param_group({**optimizer.param_groups[0], "params": [second]})
    again = RMSprop([dict(group) for group in optimizer.param_groups], **options)
    for group in (*optimizer.param_groups, *again.param_groups):
        assert (group["eps_inside_sqrt"], group["initial_square_avg"]) == (False, 1.0)


@pytest.mark.parametrize("key", ["rho", "betas", "lr_decay", "lambda"])
def test_keys_of_the_user_in_groups_and_states_are_loaded(key):
    _, ours = pair()
    step([ours])
    ours.param_groups[0][key] = 0.05
    ours.state[params_of(ours)[0]]["prev"] = torch.zeros(1)
    ours.load_state_dict(deepcopy(ours.state_dict()))
    assert ours.param_groups[0][key] == 0.05
    step([ours], 1)


def test_groups_may_be_replaced_by_plain_dicts():
    optimizers = pair()
    step(optimizers)
    for optimizer in optimizers:
        optimizer.param_groups = [dict(group) for group in optimizer.param_groups]
    assert set(optimizers[1].paths()) == {"0", "1"}
    assert not optimizers[1]._step_supports_amp_scaling
    step(optimizers, 1)
    for optimizer in optimizers:
        optimizer.param_groups[0]["alpha"] = 0.9
    step(optimizers, 2)
    assert_equal(optimizers)


def test_state_may_change_hands():
    optimizers = pair()
    step(optimizers)
    for optimizer in optimizers:
        first, second = params_of(optimizer)
        swapped = {second: optimizer.state[first], first: optimizer.state[second]}
        optimizer.state = defaultdict(dict, swapped)
    step(optimizers, 1)
    assert_equal(optimizers)


def test_a_parameter_that_becomes_a_lazy_conjugate_is_seen():
    values = torch.randn(3, dtype=torch.complex64)
    plain, lazy = RMSprop([values.clone()], lr=0.1), RMSprop([values.clone()], lr=0.1)
    step([plain, lazy])
    plain.param_groups[0]["params"][0].data = plain.param_groups[0]["params"][0].data.conj().resolve_conj()
    lazy.param_groups[0]["params"][0].data = lazy.param_groups[0]["params"][0].data.conj()
    step([plain, lazy], 1)
    torch.testing.assert_close(*[params_of(each)[0].resolve_conj() for each in (plain, lazy)], rtol=0, atol=0)


@pytest.mark.parametrize("which", [slice(None), slice(1)], ids=["all", "one"])
def test_weights_that_are_swapped_make_no_new_plan(which, plans):
    # as SAM, averaged weights and the benchmarks do
    optimizers = pair(shapes=((3,),) * 20)
    for seed in range(4):
        step(optimizers, seed)
        for optimizer in optimizers:
            for param in params_of(optimizer)[which]:
                param.data = param.data.clone()
    assert_equal(optimizers)
    assert len(plans) == 1


def test_swapped_weights_that_come_to_share_memory_are_seen(plans):
    optimizers = pair()
    step(optimizers)
    for optimizer in optimizers:
        first, second = params_of(optimizer)
        second.data = first.data
    step(optimizers, 1)
    assert_equal(optimizers)
    assert len(plans) == 2


def test_what_a_user_keeps_beside_the_state_makes_no_new_plan(plans):
    _, ours = pair()
    for seed in range(4):
        ours.state["iteration"] = seed
        for param in params_of(ours):
            if param in ours.state:
                ours.state[param]["norm"] = torch.ones(1)
        step([ours], seed)
    assert len(plans) <= 2


def test_a_meta_parameter_steps_again_and_again():
    param = torch.zeros(3, device="meta", requires_grad=True)
    optimizer = RMSprop([param], centered=True)
    for _ in range(3):
        param.grad = torch.zeros(3, device="meta")
        optimizer.step()


def test_a_subclass_with_a_constructor_of_its_own_can_be_copied():
    class Own(Class):
        def __init__(self, params):
            torch.optim.Optimizer.__init__(self, params, torch.optim.RMSprop([torch.zeros(1)]).defaults)

    optimizer = Own([torch.zeros(2)])
    step([optimizer, deepcopy(optimizer)])


def test_a_step_inside_a_step_is_refused():
    _, ours = pair()
    stepper = ours._stepper
    stepper._is_stepping = True
    with pytest.raises(RuntimeError, match="was interrupted by another one"):
        step([ours])
    stepper._is_stepping = False
    step([ours])


@pytest.mark.parametrize("fused", [None, False])
def test_columns_of_a_matrix_share_no_element_and_are_updated_at_once(fused):
    results = []
    for make in (lambda p: torch.optim.RMSprop(p, lr=0.1, foreach=False), lambda p: RMSprop(p, lr=0.1, fused=fused)):
        matrix = torch.ones(50, 40)
        optimizer = make(list(matrix.unbind(1)))
        for seed in range(3):
            step([optimizer], seed)
        results.append(matrix)
    torch.testing.assert_close(*results)
    assert len(optimizer._stepper.plan.sequence) == 0


def test_columns_that_share_elements_are_still_updated_in_turn():
    results = []
    for make in (lambda p: torch.optim.RMSprop(p, lr=0.1, foreach=False), lambda p: RMSprop(p, lr=0.1)):
        matrix = torch.ones(50, 40)
        optimizer = make([*matrix.unbind(1), matrix[::2, 3]])
        for seed in range(3):
            step([optimizer], seed)
        results.append(matrix)
    torch.testing.assert_close(*results)
    assert len(optimizer._stepper.plan.sequence) == 2
