"""Tensors that are not plain and dense: what serves them is said, and the numbers are those of plain ones."""

import re
import warnings

import pytest
import torch
from torch.utils import _pytree as pytree

from rmsprop import native
from rmsprop.torch import RMSprop

TORCHS = torch.optim.RMSprop
OPTIONS = {"lr": 0.1, "momentum": 0.9, "centered": True}
KERNEL = f"kernel ({native.instruction_set()})"


class Inheriting(torch.nn.Parameter):
    """As geometry libraries have it: a parameter that knows more, and computes like any other."""


class NamedTensor(torch.Tensor):
    """A tensor whose results are of its class too."""


class Watched(torch.nn.Parameter):
    """Sees every operation on it, and does it."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))


class Wrapper(torch.Tensor):
    """Has no memory: its numbers are in another tensor, as quantised weights have them."""

    @staticmethod
    def __new__(cls, inner):
        return torch.Tensor._make_wrapper_subclass(cls, inner.shape, dtype=inner.dtype)

    def __init__(self, inner):
        self.inner = inner

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        wrappers = {}

        def unwrapped(value):
            if not isinstance(value, cls):
                return value
            wrappers[id(value.inner)] = value
            return value.inner

        def wrapped(value):
            if not isinstance(value, torch.Tensor):
                return value
            return wrappers[id(value)] if id(value) in wrappers else cls(value)

        args, kwargs = pytree.tree_map(unwrapped, (args, kwargs or {}))
        return pytree.tree_map(wrapped, func(*args, **kwargs))


def numbers(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def trained(params, gradient_class=None, steps=3, cls=RMSprop, **flags):
    optimizer = cls(params, **{**OPTIONS, **flags})
    for step in range(steps):
        for param in params:
            grad = numbers(*param.shape, seed=step, dtype=param.dtype)
            param.grad = grad if gradient_class is None else gradient_class(grad)
        optimizer.step()
    return optimizer


def plain_numbers(tensor):
    inner = tensor.inner if isinstance(tensor, Wrapper) else tensor.detach().as_subclass(torch.Tensor)
    return inner.detach().clone(memory_format=torch.contiguous_format)


SUBCLASSES = {
    "Parameter": (torch.nn.Parameter, None),
    "inherits from Parameter": (Inheriting, None),
    "inherits from Parameter, and so does the gradient": (
        Inheriting,
        lambda grad: Inheriting(grad, requires_grad=False),
    ),
    "inherits from Tensor": (lambda values: values.as_subclass(NamedTensor).requires_grad_(), None),
    "inherits from Tensor, and so does the gradient": (
        lambda values: values.as_subclass(NamedTensor).requires_grad_(),
        lambda grad: grad.as_subclass(NamedTensor),
    ),
    "has its own __torch_function__": (Watched, None),
}


@pytest.mark.parametrize("flags", [{}, {"fused": True}], ids=["default", "fused"])
@pytest.mark.parametrize(("make", "gradient_class"), SUBCLASSES.values(), ids=SUBCLASSES)
def test_a_subclass_that_is_a_plain_tensor_underneath_is_the_kernels(make, gradient_class, flags):
    odd, plain = make(numbers(1003)), torch.nn.Parameter(numbers(1003))
    optimizer, expected = trained([odd], gradient_class, **flags), trained([plain])
    assert torch.equal(plain_numbers(odd), plain.detach())
    torch.testing.assert_close(
        [plain_numbers(value) for value in optimizer.state[odd].values()],
        [value.clone() for value in expected.state[plain].values()],
        rtol=0,
        atol=0,
    )
    assert optimizer.paths() == {"0": KERNEL}


@pytest.mark.parametrize("count", [1, 3])
def test_a_wrapper_without_memory_is_served_by_tensor_operations_which_is_said_once(count):
    odd = [torch.nn.Parameter(Wrapper(numbers(5, seed=i))) for i in range(count)]
    model = {"embedding": torch.nn.Parameter(numbers(7)), **{f"quantised.{i}": param for i, param in enumerate(odd)}}
    optimizer = RMSprop(model.items(), **OPTIONS)
    torchs = [torch.nn.Parameter(numbers(5, seed=i)) for i in range(count)]
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for step in range(3):
            for param in model.values():
                grad = numbers(*param.shape, seed=step)
                param.grad = Wrapper(grad) if isinstance(param, Wrapper) else grad
            optimizer.step()
    trained(torchs, cls=TORCHS)
    torch.testing.assert_close([plain_numbers(param) for param in odd], [param.detach() for param in torchs])
    (warning,) = seen
    assert warning.category is UserWarning
    assert re.search(r"quantised\.0.*Wrapper", str(warning.message))
    paths = optimizer.paths()
    assert paths.pop("embedding") == KERNEL
    assert paths.keys() == {f"quantised.{i}" for i in range(count)}
    assert all(re.match("tensor operations: .*Wrapper", path) for path in paths.values())


def test_a_wrapper_without_memory_cannot_be_fused():
    param = torch.nn.Parameter(Wrapper(numbers(5)))
    with pytest.raises(RuntimeError, match=r"fused=True.*parameter 0.*Wrapper"):
        trained([param], Wrapper, fused=True)
    assert torch.equal(param.inner, numbers(5))


@pytest.mark.parametrize("flags", [{"fused": False}, {"foreach": False}, {"differentiable": True}], ids=str)
def test_who_asks_for_tensor_operations_gets_them_without_a_word(flags):
    param = numbers(5)
    optimizer = trained([param], **flags)  # a warning would be an error
    (path,) = optimizer.paths().values()
    assert re.match(f"tensor operations: .*{next(iter(flags))}", path)


def with_a_column(rows, dtype=torch.float32):
    return numbers(rows, 4, dtype=dtype)[:, 1]


ODDLY_PLACED = {
    "a column": lambda: [with_a_column(5)],
    "a long column": lambda: [with_a_column(70_001)],
    "a column in bfloat16": lambda: [with_a_column(37, torch.bfloat16)],
    "a column in float64": lambda: [with_a_column(37, torch.float64)],
    "a column of complex numbers": lambda: [with_a_column(37, torch.complex64)],
    "every other": lambda: [numbers(20)[::2]],
    "a block": lambda: [numbers(8, 8)[2:5, 3:6]],
    "rows with padding": lambda: [numbers(300, 40)[:, :33]],
    "a block of three dimensions": lambda: [numbers(4, 6, 8)[1:3, ::2, 1:4]],
    "a transposed block": lambda: [numbers(8, 8)[2:5, 3:7].T],
    "a real part": lambda: [numbers(6, dtype=torch.complex64).real],
    "an imaginary part": lambda: [numbers(6, dtype=torch.complex64).imag],
    "diagonal": lambda: [numbers(9, 9).diagonal()],
    "channels last": lambda: [numbers(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)],
    "several among dense ones": lambda: [numbers(7), with_a_column(5), numbers(3, 2).T, numbers(8, 8)[2:5, 3:6]],
}


@pytest.mark.parametrize("flags", [{}, {"fused": True}], ids=["default", "fused"])
@pytest.mark.parametrize("make", ODDLY_PLACED.values(), ids=ODDLY_PLACED)
def test_a_parameter_anywhere_in_memory_is_the_kernels(make, flags):
    params, dense = make(), [param.clone(memory_format=torch.contiguous_format) for param in make()]
    optimizer, expected = trained(params, **flags), trained(dense)
    assert all(map(torch.equal, params, dense))
    for param, copy in zip(params, dense, strict=True):
        found, state = optimizer.state[param], expected.state[copy]
        assert all(torch.equal(found[name], state[name]) for name in state)
    # Some by way of a dense copy.
    instruction_set = re.escape(native.instruction_set())
    assert all(re.fullmatch(rf"kernel.* \({instruction_set}\)", path) for path in optimizer.paths().values())


@pytest.mark.parametrize("flags", [{}, {"fused": True}], ids=["default", "fused"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_parameter_with_gaps_equals_torchs(dtype, flags):
    ours, theirs = with_a_column(1003, dtype), with_a_column(1003, dtype)
    trained([ours], **flags)
    trained([theirs], cls=TORCHS, foreach=False)
    # Three updates of at most lr·10, each a few roundings apart; momentum collects 2.7 of them.
    torch.testing.assert_close(ours, theirs, rtol=0, atol=100 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("flags", [{}, {"fused": False}], ids=["default", "composite"])
def test_a_lazily_negated_parameter_equals_torchs(flags):
    ours, theirs = (numbers(33, dtype=torch.complex64).conj().imag for _ in range(2))
    assert ours.is_neg()
    trained([ours], **flags)
    trained([theirs], cls=TORCHS, foreach=False)
    assert ours.is_neg()
    torch.testing.assert_close(ours.resolve_neg(), theirs.resolve_neg(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("flags", [{}, {"fused": False}], ids=["default", "composite"])
def test_a_lazily_conjugated_parameter_works_where_torchs_refuses(flags):
    lazy, plain = numbers(33, dtype=torch.complex64).conj(), numbers(33, dtype=torch.complex64).conj_physical()
    with pytest.raises(RuntimeError, match="view_as_real doesn't work on unresolved conjugated tensors"):
        trained([numbers(33, dtype=torch.complex64).conj()], cls=TORCHS)
    trained([lazy], **flags)
    trained([plain], cls=TORCHS)
    assert lazy.is_conj()
    torch.testing.assert_close(lazy.resolve_conj(), plain, rtol=0, atol=1e-5)


@pytest.mark.parametrize("lazily", [torch.conj, lambda values: torch._neg_view(values)], ids=["conjugated", "negated"])
def test_a_lazy_gradient_is_what_it_stands_for(lazily):
    ours, theirs = (numbers(33, dtype=torch.complex64) for _ in range(2))
    for param, values in ((ours, lazily), (theirs, lambda values: lazily(values).resolve_conj().resolve_neg())):
        trained([param], values)
    assert torch.equal(ours, theirs)


def test_paths_are_known_by_the_names_of_the_parameters():
    model = torch.nn.Linear(3, 2)
    model(torch.ones(1, 3)).sum().backward()
    named, numbered = RMSprop(model.named_parameters()), RMSprop(model.parameters())
    numbered.add_param_group({"params": [torch.zeros(3, requires_grad=True)], "fused": False})
    numbered.param_groups[1]["params"][0].grad = torch.ones(3)
    for optimizer in (named, numbered):
        optimizer.step()
    assert named.paths() == {"weight": KERNEL, "bias": KERNEL}
    paths = numbered.paths()
    assert list(paths) == ["0", "1", "2"]
    assert paths["2"].startswith("tensor operations: ")


def test_paths_follow_what_changes():
    param = numbers(7)
    optimizer = trained([param])
    assert optimizer.paths() == {"0": KERNEL}
    optimizer.param_groups[0]["fused"] = False
    param.grad = torch.ones(7)
    optimizer.step()
    assert optimizer.paths()["0"].startswith("tensor operations: ")


@pytest.mark.parametrize("instruction_set", native.INSTRUCTION_SETS)
def test_paths_name_the_instruction_set(instruction_set):
    before = native.instruction_set()
    try:
        native.use_instruction_set(instruction_set)
    except ValueError:
        pytest.skip(f"this machine has no {instruction_set}")
    try:
        assert trained([numbers(7)]).paths() == {"0": f"kernel ({instruction_set})"}
    finally:
        native.use_instruction_set(before)


UNTRAINABLE = {
    "coordinates": (*[torch.Tensor.to_sparse] * 2, r"layout torch\.sparse_coo: only dense"),
    "compressed rows": (*[torch.Tensor.to_sparse_csr] * 2, r"layout torch\.sparse_csr: only dense"),
    "oneDNN's": (*[torch.Tensor.to_mkldnn] * 2, r"layout torch\._mkldnn: only dense"),
    "8 bits": (*[lambda values: values.to(torch.float8_e5m2)] * 2, r"float8_e5m2, in which PyTorch computes nothing"),
    "whole numbers": (torch.Tensor.int, torch.Tensor.int, "int32: only floating point"),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
@pytest.mark.parametrize(
    "flags", [{}, {"fused": True}, {"fused": False}, {"sparse": "lazy"}, {"momentum": 0.9}], ids=str
)
@pytest.mark.parametrize(("kind", "of_gradient", "message"), UNTRAINABLE.values(), ids=UNTRAINABLE)
def test_what_holds_no_dense_numbers_is_refused_before_there_is_state(kind, of_gradient, message, flags):
    beside, param = torch.ones(2, requires_grad=True), kind(torch.ones(2, 3))
    optimizer = RMSprop([beside, param], **flags)
    beside.grad, param.grad = torch.ones(2), of_gradient(torch.ones(2, 3))
    with pytest.raises(RuntimeError, match=f"parameter 1 has .*{message}"):
        optimizer.step()
    assert not optimizer.state
    assert torch.equal(beside, torch.ones(2))
