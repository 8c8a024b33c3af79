"""The Triton kernel computes what the specification says, to the last bit, on any tensors."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support import ALL_RULES, same_bits, wild_gradients

from rmsprop import Rule
from rmsprop.batch import Batch
from rmsprop.reference import init, update
from rmsprop.storage import (
    PACKINGS,
    decode,
    encode,
    noise,
    round_stochastically,
    round_to_nearest,
    split,
    state_noise,
    widened,
)
from rmsprop.torch import RMSprop, gpu
from rmsprop.torch.local import as_real

NARROW = {torch.float16, torch.bfloat16}
PLAIN, FULL = Rule(), Rule(decay=0.9, centered=True, momentum=0.9, nesterov=True, weight_decay=0.1)
CAUTIOUS = replace(FULL, caution=True)


def as_numpy(tensor):
    """The numbers of a tensor in the precision that the kernel works in; of a complex one, pairs."""
    tensor = as_real(tensor.detach())
    return (tensor.float() if tensor.dtype in NARROW else tensor).detach().cpu().numpy().copy()


def steps(params, rules, keywords, device, lay_out=torch.clone, lr=0.01, count=3, maximize=False):
    """Take steps with one group per rule; compare every bit of every parameter and state with the specification."""
    random = np.random.default_rng(0)
    groups = [{"params": [p], **keywords(rule)} for p, rule in zip(params, rules, strict=True)]
    optimizer = RMSprop(groups, lr=lr, fused=True, maximize=maximize)
    states = [init(rule, as_numpy(param)) for rule, param in zip(rules, params, strict=True)]
    for step in range(1, count + 1):
        before = [as_numpy(param) for param in params]
        for param, values in zip(params, before, strict=True):
            wild = torch.from_numpy(wild_gradients(random, values.shape, values.dtype)).to(as_real(param).dtype)
            grad = torch.view_as_complex(wild) if param.is_complex() else wild
            param.grad = lay_out(grad.to(device))
        optimizer.step()
        for i, (rule, param) in enumerate(zip(rules, params, strict=True)):
            number = lr.item() if isinstance(lr, torch.Tensor) else lr
            grad = as_numpy(param.grad)
            new, states[i] = update(rule, number, step, before[i], grad, states[i], maximize=maximize)
            stored = torch.from_numpy(new).to(as_real(param).dtype)
            assert same_bits(as_numpy(param), as_numpy(stored)), (step, rule, param.shape)
            for name, value in states[i].items():
                assert same_bits(as_numpy(optimizer.state[param][name]), value), (step, rule, param.shape, name)


def normal(shape, dtype=torch.float32, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_every_rule_equals_the_specification_to_the_bit(dtype, keywords, device):
    # The interpreter takes a hundredth of a second for 37 elements. 5 and 13 divide no number of choices, so that the
    # rules it gets have all of them, in many combinations.
    rules = ALL_RULES[:: 1 if device == "cuda" else 5 if dtype == torch.float32 else 13]
    params = [normal(37, dtype, seed).to(device) for seed in range(len(rules))]
    steps(params, rules, keywords, device, count=3 if dtype == torch.float32 else 2)


@pytest.mark.parametrize("mode", ["decoupled", "cautious"])
def test_a_learning_rate_on_the_device_corrects_weight_decay(mode, keywords, device):
    rule = Rule(weight_decay=0.3, weight_decay_mode=mode, weight_decay_max_lr=0.7)
    lr = torch.tensor(0.125, device=device, dtype=torch.float64)
    steps([normal(37).to(device), normal(5, seed=1).to(device)], [rule, PLAIN], keywords, device, lr=lr)


@pytest.mark.parametrize("rule", [PLAIN, FULL, CAUTIOUS], ids=["plain", "full", "caution"])
def test_any_number_of_elements(rule, keywords, device, launches):
    sizes = [0, 1, 31, 1023, 1024, 1025, 0, 4096, 100_003, 2]
    steps([normal(size).to(device) for size in sizes], [rule] * len(sizes), keywords, device, count=2)
    assert len(launches) == 2


@pytest.mark.parametrize("rule", [PLAIN, FULL], ids=["plain", "full"])
def test_twenty_million_elements(rule, keywords, device, monkeypatch):
    if device == "cpu":  # to the interpreter a block of a million elements is hardly more work than one of 1024
        monkeypatch.setattr(gpu.kernels().tables, "BLOCK", 1 << 20)
    steps([normal(size).to(device) for size in (3, 20_000_000, 5)], [rule] * 3, keywords, device, count=1)


@pytest.mark.parametrize("rule", [FULL, CAUTIOUS], ids=["full", "caution"])
@pytest.mark.parametrize("most", [1, 3, 1000])
def test_any_number_of_programs(most, rule, keywords, device, monkeypatch):
    monkeypatch.setattr("rmsprop.torch.gpu.MOST_PROGRAMS", most)
    sizes = [7, 5000, 0, 2048, 1]
    steps([normal(size).to(device) for size in sizes], [rule] * len(sizes), keywords, device, count=2)


@pytest.mark.parametrize("span", [1, 3])
def test_more_than_two_to_the_31_elements(span, device):
    # The last blocks of a tensor of 8 G elements, of which only these exist.
    kernel, tables, size = gpu.kernels().kernel, gpu.kernels().tables, 2500
    before = (1 << 33) // (tables.BLOCK * span)
    programs = -(size // -(tables.BLOCK * span))
    start = before * tables.BLOCK * span
    p, v, g = torch.ones(size, device=device), torch.zeros(size, device=device), torch.ones(size, device=device)
    addresses = [tensor.data_ptr() - 4 * start for tensor in (p, v, g)]
    rows = torch.tensor([[*addresses[:2], 0, 0, start + size, -before]], device=device)
    rows = torch.nn.functional.pad(rows, (0, tables.WORDS_PER_TENSOR.value - rows.shape[1]))
    batch = Batch("float32", 1, PLAIN)
    batch.set_numbers(0.1, 1)
    rules = torch.zeros(tables.WORDS_PER_RULE.value, dtype=torch.int64)
    rules[: len(batch.numbers)] = torch.from_numpy(batch.numbers)
    owners = torch.zeros(programs, dtype=torch.int32, device=device)
    grads = torch.tensor(addresses[2:], device=device)
    options = {
        **tables.types("float32"),
        **gpu.code(PLAIN, "nearest"),
        "BLOCK": tables.BLOCK,
        **tables.launch_options(gpu._warp_size(p.device)),
    }
    kernel.update[(programs,)](rows, grads, rules.to(device), owners, span, *[None] * 7, **options)
    expected, state = update(PLAIN, 0.1, 1, np.ones(size, np.float32), as_numpy(g), init(PLAIN, as_numpy(v)))
    assert same_bits(as_numpy(p), expected)
    assert same_bits(as_numpy(v), state["square_avg"])


def test_all_storage_types_in_one_optimizer(keywords, device, launches):
    dtypes = [torch.float16, torch.float32, torch.complex64, torch.bfloat16, torch.float64, torch.complex128]
    rules = [rule for rule in (PLAIN, FULL, CAUTIOUS) for _ in dtypes]
    params = [normal(1500, dtype, seed).to(device) for seed, dtype in enumerate(dtypes * 3)]
    steps(params, rules, keywords, device, count=2)
    assert len(launches) == 2 * 3 * 4  # steps, kinds of code, storage types: complex numbers are pairs of reals


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_any_offset(dtype, keywords, device):
    # 16-byte accesses must not be used where memory does not begin at a multiple of 16 bytes.
    params = [normal(3000 + offset, dtype).to(device)[offset:] for offset in range(5)]
    steps(params, [PLAIN] * 5, keywords, device, count=2)
    steps(params, [PLAIN] * 5, keywords, device, lay_out=lambda grad: torch.cat([grad[:1], grad])[1:], count=2)


@pytest.fixture
def whole_blocks(device, monkeypatch):
    """Addresses that the interpreted kernel has read or written as whole blocks, 16 bytes at a time."""
    if device == "cuda":
        pytest.skip("a GPU refuses such an access where it is not aligned")
    found, at = [], gpu.kernels().storage.at

    def noted(pointer, start, WHOLE):
        pointer = at(pointer, start, WHOLE)
        if WHOLE:
            found.append(int(pointer.handle.data[0]))
        return pointer

    monkeypatch.setattr(gpu.kernels().storage, "at", noted)
    return found


@pytest.mark.parametrize("moved", ["nothing", "param", "grad", "grad_var", "grad_avg", "momentum_buffer"])
def test_whole_blocks_are_only_read_where_every_array_is_aligned(moved, device, whole_blocks):
    def at_an_odd_offset(name, tensor):
        return torch.cat([tensor[:1], tensor])[1:] if name == moved else tensor

    param = at_an_odd_offset("param", normal(3000))
    optimizer = RMSprop([param], fused=True, centered=True, momentum=0.9)
    param.grad = at_an_odd_offset("grad", torch.ones(3000))
    state = optimizer.state[param]
    state["step"] = torch.tensor(0.0)
    for name in ("grad_var", "grad_avg", "momentum_buffer"):
        state[name] = at_an_odd_offset(name, torch.zeros(3000))
    optimizer.step()
    assert all(address % 16 == 0 for address in whole_blocks)
    assert bool(whole_blocks) == (moved == "nothing")


def test_nothing_beside_a_tensor_is_touched(device):
    storage = torch.full((5000,), 7.0, device=device)
    params = [storage[1:1500], storage[1501:4097], storage[4098:4999]]
    optimizer = RMSprop(params, fused=True)
    for param in params:
        param.grad = torch.ones_like(param)
    optimizer.step()
    assert (storage != 7.0).sum() == sum(param.numel() for param in params)
    assert storage[[0, 1500, 4097, 4999]].tolist() == [7.0] * 4


LAYOUTS = {
    "reversed": lambda grad: grad.T.contiguous().T,
    "gaps": lambda grad: torch.stack([grad, torch.full_like(grad, torch.nan)], dim=-1)[..., 0],
    "expanded": lambda grad: grad[:1].expand(grad.shape),
}


@pytest.mark.parametrize("lay_out", LAYOUTS.values(), ids=LAYOUTS)
def test_gradients_in_any_order(lay_out, keywords, device):
    steps([normal((33, 7)).to(device), normal((7, 33)).to(device).T], [PLAIN, FULL], keywords, device, lay_out)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128], ids=str)
def test_complex_parameters_are_pairs_of_reals(dtype, device):
    pairs = normal((40, 2), torch.float64 if dtype == torch.complex128 else torch.float32).to(device)
    param = torch.view_as_complex(pairs.clone())
    optimizers = [RMSprop([p], fused=True, centered=True, momentum=0.9) for p in (param, pairs)]
    for seed in range(3):
        pairs.grad = normal((40, 2), pairs.dtype, seed).to(device)
        param.grad = torch.view_as_complex(pairs.grad).conj().resolve_conj().conj()  # a lazy conjugate
        for optimizer in optimizers:
            optimizer.step()
    assert torch.equal(torch.view_as_real(param), pairs)


@pytest.mark.parametrize("lr", [0.01, torch.tensor(0.01), torch.tensor([0.01]), torch.tensor(0.01).double()], ids=str)
@pytest.mark.parametrize("maximize", [False, True])
def test_options_that_are_no_rule(lr, maximize, keywords, device):
    lr = lr.to(device) if isinstance(lr, torch.Tensor) else lr
    decoupled = Rule(weight_decay=0.3, weight_decay_mode="decoupled", momentum=0.9, lr_in_momentum=True)
    steps([normal(37).to(device)] * 1, [decoupled], keywords, device, lr=lr, maximize=maximize)


def test_a_learning_rate_of_half_precision(device):
    params = [normal(5).to(device) for _ in range(2)]
    optimizers = [RMSprop([params[0]], lr=torch.tensor(0.125, dtype=torch.bfloat16, device=device), fused=True)]
    optimizers.append(RMSprop([params[1]], lr=0.125, fused=True))
    for param, optimizer in zip(params, optimizers, strict=True):
        param.grad = torch.ones_like(param)
        optimizer.step()
    assert torch.equal(*params)


def test_one_launch_for_groups_that_differ_in_numbers(device, launches):
    params = [normal(size).to(device) for size in (5, 2000, 31, 7)]
    groups = [
        {"params": [params[0]], "lr": 0.1},
        {"params": [params[1]], "weight_decay": 0.1, "eps": 1e-3, "eps_inside_sqrt": True},
        {"params": [params[2]], "weight_decay": 0.1, "weight_decay_mode": "decoupled", "maximize": True},
        {"params": [params[3]], "alpha": 0.3, "bias_correction": True, "momentum": 0.3},
    ]
    optimizer = RMSprop(groups, momentum=0.9, fused=True)
    for param in params:
        param.grad = torch.ones_like(param)
    for _ in range(3):
        optimizer.step()
    assert len(launches) == 3


def test_a_launch_per_storage_type_and_kind_of_state(device, launches):
    dtypes = [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.complex64, torch.complex128]
    params = [torch.ones(4, dtype=dtype, device=device) for dtype in dtypes]
    optimizer = RMSprop([{"params": params}, {"params": [torch.ones(4, device=device)], "centered": True}], fused=True)
    for param in [*params, *optimizer.param_groups[1]["params"]]:
        param.grad = torch.ones_like(param)
    optimizer.step()
    assert len(launches) == 5  # complex numbers are pairs of reals
    assert all(torch.isfinite(param).all() and (param != 1).all() for param in params)


@pytest.mark.parametrize("capturable", [False, True], ids=["counted here", "counted there"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("rule", [PLAIN, FULL, CAUTIOUS], ids=["plain", "full", "caution"])
@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.filterwarnings("ignore:This instance was constructed with capturable=True:UserWarning")
def test_state_is_packed_as_the_specification_says(packing, rule, dtype, capturable, keywords, device):
    """The second parameter rests once, and does not end with a block."""
    random, state_dtype = np.random.default_rng(0), torch.bfloat16 if packing == "bfloat16" else packing
    params = [normal(size, getattr(torch, dtype), size).to(device).requires_grad_() for size in (2048, 1500)]
    optimizer = RMSprop(
        params, **keywords(rule), lr=0.03, fused=True, seed=7, state_dtype=state_dtype, capturable=capturable
    )
    values, counts = [as_numpy(param) for param in params], [0, 0]
    stored = [{n: encode(n, v, np.zeros(v.size, np.uint32), packing) for n, v in init(rule, p).items()} for p in values]
    for nth in range(3):
        for i, param in enumerate(params):
            param.grad = None
            if (i, nth) != (1, 0):
                grad = (wild_gradients if nth == 1 else random_gradients)(random, values[i].shape)
                param.grad = torch.from_numpy(grad).to(param.dtype).to(device)
        optimizer.step()
        for i, param in enumerate(params):
            if param.grad is None:
                continue
            counts[i] += 1
            state = {name: decode(name, parts, packing) for name, parts in stored[i].items()}
            new, state = update(rule, 0.03, counts[i], values[i], as_numpy(param.grad), state)
            values[i] = new if dtype == "float32" else widened(round_to_nearest(new, dtype), dtype)
            assert same_bits(as_numpy(param), values[i]), (nth, i)
            for name, numbers in state.items():
                bits = state_noise(7, counts[i], i, name, np.arange(numbers.size))
                stored[i][name] = encode(name, numbers, bits, packing)
                assert same_bits(as_numpy(optimizer.state[param][name]), decode(name, stored[i][name], packing))
    assert optimizer.paths() == dict.fromkeys("01", "kernel (triton)")


def random_gradients(random, shape):
    return random.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("capturable", [False, True], ids=["counted here", "counted there"])
@pytest.mark.parametrize("rounding", ["stochastic", "kahan"])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.filterwarnings("ignore:This instance was constructed with capturable=True:UserWarning")
def test_weights_are_rounded_as_the_specification_says(dtype, rounding, capturable, device):
    """The second parameter rests once, so that the numbers of their updates differ."""
    random, stored_as = np.random.default_rng(0), getattr(torch, dtype)
    params = [normal(size, stored_as, size).to(device).requires_grad_() for size in (1500, 300)]
    optimizer = RMSprop(params, lr=0.03, fused=True, rounding=rounding, seed=2**64 - 5, capturable=capturable)
    states = [init(PLAIN, as_numpy(param)) for param in params]
    values, counts = [as_numpy(param) for param in params], [0, 0]
    for nth in range(3):
        for i, param in enumerate(params):
            param.grad = None
            if (i, nth) != (1, 0):
                param.grad = torch.from_numpy(wild_gradients(random, values[i].shape)).to(stored_as).to(device)
        optimizer.step()
        for i, param in enumerate(params):
            if param.grad is None:
                continue
            counts[i] += 1
            new, states[i] = update(PLAIN, 0.03, 1, values[i], as_numpy(param.grad), states[i])
            if rounding == "stochastic":
                bits = noise(2**64 - 5, counts[i], i, np.arange(len(new)))
                high = values[i] = widened(round_stochastically(new, bits, dtype), dtype)
            else:
                high, low = (widened(part, dtype) for part in split(new, dtype))
                values[i] = high + low
                assert same_bits(as_numpy(optimizer.state[param]["compensation"]), low)
            assert same_bits(as_numpy(param), high), (nth, i)
            assert same_bits(as_numpy(optimizer.state[param]["square_avg"]), states[i]["square_avg"])
    assert optimizer.paths() == dict.fromkeys("01", "kernel (triton)")
