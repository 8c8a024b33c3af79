"""The rows of optimizers: what they make, what they default to, where they are searched, and what is refused."""

import math
import subprocess
import sys

import pytest
import torch

import rmsprop
from rmsprop import DIALECTS
from rmsprop.lab.errors import InputError
from rmsprop.lab.optimizers import OPTIMIZERS, Range, choose, make, row
from rmsprop.torch import RMSprop

TORCH = {
    "sgd": torch.optim.SGD,
    "momentum": torch.optim.SGD,
    "nesterov": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "adam": torch.optim.Adam,
    "sparse-adam": torch.optim.SparseAdam,
}


@pytest.mark.parametrize("name", TORCH)
def test_defaults_are_those_of_torch_itself(name):
    optimizer = make(choose(name), [torch.zeros(2, requires_grad=True)])
    assert type(optimizer) is TORCH[name]
    own = TORCH[name]([torch.zeros(2, requires_grad=True)]).defaults
    meant = {"momentum": {"momentum": 0.9}, "nesterov": {"momentum": 0.9, "nesterov": True}}.get(name, {})
    assert {key: optimizer.defaults[key] for key in own} == own | meant


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_call_that_reports_show_makes_the_optimizer_to_the_last_digit(name):
    lr, given = 0.1 / 3, dict.fromkeys(row(name).options, 1 - 0.1 / 7)
    choice = choose(name, lr, **given)
    params = [torch.zeros(2, requires_grad=True)]
    made = eval(choice.call, {"torch": torch, "rmsprop": rmsprop, "params": params})
    (pasted,), (meant,) = made.param_groups, make(choice, params).param_groups
    assert type(made) is type(make(choice, params))
    assert pasted == meant


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_has_a_row_with_its_own_defaults(dialect):
    optimizer = make(choose(f"rmsprop-{dialect}"), [torch.zeros(2, requires_grad=True)])
    plain = RMSprop([torch.zeros(2, requires_grad=True)], lr=DIALECTS[dialect].lr or 1e-3, dialect=dialect)
    assert optimizer.param_groups[0].keys() == plain.param_groups[0].keys()
    same = ("lr", "alpha", "eps", "momentum", "centered", "eps_inside_sqrt", "initial_square_avg", "lr_in_momentum")
    assert [optimizer.param_groups[0][key] for key in same] == [plain.param_groups[0][key] for key in same]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_range_is_of_something_the_optimizer_has_and_takes_at_both_ends(name):
    for key, where in row(name).space.items():
        for u in (0.0, 0.5, 1.0):
            value = where.at(u)
            options = {} if key == "lr" else {key: value}
            make(choose(name, value if key == "lr" else None, **options), [torch.zeros(2, requires_grad=True)])
            assert where.where(value) == pytest.approx(u, abs=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_ranges_of_the_learning_rate_are_equally_wide(name):
    where = row(name).space["lr"]
    assert where.high / where.low == pytest.approx(1e4)
    assert where.low <= 10 * row(name).lr
    assert row(name).lr <= where.high


@pytest.mark.parametrize(
    ("where", "u", "low", "high"),
    [
        (Range(low=1e-4, high=1.0), 0.95, 1.0, 100.0),
        (Range(low=1e-4, high=1.0), 0.05, 1e-6, 1e-4),
        (Range(low=0.0, high=2.0, log=False), 1.0, 2.0, 3.0),
        (Range(low=0.0, high=2.0, log=False), 0.0, -1.0, 0.0),
        (Range(low=1e-2, high=0.5, complement=True), 1.0, 0.5, 1.0),
    ],
)
def test_a_range_is_widened_by_half_of_its_width(where, u, low, high):
    beyond = where.beyond(u)
    assert (beyond.low, beyond.high) == pytest.approx((low, high))
    assert (beyond.log, beyond.complement) == (where.log, where.complement)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_label_can_stand_in_a_list(name):
    assert "," not in choose(name).label


def test_labels_name_the_dialect_and_the_averaging():
    names = ("rmsprop", "rmsprop-keras", "adam+swa", "rmsprop-momentum", "sgd+ema", "swa", "ema")
    labels = ["RMSProp", "RMSProp (keras)", "Adam + SWA", "RMSProp + momentum", "SGD + EMA"]
    assert [choose(name).label for name in names] == [*labels, "RMSProp + SWA", "RMSProp + EMA"]


def test_a_choice_is_all_that_defines_it():
    assert choose("adam", beta2=0.9) == choose("adam", 1e-3, beta2=0.9)
    assert choose("adam").options == (("beta1", 0.9), ("beta2", 0.999), ("eps", 1e-8))
    assert [choose(name).average for name in ("sgd", "sgd+swa", "sgd+ema")] == ["none", "swa", "ema"]
    assert choose("swa") == choose("rmsprop+swa")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: choose("adm"), "there is no optimizer 'adm' (did you mean adam?): choose from sgd, momentum, "),
        (lambda: choose("xyzzy"), "there is no optimizer 'xyzzy': choose from sgd, "),
        (lambda: choose("+swa"), "there is no optimizer '+swa': choose from sgd, "),
        (lambda: choose("sgd+ema+swa"), "there is no optimizer 'sgd+ema+swa': choose from sgd, "),
        (lambda: choose("swa+ema"), "there is no optimizer 'swa+ema': choose from sgd, "),
        (lambda: choose("rmsprop-sf+swa"), "rmsprop-sf+swa would average weights twice: leave out +swa"),
        (lambda: choose("sgd", momentum=0.5), "sgd has no option 'momentum': it has lr"),
        (lambda: choose("sgd", 0.0), "the learning rate of sgd is 0: it must be a finite number above 0"),
        (lambda: choose("sgd", math.nan), "the learning rate of sgd is nan: it must be a finite number above 0"),
    ],
)
def test_a_mistake_is_one_sentence(call, message):
    with pytest.raises(InputError) as refused:
        call()
    assert str(refused.value).startswith(message)


def test_naming_the_optimizers_does_not_load_torch():
    code = "import sys, rmsprop.lab.optimizers; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_elementwise_updates_may_be_sliced():
    """A slice of several models is one tensor to the optimizer: each row moves as if it were alone, or its row says."""
    gradients = torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(0)).double()
    for name in [name for name in OPTIMIZERS if row(name).dense and not row(name).holds_out]:
        whole = torch.ones(3, 4, dtype=torch.float64, requires_grad=True)
        rows = [torch.ones(4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
        optimizers = [make(choose(name), [parameter]) for parameter in (whole, *rows)]
        for optimizer in optimizers if row(name).averages else ():
            optimizer.train()
        for gradient in gradients:
            whole.grad = gradient.clone()
            for parameter, part in zip(rows, gradient, strict=True):
                parameter.grad = part.clone()
            for optimizer in optimizers:
                optimizer.step()
        assert torch.equal(whole, torch.stack(rows)) == row(name).elementwise, name
