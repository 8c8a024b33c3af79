"""Where torch's own RMSprop fails: each test shows its failure first, and this class right on the same input."""

from copy import deepcopy

import pytest
import torch

from rmsprop.torch import RMSprop


def run(cls, param, grads, **options):
    """Return a parameter after a step with each gradient, and the state it then has."""
    param = param.clone()
    optimizer = cls([param], **options)
    for grad in grads:
        param.grad = torch.as_tensor(grad, dtype=param.dtype).expand_as(param)
        optimizer.step()
    return param, optimizer.state[param]


@pytest.mark.parametrize(("alpha", "steps"), [(0.9, 200), (0.99, 1500)])
def test_centered_survives_a_constant_gradient(alpha, steps, implementation):
    # v − m² of two nearly equal numbers comes out below zero; the variance itself cannot.
    start = torch.zeros(32)
    grads = [torch.linspace(0.1, 3.0, 32)] * steps
    theirs, _ = run(torch.optim.RMSprop, start, grads, centered=True, alpha=alpha)
    ours, state = run(RMSprop, start, grads, centered=True, alpha=alpha, **implementation)
    exact, _ = run(RMSprop, start.double(), grads, centered=True, alpha=alpha, fused=False)
    assert theirs.isnan().any()
    assert (state["grad_var"] >= 0).all()
    torch.testing.assert_close(ours.double(), exact, rtol=1e-3, atol=0)


@pytest.mark.parametrize(("alpha", "steps", "share"), [(0.9, 300, 0.47), (0.99, 3000, 0.03)])
def test_so_many_constant_gradients_end_in_nan_without_it(alpha, steps, share):
    grads = [torch.randn(4000, generator=torch.Generator().manual_seed(0))] * steps
    theirs, _ = run(torch.optim.RMSprop, torch.zeros(4000), grads, centered=True, alpha=alpha)
    ours, _ = run(RMSprop, torch.zeros(4000), grads, centered=True, alpha=alpha)
    assert theirs.isnan().double().mean().item() == pytest.approx(share, abs=0.02)
    assert ours.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_zero_gradient_in_half_precision_leaves_the_parameter_alone(dtype, implementation):
    # ε = 1e-8 is 0 in float16, and 0/0 is NaN.
    theirs, _ = run(torch.optim.RMSprop, torch.ones(3, dtype=dtype), [0.0] * 3)
    ours, _ = run(RMSprop, torch.ones(3, dtype=dtype), [0.0] * 3, **implementation)
    assert theirs.isnan().all() == (dtype == torch.float16)
    assert torch.equal(ours, torch.ones(3, dtype=dtype))


def test_a_small_gradient_in_float16_makes_a_finite_step(implementation):
    # Its square is 0 in float16, so that torch divides by 0.
    theirs, _ = run(torch.optim.RMSprop, torch.ones(3, dtype=torch.float16), [1e-5] * 3)
    ours, _ = run(RMSprop, torch.ones(3, dtype=torch.float16), [1e-5] * 3, **implementation)
    grad = torch.tensor(1e-5, dtype=torch.float16).double()
    exact, _ = run(RMSprop, torch.ones(3, dtype=torch.float64), [grad] * 3, fused=False)
    assert not theirs.isfinite().any()
    torch.testing.assert_close(ours.double(), exact, rtol=2**-10, atol=0)


def test_a_large_gradient_in_float16_does_not_stop_training(implementation):
    # Its square is infinite in float16, and every later step is 0.
    theirs, _ = run(torch.optim.RMSprop, torch.ones(3, dtype=torch.float16), [3000.0] * 2)
    ours, _ = run(RMSprop, torch.ones(3, dtype=torch.float16), [3000.0] * 2, **implementation)
    assert torch.equal(theirs, torch.ones(3, dtype=torch.float16))
    assert (ours < 0.9).all()


def test_the_average_of_squares_does_not_freeze_in_bfloat16(implementation):
    # Below 8 bits of precision, adding a thousandth changes nothing any more.
    start, grads = torch.zeros(3, dtype=torch.bfloat16), [1.0] * 5000
    _, theirs = run(torch.optim.RMSprop, start, grads, alpha=0.999, lr=1e-4)
    _, ours = run(RMSprop, start, grads, alpha=0.999, lr=1e-4, **implementation)
    right = 1 - 0.999**5000
    assert (theirs["square_avg"] <= 0.5).all()
    torch.testing.assert_close(ours["square_avg"], torch.full((3,), right), rtol=1e-5, atol=0)


