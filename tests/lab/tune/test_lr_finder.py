"""`find_lr` on a person's own loop: what it finds, and what it refuses."""

import copy
import math

import numpy as np
import pytest
import torch
from lab.tune.models import Bowl, bowl_loss, data, network
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from rmsprop.lab import find_lr
from rmsprop.torch import RMSprop


@pytest.mark.parametrize("curvature", [1.0, 10.0, 1000.0])
def test_plain_gradient_descent_is_lost_beyond_the_stability_limit_and_the_suggestion_is_below(curvature):
    model, limit = Bowl(curvature), 2.0 / curvature
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    span = {"low": limit * 1e-4, "high": limit * 100.0}
    found = find_lr(model, bowl_loss, [None], optimizer=optimizer, repeats=1, loss_takes="model", **span)
    assert 0.01 * limit < found.suggestion < limit
    assert limit < found.diverges_at < 30 * limit
    # The loss falls to nothing and rises again from the limit on, to within two of the test's steps.
    assert found.lrs[np.nanargmin(found.losses[0])] == pytest.approx(limit, rel=0.4)


def test_the_suggestion_scales_with_the_curvature():
    def suggestion(curvature):
        model = Bowl(curvature)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        return find_lr(model, bowl_loss, [None], optimizer=optimizer, repeats=1, loss_takes="model").suggestion

    assert suggestion(1.0) / suggestion(100.0) == pytest.approx(100.0, rel=0.3)


def test_it_is_the_same_within_a_factor_of_two_under_noise():
    class Noisy(Bowl):
        def loss(self, batch):
            return super().loss(batch) + 0.3 + (batch * self.w).sum() + 0.3 * batch[0]

    quiet, noisy = Bowl(3.0, 1.0), Noisy(3.0, 1.0)
    generator = torch.Generator().manual_seed(1)
    batches = list(0.2 * torch.randn(997, 2, generator=generator))
    clean = find_lr(quiet, bowl_loss, [None], loss_takes="model").suggestion
    for repeats in (3, 9):
        found = find_lr(noisy, bowl_loss, batches, loss_takes="model", repeats=repeats)
        assert 0.5 < found.suggestion / clean < 2.0


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_longer_finite_ends_the_repeat_and_is_marked(bad):
    steps = iter(range(10**6))

    def breaks(model, batch):
        return model.loss(batch) * (bad if 60 <= next(steps) < 65 else 1.0)

    found = find_lr(Bowl(1.0), breaks, [None], loss_takes="model", repeats=3)
    lost = np.isinf(found.losses)
    assert lost[0].sum() == 40
    assert (np.flatnonzero(lost[0]) == np.arange(60, 100)).all()
    assert not lost[1, :61].any()
    assert np.isfinite(found.suggestion)


def plain_network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 1))


def rows(spoilt=(), size=16):
    """Batches of a problem that can be learnt; in some of them a number is missing."""
    x, y = data(rows=256).tensors
    batches = [[one.clone(), other.clone()] for one, other in zip(x.split(size), y.split(size), strict=True)]
    for place in spoilt:
        batches[place][0][3, 1] = math.nan
    return batches


@pytest.mark.parametrize("place", [0, 1, 3])
@pytest.mark.parametrize("repeats", [1, 3])
def test_a_batch_with_a_missing_number_is_left_out_and_said(place, repeats):
    model = plain_network()
    whole = find_lr(model, functional.mse_loss, rows(), repeats=repeats)
    found = find_lr(model, functional.mse_loss, rows(spoilt=[place]), repeats=repeats)
    left_out = int(np.isnan(found.losses).sum())
    assert left_out > 5
    assert 1 / 3 < found.suggestion / whole.suggestion < 3
    assert f"{left_out} of " in found.note
    assert found.note.endswith("steps were left out because the loss of a batch wasn't finite: look at the data")
    assert "left out" not in whole.note


def test_where_every_batch_is_spoilt_nothing_is_suggested():
    found = find_lr(network(), functional.mse_loss, rows(spoilt=range(len(rows()))))
    assert found.problem.endswith("already: give a lower low, or look at the model and its data")
    assert np.isinf(found.losses).all()


