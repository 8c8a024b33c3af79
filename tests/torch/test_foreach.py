"""Parameters that are updated together, as on devices without a kernel: the same bits as one by one."""

import pytest
import torch
from support import ALL_RULES
from torch.utils._python_dispatch import TorchDispatchMode

from rmsprop import Rule
from rmsprop.torch import RMSprop, composite

SHAPES = ((3, 4), (), (7,), (0,), (2, 1, 5), (1,))


@pytest.fixture
def together(monkeypatch):
    """Lets the CPU be a device where parameters are updated together; returns how many were, call by call."""
    monkeypatch.setattr(composite, "IN_BLOCKS", set())
    counts, run = [], composite.update_together

    def noted(rule, lr, step, members, scale):
        counts.append(len(members))
        run(rule, lr, step, members, scale)

    monkeypatch.setattr(composite, "update_together", noted)
    return counts


@pytest.fixture
def one_by_one(monkeypatch):
    """Returns what goes on with parameters that are updated one by one, as those of a class of its own are."""

    def run(function, *arguments, **keywords):
        with monkeypatch.context() as patch:
            patch.setattr(composite, "is_plain_class", lambda _: False)
            return function(*arguments, **keywords)

    return run


def train(keywords, dtypes=(torch.float32,), steps=3, **options):
    random = torch.Generator().manual_seed(0)

    def new(shape, dtype):
        return torch.randn(shape, generator=random, dtype=torch.float64).to(dtype)

    params = [new(shape, dtype) for dtype in dtypes for shape in SHAPES]
    optimizer = RMSprop(params, fused=False, **keywords, **options)
    for _ in range(steps):
        for param in params:
            param.grad = new(param.shape, param.dtype)
        optimizer.step()
    return params, [optimizer.state[param] for param in params]


# With caution, which sees a whole tensor, each is updated by itself.
@pytest.mark.parametrize("rule", [rule for rule in ALL_RULES if not rule.caution][::11], ids=str)
def test_every_rule_computes_the_same_bits(rule, keywords, together, one_by_one):
    found = train(keywords(rule), lr=0.01)
    torch.testing.assert_close(found, one_by_one(train, keywords(rule), lr=0.01), rtol=0, atol=0)
    assert together == [len(SHAPES)] * 3


@pytest.mark.parametrize(
    "options",
    [
        {"lr": torch.tensor(0.01)},
        {"lr": torch.tensor(0.01, dtype=torch.float64)},
        {"maximize": True},
        {"capturable": True, "bias_correction": True},
        {"capturable": True, "averaged_momentum": True, "init_from_gradient": True, "delayed": True},
        {"max_grad_norm": 4.0, "max_grad_value": 0.3, "maximize": True},
    ],
    ids=str,
)
def test_options_that_are_no_rule(options, together, one_by_one):
    plain = {"momentum": 0.9, "centered": True}
    found = train({}, **plain, **options)
    torch.testing.assert_close(found, one_by_one(train, {}, **plain, **options), rtol=0, atol=0)
    assert together == [len(SHAPES)] * 3


def test_dtypes_of_one_precision_go_together(together, one_by_one):
    dtypes = (torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.complex64, torch.complex128)
    found = train({"centered": True}, dtypes)
    torch.testing.assert_close(found, one_by_one(train, {"centered": True}, dtypes), rtol=0, atol=0)
    assert sorted(together) == sorted([3 * len(SHAPES), *[len(SHAPES)] * 3] * 3)


@pytest.mark.parametrize("rule", [Rule(), Rule(decay=0.9, centered=True, momentum=0.9, weight_decay=0.1)], ids=str)
def test_the_number_of_operations_is_that_of_the_rule_and_not_of_the_parameters(rule, keywords, together):
    class Counting(TorchDispatchMode):
        def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
            aliases = [each.alias_info for each in operation._schema.returns if each.alias_info]
            is_view = not all(alias.is_write for alias in aliases)
            reads_counter = args and any(args[0] is counter for counter in counters)  # they stay on the CPU
            if not is_view and not reads_counter:  # neither launches anything
                names.append(operation.__name__)
            return operation(*args, **(kwargs or {}))

    def operations(count):
        params = [torch.ones(4, requires_grad=True) for _ in range(count)]
        optimizer = RMSprop(params, fused=False, **keywords(rule))
        for _ in range(2):  # the second step finds its state
            for param in params:
                param.grad = torch.ones(4)
            names.clear()
            counters[:] = [state["step"] for state in optimizer.state.values()]
            with Counting():
                optimizer.step()
        return len(names)

    names, counters = [], []
    assert operations(100) == operations(10) < 70


def test_no_more_than_a_device_can_hold(together, monkeypatch):
    monkeypatch.setattr(composite, "MOST_TOGETHER", 20)
    train({}, steps=1)
    assert together == [4, 2]  # 12 + 1 + 7 + 0 elements, then 10 + 1


@pytest.mark.parametrize(("bias_correction", "counts"), [(True, [4, 2, 2, 2]), (False, [4, 2, 4])])
def test_parameters_that_took_other_steps_are_told_apart_where_it_matters(bias_correction, counts, together):
    params = [torch.ones(3) for _ in range(4)]
    optimizer = RMSprop(params, fused=False, bias_correction=bias_correction)
    for active in (params, params[:2], params):
        for param in params:
            param.grad = torch.ones(3) if any(param is other for other in active) else None
        optimizer.step()
    assert together == counts
    assert torch.equal(params[0], params[1])
    assert torch.equal(params[2], params[3])


def test_a_differentiable_step_goes_one_by_one(together):
    params = [torch.ones(3, requires_grad=True).clone() for _ in range(2)]
    optimizer = RMSprop(params, differentiable=True)
    for param in params:
        param.grad = torch.ones(3)
    optimizer.step()
    assert together == []