def test_momentum_may_be_turned_on_later(implementation):
    def turn_on(cls, **flags):
        param = torch.zeros(3, dtype=torch.float64)
        optimizer = cls([param], **flags)
        param.grad = torch.ones(3, dtype=torch.float64)
        optimizer.step()
        optimizer.param_groups[0].update(momentum=0.9)
        optimizer.step()
        return param

    with pytest.raises(KeyError, match="momentum_buffer"):
        turn_on(torch.optim.RMSprop)
    # the second step starts with an empty buffer, so it is one without momentum
    plain, _ = run(RMSprop, torch.zeros(3, dtype=torch.float64), [1.0, 1.0], fused=False)
    torch.testing.assert_close(turn_on(RMSprop, **implementation), plain, rtol=1e-12, atol=0)


def test_centered_may_be_turned_on_later(implementation):
    def turn_on(cls, **flags):
        param = torch.zeros(3)
        param.grad = torch.ones(3)
        optimizer = cls([param], **flags)
        optimizer.step()
        optimizer.param_groups[0]["centered"] = True
        optimizer.step()
        return param

    with pytest.raises(KeyError, match="grad_avg"):
        turn_on(torch.optim.RMSprop)
    assert turn_on(RMSprop, **implementation).isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_loading_does_not_round_the_state(dtype, implementation):
    # A model that keeps float32 state beside its 16-bit parameters loses it in torch with every checkpoint.
    start, options = torch.zeros(3, dtype=dtype), {"alpha": 0.999}
    param, state = run(RMSprop, start, [0.1, 0.3], **options, **implementation)
    saved = {"state": {0: deepcopy(state)}, "param_groups": RMSprop([param], **options).state_dict()["param_groups"]}
    found = []
    for cls in (torch.optim.RMSprop, RMSprop):
        optimizer = cls([param], **options)
        optimizer.load_state_dict(saved)
        found.append(optimizer.state[param]["square_avg"])
    assert found[0].dtype == dtype
    assert not torch.equal(found[0].float(), state["square_avg"])
    assert torch.equal(found[1], state["square_avg"])


def test_without_epsilon_a_parameter_that_had_no_gradient_stays(implementation):
    theirs, _ = run(torch.optim.RMSprop, torch.ones(3), [torch.tensor([0.0, 1.0, -1.0])], eps=0.0)
    ours, _ = run(RMSprop, torch.ones(3), [torch.tensor([0.0, 1.0, -1.0])], eps=0.0, **implementation)
    assert theirs[0].isnan()
    assert ours[0] == 1.0
    torch.testing.assert_close(ours[1:], theirs[1:])


def test_a_lazily_conjugated_gradient_is_no_error(implementation):
    # as autograd itself makes it, for instance of z.conj()
    grad = torch.full((3,), 1 + 2j, dtype=torch.complex64).conj()
    param = torch.zeros(3, dtype=torch.complex64)
    param.grad = grad
    with pytest.raises(RuntimeError, match="view_as_real"):
        torch.optim.RMSprop([param]).step()
    RMSprop([param], lr=0.1, **implementation).step()
    torch.testing.assert_close(param, torch.full((3,), -1 + 1j, dtype=torch.complex64))


@pytest.mark.parametrize("name", ["lr", "alpha", "eps", "weight_decay", "momentum"])
def test_nan_is_not_taken_for_a_hyperparameter_between_steps(name, implementation):
    def spoil(cls, **flags):
        param = torch.ones(3)
        param.grad = torch.ones(3)
        optimizer = cls([param], momentum=0.5, **flags)
        optimizer.step()
        optimizer.param_groups[0][name] = float("nan")
        optimizer.step()
        return param

    if name != "momentum":  # torch then silently trains without
        assert spoil(torch.optim.RMSprop).isnan().all()
    with pytest.raises(ValueError, match="nan"):
        spoil(RMSprop, **implementation)


def outside_of(param):
    """A sparse gradient with a row that a parameter hasn't."""
    return torch.sparse_coo_tensor([[7], [0]], [1.0], param.shape, check_invariants=False)


def test_an_error_leaves_the_step_undone(implementation):
    def after_an_error(cls, **flags):
        first, second = torch.zeros(2), torch.zeros(2, 2)
        first.grad, second.grad = torch.ones(2), outside_of(second)
        optimizer = cls([{"params": [first]}, {"params": [second]}], **flags)
        with pytest.raises(RuntimeError, match="sparse"):
            optimizer.step()
        return first

    assert not torch.equal(after_an_error(torch.optim.RMSprop), torch.zeros(2))
    assert torch.equal(after_an_error(RMSprop, **implementation), torch.zeros(2))
