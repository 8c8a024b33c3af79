import dataclasses
import math

import pytest
import torch

from rmsprop import DIALECTS
from rmsprop.lab.problems import load
from rmsprop.lab.problems.conventions import row_order
from rmsprop.lab.train.settings import resolve
from rmsprop.lab.train.training import Divergence, Training
from rmsprop.torch import RMSprop


def run(epochs=3, problem="wine", **given):
    settings = resolve({"problem": problem, "epochs": epochs, **given})
    training = Training(load(problem), settings)
    return training, [training.run_epoch() for _ in range(epochs)]


def test_a_run_depends_on_the_settings_alone():
    torch.manual_seed(1)
    _, first = run()
    torch.rand(7)
    before = torch.get_rng_state()
    _, second = run()
    assert first == second
    assert torch.equal(torch.get_rng_state(), before)
    assert run(seed=1)[1] != first


def test_every_epoch_goes_through_every_row_in_another_order():
    training, _ = run(problem="linear", batch_size=50)
    orders = []
    for _ in range(2):
        batches = list(training._batches())
        assert [len(rows) for rows in batches] == [50, 50, 20]
        orders.append(torch.cat(batches))
        training.epoch += 1
    assert all(sorted(order.tolist()) == list(range(120)) for order in orders)
    assert not torch.equal(*orders)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"momentum": 0.9},
        {"centered": True},
        {"momentum": 0.9, "centered": True, "nesterov": True, "lr_in_momentum": False},
        {"eps": 1e-3, "eps_inside_sqrt": True, "initial_square_avg": 0.5},
        {"bias_correction": True, "momentum": 0.0},
    ],
)
def test_it_is_the_textbook_loop(dialect, given):
    training, epochs = run(epochs=2, problem="linear", schedule="constant", dialect=dialect, **given)
    problem = training.problem
    model = problem.model(0)
    optimizer = RMSprop(model.parameters(), lr=0.01, dialect=dialect, weight_decay=0.0, **given)
    for epoch in range(2):
        training.epoch = epoch
        for rows in training._batches():
            optimizer.zero_grad()
            problem.loss(model(problem.train.x[rows]), problem.train.y[rows]).backward()
            optimizer.step()
        assert problem.evaluate(model, problem.train)[0] == epochs[epoch].train_loss


@pytest.mark.parametrize(
    ("dialect", "centered", "denominator"),
    [
        ("torch", False, lambda v, eps: v.sqrt() + eps),
        ("keras", False, lambda v, eps: (v + eps).sqrt()),
        ("torch", True, lambda v, eps: v.sqrt() + eps),
    ],
)
def test_the_effective_step_is_lr_over_the_denominator(dialect, centered, denominator):
    training, epochs = run(problem="digits", dialect=dialect, centered=centered, eps=0.01, schedule="step", step_size=1)
    steps = epochs[-1].effective_step
    assert list(steps) == ["hidden1", "output"]
    parameters = list(training.model.output.parameters())
    name = "grad_var" if centered else "square_avg"
    v = torch.cat([training.optimizer.state[p][name].flatten() for p in parameters])
    expected = (epochs[-1].lr / denominator(v, 0.01)).quantile(torch.tensor([0.1, 0.5, 0.9]))
    assert steps["output"] == pytest.approx(expected.tolist(), rel=1e-5)


def test_quantiles_of_a_large_layer_come_from_a_sample(monkeypatch):
    _, exact = run(epochs=1, problem="digits")
    monkeypatch.setattr("rmsprop.lab.train.effective._SAMPLE", 1000)
    _, sampled = run(epochs=1, problem="digits")
    whole, part = exact[0].effective_step["hidden1"], sampled[0].effective_step["hidden1"]
    assert whole != part
    assert part[1] == pytest.approx(whole[1], rel=0.2)


@pytest.mark.parametrize(("lr", "finite"), [(3.0, True), (1e30, False)])
def test_a_lost_run_stops_at_the_step_where_it_is_seen(lr, finite):
    settings = resolve({"problem": "linear", "lr": lr})
    training = Training(load("linear"), settings)
    with pytest.raises(Divergence) as lost:
        training.run_epoch()
    assert lost.value.step == training.step == 2
    assert math.isfinite(lost.value.loss) == finite


def test_a_run_lost_in_the_last_step_of_an_epoch_is_seen():
    settings = resolve({"problem": "linear", "lr": 3.0, "batch_size": 1000})
    training = Training(load("linear"), settings)
    with pytest.raises(Divergence) as lost:
        training.run_epoch()
    assert lost.value.step == 1


def test_a_batch_of_outliers_is_no_divergence():
    settings = resolve({"problem": "linear", "batch_size": 1, "epochs": 1})
    problem = load("linear")
    y = problem.train.y.clone()
    y[0] = 300.0  # alone above ten times the mean of all
    outlier = dataclasses.replace(problem, train=dataclasses.replace(problem.train, y=y))
    epoch = Training(outlier, settings).run_epoch()
    assert epoch.worst_step_loss > 10 * Training(outlier, settings).initial_loss


def test_what_is_minimised_is_the_objective_with_its_penalty():
    problem = dataclasses.replace(load("logistic"), l2=10.0)
    settings = resolve({"problem": "logistic", "epochs": 1, "schedule": "constant"})
    training = Training(problem, settings)
    training.run_epoch()
    model = problem.model(0)
    optimizer = RMSprop(model.parameters(), lr=settings.lr)
    for rows in row_order(0, 1, len(problem.train)).split(settings.batch_size):
        optimizer.zero_grad()
        loss = problem.loss(model(problem.train.x[rows]), problem.train.y[rows])
        (loss + 5.0 * (model.weight.square().sum() + model.bias.square().sum())).backward()
        optimizer.step()
    torch.testing.assert_close(training.model.weight, model.weight, rtol=1e-9, atol=0.0)
