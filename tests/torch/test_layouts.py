"""Parameters and gradients in every order of memory: the same numbers as if all were contiguous."""

import pytest
import torch

from rmsprop.torch import RMSprop

OPTIONS = {"centered": True, "momentum": 0.9, "weight_decay": 0.1}


def views_of_one_storage():
    storage = torch.randn(64)
    return [storage[:10], storage[10:30].view(4, 5), storage[30:64].view(2, 17).T]


DENSE = {
    "contiguous": lambda: [torch.randn(4, 6)],
    "transposed": lambda: [torch.randn(6, 4).T],
    "permuted": lambda: [torch.randn(2, 3, 4, 5).permute(3, 0, 2, 1)],
    "channels last": lambda: [torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)],
    "channels last 3d": lambda: [torch.randn(2, 3, 4, 5, 2).contiguous(memory_format=torch.channels_last_3d)],
    "zero dimensions": lambda: [torch.randn(())],
    "one element": lambda: [torch.randn(1), torch.randn(1, 1, 1)],
    "one element with odd strides": lambda: [torch.randn(9).as_strided((1, 1), (7, 3))],
    "dimensions of one": lambda: [torch.randn(5, 1, 3).transpose(0, 1), torch.randn(3, 1).as_strided((3, 1), (1, 9))],
    "empty": lambda: [torch.randn(0), torch.randn(3, 0, 2)],
    "offset": lambda: [torch.randn(100)[3:50]],
    "views of one storage": views_of_one_storage,
    "mixed": lambda: [torch.randn(0), torch.randn(4, 6).T, torch.randn(()), torch.randn(33)],
}
GAPS = {
    "column": lambda: [torch.randn(5, 4)[:, 1]],
    "every other": lambda: [torch.randn(20)[::2]],
    "block": lambda: [torch.randn(8, 8)[2:5, 3:6]],
    "real part": lambda: [torch.randn(6, dtype=torch.complex64).real],
    "beside dense ones": lambda: [torch.randn(5, 4)[:, 1], torch.randn(7), torch.randn(3, 2).T],
}


def reversed_order(grad):
    """The same numbers, with the memory order of the dimensions turned around."""
    back = tuple(reversed(range(grad.dim())))
    return grad.permute(back).contiguous().permute(back)


def with_gaps(grad):
    return torch.stack([grad, torch.full_like(grad, torch.nan)], dim=-1)[..., 0]


GRADS = {"alike": torch.clone, "reversed": reversed_order, "gaps": with_gaps, "contiguous": torch.Tensor.contiguous}


def run(params, flags, arrange=torch.clone, steps=3):
    """Train with gradients that `arrange` lays out; return what became of parameters and state, contiguous."""
    optimizer = RMSprop([p.requires_grad_() for p in params], **OPTIONS, **flags)
    random = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for param in params:
            param.grad = arrange(torch.empty_like(param).copy_(torch.randn(param.shape, generator=random)))
        optimizer.step()
    states = [
        {name: v.clone(memory_format=torch.contiguous_format) for name, v in optimizer.state[p].items()} for p in params
    ]
    return [p.detach().clone(memory_format=torch.contiguous_format) for p in params], states


@pytest.mark.parametrize("arrange", GRADS.values(), ids=GRADS)
@pytest.mark.parametrize("make", DENSE.values(), ids=DENSE)
def test_dense_parameters_in_any_order(make, arrange, implementation):
    params = make()
    copies = [p.clone(memory_format=torch.contiguous_format) for p in params]
    found = run(params, implementation, arrange)
    torch.testing.assert_close(found, run(copies, implementation), rtol=0, atol=0)


@pytest.mark.parametrize("arrange", GRADS.values(), ids=GRADS)
@pytest.mark.parametrize("make", GAPS.values(), ids=GAPS)
def test_parameters_with_gaps_are_updated_and_the_gaps_are_not(make, arrange):
    params = make()
    copies = [p.clone(memory_format=torch.contiguous_format) for p in params]
    outside = [p.untyped_storage().tolist() for p in params]
    found = run(params, {}, arrange)
    # Vectors and the tails of vectors are rounded differently by torch's √, on the path that takes gaps.
    torch.testing.assert_close(found, run(copies, {}), rtol=1e-6, atol=1e-6)
    for param, before in zip(params, outside, strict=True):
        inside = torch.zeros(param.untyped_storage().nbytes(), dtype=torch.uint8)
        width = param.element_size()
        flat = torch.arange(inside.numel() // width).as_strided(param.shape, param.stride(), param.storage_offset())
        inside.view(-1, width)[flat.reshape(-1)] = 1
        after = torch.tensor(param.untyped_storage().tolist())
        assert torch.equal(after[inside == 0], torch.tensor(before)[inside == 0])


@pytest.mark.parametrize("make", DENSE.values(), ids=DENSE)
def test_state_has_the_memory_order_of_its_parameter(make, implementation):
    params = [p.requires_grad_() for p in make()]
    optimizer = RMSprop(params, **OPTIONS, **implementation)
    for param in params:
        param.grad = torch.ones_like(param)
    optimizer.step()
    for param in params:
        for name in ("grad_avg", "grad_var", "momentum_buffer"):
            assert optimizer.state[param][name].stride() == torch.empty_like(param).stride()


def test_elements_that_share_memory_are_refused_before_anything_changes(implementation):
    shared = torch.zeros(1).expand(3)
    shared.grad, other = torch.ones(3), torch.zeros(2, requires_grad=True)
    other.grad = torch.ones(2)
    optimizer = RMSprop([other, shared], fused=None if implementation["fused"] else False)
    with pytest.raises(RuntimeError, match="parameter 1 has elements that share their memory"):
        optimizer.step()
    assert torch.equal(other, torch.zeros(2))
    assert dict(optimizer.state) == {}


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool])
def test_a_parameter_that_is_no_number_with_a_fraction_is_refused(dtype):
    param = torch.zeros(3, dtype=dtype)
    param.grad = torch.ones(3, dtype=dtype)
    with pytest.raises(RuntimeError, match=f"parameter 0 has dtype {dtype}"):
        RMSprop([param]).step()


@pytest.mark.parametrize("flags", [{}, {"fused": False}], ids=["kernel", "composite"])
def test_a_conjugated_parameter_is_trained_as_what_it_stands_for(flags):
    stored = torch.tensor([1 + 2j, 3 - 1j])
    lazy, plain = stored.conj(), stored.conj().resolve_conj()
    assert lazy.is_conj()
    found, expected = run([lazy], flags), run([plain], flags)
    torch.testing.assert_close(found[0][0].resolve_conj(), expected[0][0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("flags", [{}, {"fused": False}], ids=["kernel", "composite"])
def test_a_lazily_negated_parameter_is_trained_as_what_it_stands_for(flags):
    imaginary = torch.tensor([2 + 1j]).conj().imag
    assert imaginary.is_neg()
    plain = imaginary.resolve_neg().clone()
    found, expected = run([imaginary], flags), run([plain], flags)
    torch.testing.assert_close(found[0], expected[0], rtol=1e-6, atol=1e-6)