def test_gradients_of_several_batches_make_a_step():
    small, large = rows(size=4), rows(size=16)
    own = torch.optim.SGD

    def losses(batches, **options):
        model = nn.Linear(*(len(one[0]) for one in large[0]))  # no batch norm, which sees its batch
        torch.nn.init.constant_(model.weight, 0.1)
        torch.nn.init.constant_(model.bias, 0.1)
        optimizer = own(model.parameters(), lr=1.0)
        return find_lr(model, functional.mse_loss, batches, optimizer=optimizer, repeats=1, **options).losses

    np.testing.assert_allclose(losses(small, accumulate=4), losses(large), rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("around", [False, True])
@pytest.mark.parametrize("optimizer", [None, torch.optim.SGD])
def test_mixed_precision_suggests_what_float32_does_and_leaves_the_scaler(dtype, around, optimizer):
    model, scaler = plain_network(), torch.amp.GradScaler("cpu", init_scale=2.0**24)
    made = optimizer and optimizer(model.parameters(), lr=1.0)
    before = scaler.state_dict()

    def loss(model, batch):
        with torch.autocast("cpu", dtype, enabled=not around):
            return functional.mse_loss(model(batch[0]).float(), batch[1])

    plain = find_lr(model, functional.mse_loss, rows(), optimizer=made)
    with torch.autocast("cpu", dtype, enabled=around):
        found = find_lr(model, loss, rows(), optimizer=made, loss_takes="model", scaler=scaler)
    assert 1 / 3 < found.suggestion / plain.suggestion < 3
    assert scaler.state_dict() == before


def test_most_repeats_lost_is_where_it_diverges():
    losing = iter(2 * [*range(70), *(5 * ["lost"])] + 200 * [0])

    def breaks(model, batch):
        return model.loss(batch) * (math.nan if next(losing) == "lost" else 1.0)

    found = find_lr(Bowl(1.0), breaks, [None], loss_takes="model", repeats=3, low=1e-5, high=1e-1)
    assert found.diverges_at == found.lrs[70]
    assert len(found.smoothed) == 70


def test_a_loss_that_never_falls_suggests_nothing_and_says_so():
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(512, 4, generator=generator), torch.randn(512, 1, generator=generator)
    found = find_lr(nn.Linear(4, 1), functional.mse_loss, DataLoader(TensorDataset(x, y), 8), low=1e-9, high=1e-7)
    with pytest.raises(ValueError, match=r"^the loss fell at no learning rate from 1e-9 to 1e-7: give more steps or a"):
        _ = found.suggestion
    assert found.losses.shape == (3, 100)


def test_a_loss_that_is_lost_at_once_says_so():
    found = find_lr(Bowl(1.0), lambda model, batch: model.loss(batch) * math.nan, [None], loss_takes="model")
    with pytest.raises(ValueError, match=r"^the loss diverged at a learning rate of 1e-7 already: give a lower low,"):
        _ = found.suggestion
    assert math.isnan(found.lowest_loss_lr)


def test_a_loss_that_still_falls_at_the_end_is_noted():
    found = find_lr(Bowl(1.0), bowl_loss, [None], loss_takes="model", low=1e-5, high=1e-2)
    assert found.note == "the loss was still falling at 0.01: give a higher high"


def test_who_follows_the_advice_gets_a_suggestion():
    steep = Bowl(1e9)

    def found(model, **options):
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        return find_lr(model, bowl_loss, [None], optimizer=optimizer, loss_takes="model", repeats=1, **options)

    assert "give a lower low" in found(steep).problem
    assert found(steep, low=1e-14).problem == ""
    assert found(Bowl(1.0), high=1e-2).note.endswith("give a higher high")
    assert found(Bowl(1.0), high=10.0).note == ""


def test_a_loss_below_zero_can_be_tested():
    model = Bowl(1.0)
    found = find_lr(model, lambda model, batch: model.loss(batch) - 7.0, [None], loss_takes="model")
    assert found.suggestion == pytest.approx(find_lr(model, bowl_loss, [None], loss_takes="model").suggestion, rel=0.2)


@pytest.mark.parametrize("warm_up", [False, True])
def test_groups_keep_the_ratios_of_their_learning_rates(warm_up):
    model, seen = network(), []
    groups = [{"params": model[0].parameters(), "lr": 0.01}, {"params": model[4].parameters(), "lr": 0.1}]
    optimizer = torch.optim.Adam(groups)
    if warm_up:
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0)
        assert [group["lr"] for group in optimizer.param_groups] == [0.0, 0.0]
    optimizer.register_step_pre_hook(lambda opt, *_: seen.append([group["lr"] for group in opt.param_groups]))
    found = find_lr(model, functional.mse_loss, DataLoader(data(), 16), optimizer=optimizer, steps=20, repeats=1)
    ratios, tops = [low / high for low, high in seen], [high for _, high in seen]
    assert ratios == pytest.approx([0.1] * len(ratios))
    assert tops == pytest.approx(list(found.lrs[: len(tops)]))


