"""Gradients of every kind are read for what they stand for, and never written to."""

import pytest
import torch

from rmsprop.torch import RMSprop


class Subclass(torch.Tensor):
    """A tensor subclass that changes nothing."""


def lazily_negated(grad):
    """The same numbers, as torch makes them for the imaginary part of a conjugate: with the minus still to be done."""
    return torch.complex(torch.zeros_like(grad), -grad).conj().imag


KINDS = {
    "plain": torch.clone,
    "lazily negated": lazily_negated,
    "of another layout": lambda grad: torch.stack([grad, grad], -1)[..., 0],
    "a subclass": lambda grad: grad.clone().as_subclass(Subclass),
    "a parameter": lambda grad: torch.nn.Parameter(grad.clone()),
    "part of a graph": lambda grad: grad.clone().requires_grad_() * 1.0,
    "made in inference mode": lambda grad: torch.inference_mode()(torch.clone)(grad),
}


def step_with(grads, dtype=torch.float32, options=None, **flags):
    """Return what parameters and state become when `grads` come one after the other."""
    param = torch.ones(grads[0].shape, dtype=dtype, requires_grad=True)
    optimizer = RMSprop([param], lr=0.1, momentum=0.9, **(options or {}), **flags)
    for grad in grads:
        param.grad = grad
        optimizer.step()
    return param.detach(), optimizer.state[param]


@pytest.mark.parametrize("shape", [(6,), (2, 3), (1,), ()], ids=str)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("flags", [{}, {"fused": False}], ids=["kernel", "composite"])
def test_a_gradient_is_what_it_stands_for(kind, shape, flags):
    # Of another kind from the start, or from the second step on, when the tables of the kernel stand already.
    plain = [torch.randn(shape) for _ in range(3)]
    expected = step_with(plain, **flags)
    for kinds in ((kind, kind, kind), (torch.clone, kind, torch.clone)):
        found = step_with([make(grad) for make, grad in zip(kinds, plain, strict=True)], **flags)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("shape", [(6,), (2, 3), (1,), ()], ids=str)
@pytest.mark.parametrize("flags", [{}, {"fused": False}], ids=["kernel", "composite"])
def test_a_lazily_conjugated_gradient_is_what_it_stands_for(shape, flags):
    plain = [torch.randn(shape, dtype=torch.complex64) for _ in range(3)]
    lazy = [grad.conj().resolve_conj().conj() for grad in plain]
    assert all(grad.is_conj() for grad in lazy)
    expected = step_with(plain, torch.complex64, **flags)
    for grads in (lazy, [plain[0], lazy[1], plain[2]]):
        torch.testing.assert_close(step_with(grads, torch.complex64, **flags), expected, rtol=1e-6, atol=1e-6)


def test_autograd_itself_makes_lazy_conjugates(implementation):
    param = torch.zeros(3, dtype=torch.complex64, requires_grad=True)
    param.conj().backward(torch.full((3,), 1 + 2j, dtype=torch.complex64))
    assert param.grad.is_conj()
    RMSprop([param], lr=0.1, **implementation).step()
    torch.testing.assert_close(param.detach(), torch.full((3,), -1 + 1j))


@pytest.mark.parametrize("flags", [{}, {"fused": False}], ids=["kernel", "composite"])
def test_an_expanded_gradient_is_read_everywhere(flags):
    grads = [torch.randn(1).expand(5, 4) for _ in range(3)]
    found, expected = step_with(grads, **flags), step_with([grad.clone() for grad in grads], **flags)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("planned", [False, True], ids=["from the start", "later"])
@pytest.mark.parametrize("flags", [{}, {"fused": False}], ids=["kernel", "composite"])
def test_a_gradient_of_higher_precision_is_not_rounded(flags, planned, transposed):
    param = torch.zeros(2, 2, dtype=torch.float16, requires_grad=True)
    param.grad_dtype = None  # any
    optimizer = RMSprop([param], **flags)
    if planned:
        param.grad = torch.zeros(2, 2, dtype=torch.float16)
        optimizer.step()
    tiny = torch.full((2, 2), 1e-9)  # float16 has nothing between 0 and 6e-8
    param.grad = tiny.T if transposed else tiny
    optimizer.step()
    torch.testing.assert_close(optimizer.state[param]["square_avg"], torch.full((2, 2), 1e-20), rtol=1e-5, atol=0)
    assert (param < 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64])
@pytest.mark.parametrize("options", [{}, {"maximize": True}, {"weight_decay": 0.1, "centered": True}], ids=str)
@pytest.mark.parametrize("flags", [{}, {"fused": False}, {"fused": False, "differentiable": True}], ids=str)
def test_gradients_are_never_written_to(flags, options, dtype):
    params = [torch.randn(4, 3, dtype=dtype).clone() for _ in range(3)]
    grads = [torch.randn(4, 3, dtype=dtype), torch.randn(3, 4, dtype=dtype).T, torch.randn(1, dtype=dtype).expand(4, 3)]
    before, versions = [grad.clone() for grad in grads], [grad._version for grad in grads]
    optimizer = RMSprop(params, **options, **flags)
    optimizer.grad_scale, optimizer.found_inf = torch.tensor(4.0), torch.tensor(0.0)
    for param, grad in zip(params, grads, strict=True):
        param.grad = grad
    optimizer.step()
    assert all(param.grad is grad for param, grad in zip(params, grads, strict=True))
    assert all(map(torch.equal, grads, before))
    assert [grad._version for grad in grads] == versions


def test_a_gradient_in_memory_that_cannot_be_written_is_read(implementation):
    numpy = pytest.importorskip("numpy")
    frozen = numpy.ones(5, numpy.float32)
    grad = torch.from_numpy(frozen)
    frozen.flags.writeable = False
    param = torch.zeros(5, requires_grad=True)
    param.grad = grad
    RMSprop([param], lr=0.1, **implementation).step()
    torch.testing.assert_close(param.detach(), torch.full((5,), -1.0))


def test_a_gradient_that_turns_out_unusable_is_refused_before_anything_changes(implementation):
    first, second = (torch.zeros(2, 2, requires_grad=True) for _ in range(2))
    optimizer = RMSprop([first, second], **implementation)
    first.grad, second.grad = torch.ones(2, 2), torch.ones(2, 2)
    optimizer.step()
    before = first.detach().clone()
    second.grad = None
    second.grad = torch.sparse_coo_tensor([[2], [0]], [1.0], (2, 2), check_invariants=False)
    with pytest.raises(RuntimeError, match="sparse gradient of parameter 1 has index 2"):
        optimizer.step()
    assert torch.equal(first, before)
    assert optimizer.state[first]["step"] == 1


@pytest.mark.parametrize("planned", [False, True], ids=["from the start", "later"])
def test_a_gradient_left_over_from_another_shape_is_refused(planned):
    param = torch.zeros(1, requires_grad=True)
    param.grad = torch.ones(1)
    optimizer = RMSprop([param])
    if planned:
        optimizer.step()
    param.data = torch.zeros(3)
    with pytest.raises(RuntimeError, match=r"parameter 0 has shape \(3,\), but its gradient \(1,\)"):
        optimizer.step()
    assert torch.equal(param, torch.zeros(3))