def test_calling_it_again_gives_the_same():
    model, rows = network(), data()
    loader = DataLoader(rows, 16, shuffle=True)
    first, second = (find_lr(model, functional.mse_loss, loader) for _ in range(2))
    assert (first.losses == second.losses).all()
    assert not (first.losses[0] == first.losses[1]).all()  # the repeats see other batches


def test_it_works_where_gradients_are_switched_off():
    with torch.no_grad():
        assert find_lr(network(), functional.mse_loss, DataLoader(data(), 16), steps=20).losses.shape == (3, 20)
        assert not torch.is_grad_enabled()


def test_batches_of_any_kind_can_be_taken_by_the_loss():
    batches = [{"x": x, "y": y} for x, y in DataLoader(data(), 16)]

    def loss(model, batch):
        return functional.mse_loss(model(batch["x"]), batch["y"])

    found = find_lr(network(), loss, batches, loss_takes="model")
    pairs = find_lr(network(), functional.mse_loss, [(one["x"], one["y"]) for one in batches])
    assert found.losses.shape == pairs.losses.shape
    assert found.suggestion == pytest.approx(pairs.suggestion, rel=0.5)


def test_each_step_is_told():
    told = []
    find_lr(Bowl(1.0), bowl_loss, [None], loss_takes="model", steps=20, repeats=2, high=0.1, on_step=told.append)
    assert told == list(range(1, 41))


def test_the_rule_of_the_new_optimizer_can_be_chosen():
    # v₀ = 1 makes the first steps of this dialect far smaller than those from v₀ = 0.
    steep, damped = (
        find_lr(Bowl(1e-3), bowl_loss, [None], loss_takes="model", high=1e3, dialect=dialect).suggestion
        for dialect in ("torch", "tensorflow1")
    )
    assert damped > 30 * steep


LINEAR = nn.Linear(5, 1)
FROZEN = nn.Linear(5, 1).requires_grad_(False)
PAIRS = [(torch.ones(2, 5), torch.ones(2, 1))]
MSE = functional.mse_loss
BAD = {
    "no module": ((lambda x: x, MSE, PAIRS), {}, TypeError, "model is a function: give a torch.nn.Module"),
    "frozen": (
        (FROZEN, MSE, PAIRS),
        {},
        ValueError,
        "the model has nothing to train: none of its parameters has requires_grad=True",
    ),
    "no parameters": (
        (nn.ReLU(), MSE, PAIRS),
        {},
        ValueError,
        "the model has nothing to train: none of its parameters has requires_grad=True",
    ),
    "lazy": (
        (nn.LazyLinear(1), MSE, PAIRS),
        {},
        ValueError,
        "the model has lazy layers, which have no parameters yet: run one batch through it first",
    ),
    "generator": (
        (LINEAR, MSE, (pair for pair in PAIRS)),
        {},
        TypeError,
        "the loader is a generator, which can be gone through only once: give a DataLoader or a list of batches",
    ),
    "no loader": ((LINEAR, MSE, 3), {}, TypeError, "the loader is a int: give a DataLoader or a list of batches"),
    "empty": (
        (LINEAR, MSE, []),
        {},
        ValueError,
        "the loader is empty: it must give at least one batch each time it is gone through",
    ),
    "no pair": (
        (LINEAR, MSE, [{"x": 1}]),
        {},
        TypeError,
        "the loader's batch is a dict and not a pair of inputs and targets: "
        'give a loss(model, batch) and loss_takes="model"',
    ),
    "three": (
        (LINEAR, MSE, [(1, 2, 3)]),
        {},
        TypeError,
        "the loader's batch is a tuple of 3 and not a pair of inputs and targets: "
        'give a loss(model, batch) and loss_takes="model"',
    ),
    "not a tensor": (
        (LINEAR, lambda *_: 1.0, PAIRS),
        {},
        TypeError,
        "the loss returned a float: it must return a tensor with one element",
    ),
    "not a scalar": (
        (LINEAR, lambda outputs, _: outputs, PAIRS),
        {},
        ValueError,
        "the loss has the shape (2, 1): it must be a scalar, such as a mean",
    ),
    "detached": (
        (LINEAR, lambda outputs, _: outputs.sum().detach(), PAIRS),
        {},
        ValueError,
        "the loss doesn't depend on a parameter that requires a gradient: was it detached?",
    ),
    "range": (
        (LINEAR, MSE, PAIRS),
        {"low": 1.0, "high": 0.1},
        ValueError,
        "low is 1.0 and high is 0.1: give 0 < low < high",
    ),
    "zero": ((LINEAR, MSE, PAIRS), {"low": 0.0}, ValueError, "low is 0.0 and high is 10.0: give 0 < low < high"),
    "steps": ((LINEAR, MSE, PAIRS), {"steps": 5}, ValueError, "steps is 5: give at least 20"),
    "repeats": ((LINEAR, MSE, PAIRS), {"repeats": 0}, ValueError, "repeats is 0: give at least 1"),
    "takes": (
        (LINEAR, MSE, PAIRS),
        {"loss_takes": "batch"},
        ValueError,
        "loss_takes is 'batch': give 'outputs' or 'model'",
    ),
    "no optimizer": (
        (LINEAR, MSE, PAIRS),
        {"optimizer": "adam"},
        TypeError,
        "optimizer is a str: give a torch.optim.Optimizer, or None",
    ),
    "another's optimizer": (
        (LINEAR, MSE, PAIRS),
        {"optimizer": RMSprop(nn.Linear(1, 1).parameters())},
        ValueError,
        "the optimizer holds none of the model's parameters: make it from model.parameters()",
    ),
    "optimizer and rule": (
        (LINEAR, MSE, PAIRS),
        {"optimizer": RMSprop(LINEAR.parameters()), "alpha": 0.9},
        TypeError,
        "alpha would make a new RMSprop, and an optimizer is given: leave one of them out",
    ),
    "line search": (
        (LINEAR, MSE, PAIRS),
        {"optimizer": torch.optim.LBFGS(LINEAR.parameters())},
        ValueError,
        "optimizer is LBFGS, which searches its own step lengths: give one that steps once per batch",
    ),
    "a class": (
        (LINEAR, nn.MSELoss, PAIRS),
        {},
        TypeError,
        "loss is the class MSELoss: give one that is made, MSELoss()",
    ),
    "a name": (
        (LINEAR, "mse", PAIRS),
        {},
        TypeError,
        "loss is a str: give a function or a module that returns a loss",
    ),
    "no accumulation": ((LINEAR, MSE, PAIRS), {"accumulate": 0}, ValueError, "accumulate is 0: give at least 1"),
    "no scaler": (
        (LINEAR, MSE, PAIRS),
        {"scaler": 128.0},
        TypeError,
        "scaler is a float: give a torch.amp.GradScaler, or None",
    ),
    "half a repeat": ((LINEAR, MSE, PAIRS), {"repeats": 1.5}, TypeError, "repeats is 1.5: give a whole number"),
    "unknown option": ((LINEAR, MSE, PAIRS), {"beta": 1}, TypeError, None),
    "unknown dialect": ((LINEAR, MSE, PAIRS), {"dialect": "tf3"}, ValueError, None),
}


@pytest.mark.parametrize(("arguments", "options", "error", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_used_is_said_in_one_sentence(arguments, options, error, message):
    with pytest.raises(error) as raised:
        find_lr(*arguments, **options)
    if message:
        assert str(raised.value) == message


def test_a_generator_is_not_touched():
    generator = iter(PAIRS)
    with pytest.raises(TypeError, match="gone through only once"):
        find_lr(LINEAR, MSE, generator)
    assert next(generator) is PAIRS[0]


def test_the_value_comes_without_a_plot_and_the_plot_when_it_is_asked_for(tmp_path):
    found = find_lr(network(), MSE, DataLoader(data(), 16))
    figure = found.plot()
    axes = figure.axes[0]
    assert axes.get_xlabel() == "learning rate"
    assert any(f"{found.suggestion:.2g}" in text.get_text() for text in axes.get_legend().get_texts())
    figure.savefig(tmp_path / "lr.png")
    assert (tmp_path / "lr.png").stat().st_size > 5000


def test_a_suggestion_trains_better_than_a_hundredth_and_a_hundred_times_of_it():
    from rmsprop.lab.problems import load

    problem = load("digits")
    model = problem.model(0)
    loader = DataLoader(TensorDataset(problem.train.x, problem.train.y), 32, shuffle=True)
    found = find_lr(model, functional.cross_entropy, loader).suggestion

    def after_three_epochs(lr):
        copied = copy.deepcopy(model)
        optimizer = RMSprop(copied.parameters(), lr=lr)
        for _ in range(3):
            for x, y in loader:
                optimizer.zero_grad()
                functional.cross_entropy(copied(x), y).backward()
                optimizer.step()
        return problem.evaluate(copied, problem.validation)[0]

    there, low, high = (after_three_epochs(found * factor) for factor in (1.0, 0.01, 100.0))
    assert 2 * there < low
    assert 2 * there < high
