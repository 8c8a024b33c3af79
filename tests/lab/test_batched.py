"""Runs trained together are those that a plain loop with torch's own classes makes, one by one."""

import dataclasses
import math
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import rmsprop.torch
from rmsprop.dialects import DIALECTS
from rmsprop.lab.batched import Job, train_together
from rmsprop.lab.compare.cache import identity
from rmsprop.lab.compare.timing import seconds_per_step
from rmsprop.lab.embeddings import check_optimizers
from rmsprop.lab.errors import InputError
from rmsprop.lab.held_out import HeldOut
from rmsprop.lab.optimizers import OPTIMIZERS, bare, choose, row
from rmsprop.lab.problems import Data, Metric, Problem, check

EPOCHS = 8  # stochastic weight averaging takes the last two

# What each optimizer is without the lab. RMSProp in torch's dialect is torch's own.
PLAIN = {
    "sgd": lambda p, lr: torch.optim.SGD(p, lr=lr),
    "momentum": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9),
    "nesterov": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9, nesterov=True),
    "adagrad": lambda p, lr: torch.optim.Adagrad(p, lr=lr),
    "adadelta": lambda p, lr: torch.optim.Adadelta(p, lr=lr),
    "adam": lambda p, lr: torch.optim.Adam(p, lr=lr),
    "rmsprop": lambda p, lr: torch.optim.RMSprop(p, lr=lr),
    "rmsprop-momentum": lambda p, lr: torch.optim.RMSprop(p, lr=lr, momentum=0.9),
}
PLAIN["rmsprop-sf"] = lambda p, lr: rmsprop.torch.ScheduleFreeRMSprop(p, lr=lr)
CORRECTED, AVERAGED = {"bias_correction": True}, {"momentum": 0.9, "averaged_momentum": True}
PLAIN |= {
    f"rmsprop-{name}": lambda p, lr, options=options: rmsprop.torch.RMSprop(p, lr=lr, **options)
    for name, options in {
        "bias-correction": CORRECTED,
        "averaged-momentum": AVERAGED,
        "corrected-momentum": {**AVERAGED, **CORRECTED},
        "laprop": {"alpha": 0.999, **AVERAGED, **CORRECTED},
    }.items()
}
for dialect in DIALECTS:
    PLAIN[f"rmsprop-{dialect}"] = lambda p, lr, dialect=dialect: rmsprop.torch.RMSprop(p, lr=lr, dialect=dialect)
PLAIN["rmsprop-hd"] = lambda p, lr: rmsprop.torch.HypergradientDescent(rmsprop.torch.RMSprop(p, lr=lr)).optimizer
PLAIN["rmsprop-marthe"] = lambda p, lr: rmsprop.torch.Marthe(rmsprop.torch.RMSprop(p, lr=lr)).optimizer
PLAIN["rmsprop-sparse"] = lambda p, lr: rmsprop.torch.RMSprop(p, lr=lr)
PLAIN["rmsprop-lazy"] = lambda p, lr: rmsprop.torch.RMSprop(p, lr=lr, sparse="lazy")
PLAIN["rmsprop-rowwise"] = lambda p, lr: rmsprop.torch.RMSprop(p, lr=lr, sparse="rowwise")
PLAIN["sparse-adam"] = lambda p, lr: torch.optim.SparseAdam(p, lr=lr)
DENSE = [name for name in OPTIMIZERS if row(name).dense]
NAMES = [*DENSE, "adam+swa", "rmsprop+swa", "sgd+swa", "adam+ema", "rmsprop+ema"]


def flowers(dtype=torch.float64, seed=0, **changes):
    """A small problem of three classes with a hidden layer, a penalty, and a last batch that isn't full."""
    random = torch.Generator().manual_seed(seed)
    y = torch.arange(70) % 3
    x = torch.randn(70, 5, generator=random).double() + torch.eye(3, 5)[y]
    parts = [Data(x[a:b].to(dtype), y[a:b]) for a, b in ((0, 44), (44, 58), (58, 70))]
    accuracy = Metric("accuracy", "", True, lambda outputs, targets: (outputs.argmax(-1) == targets).double().mean())
    problem = Problem(
        name="flowers",
        make_model=lambda: nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).to(dtype),
        loss=functional.cross_entropy,
        loss_name="cross-entropy",
        metric=accuracy,
        train=parts[0],
        validation=parts[1],
        test=parts[2],
        batch_size=16,
        l2=1e-2,
    )
    return dataclasses.replace(problem, **changes)


def follow(problem, model, tuner, held_out, rows):
    """A step of MARTHE, on what of a batch is not held out."""
    losses = [
        problem.objective(model.parameters(), model(problem.train.x[some]), problem.train.y[some])
        for some in held_out.of(rows, tuner.gradients)
    ]
    tuner.step(*losses)


def by_hand(problem, job, epochs):
    """What `train_together` is to give, by a loop as a person writes it."""
    model = problem.model(job.seed)
    optimizer = PLAIN[bare(job.choice.name)](model.parameters(), job.choice.lr)
    # Half of an old step is forgotten in 5 % of the steps, and at least one.
    steps = epochs * math.ceil(len(problem.train) / problem.batch_size)
    ema = get_ema_multi_avg_fn(float(f"{2 ** (-1 / max(0.05 * steps, 1.0)):.6g}"))
    average = AveragedModel(model, multi_avg_fn=ema if job.choice.average == "ema" else None)
    judged = model
    shown = nullcontext
    if job.choice.name == "rmsprop-sf":
        optimizer.train()
        shown = optimizer.evaluating
    held_out = HeldOut(len(problem.train), problem.batch_size)
    history = [(*problem.evaluate(model, problem.train), *problem.evaluate(model, problem.validation))]
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(problem.train), generator=torch.Generator().manual_seed((job.seed << 24) + epoch))
        for rows in order.split(problem.batch_size):
            if row(job.choice.name).holds_out:
                follow(problem, model, optimizer.tuner, held_out, rows)
                continue
            optimizer.zero_grad()
            outputs = model(problem.train.x[rows])
            problem.objective(model.parameters(), outputs, problem.train.y[rows]).backward()
            optimizer.step()
            if job.choice.average == "ema":
                average.update_parameters(model)
                judged = average.module
        if job.choice.average == "swa" and epoch > min(0.75 * epochs, epochs - 2):
            average.update_parameters(model)
            judged = average.module
        with shown():
            history.append((*problem.evaluate(judged, problem.train), *problem.evaluate(judged, problem.validation)))
    train, _, validation, metric = np.array(history).T
    with shown():
        return train, validation, metric, *problem.evaluate(judged, problem.test)


def jobs_of(names, seeds=(0, 1)):
    rates = {name: math.sqrt(row(name).space["lr"].low * row(name).space["lr"].high) for name in names}
    return [Job(choice=choose(name, lr=rate), seed=seed) for seed in seeds for name, rate in rates.items()]


@pytest.fixture(scope="module")
def together():
    """Every optimizer on two seeds, in float64, in one computation."""
    jobs = jobs_of(NAMES)
    return dict(zip(jobs, train_together(flowers(), jobs, epochs=EPOCHS, test=True), strict=True))


@pytest.mark.parametrize("job", jobs_of(NAMES), ids=lambda job: f"{job.choice.name}, seed {job.seed}")
def test_a_run_among_many_is_the_run_of_a_plain_loop(together, job):
    curve = together[job]
    train, validation, metric, test, test_metric = by_hand(flowers(), job, EPOCHS)
    # Both round alike up to the order of sums: a few ULPs of 2e-16, which 24 steps amplify.
    np.testing.assert_allclose(curve.train, train, rtol=1e-9)
    np.testing.assert_allclose(curve.validation, validation, rtol=1e-9)
    np.testing.assert_array_equal(curve.metric, metric)
    assert curve.test == pytest.approx(test, rel=1e-9)
    assert curve.test_metric == test_metric
    assert (curve.epochs, curve.steps_per_epoch, curve.diverged_at) == (EPOCHS, 3, None)
    assert train[-1] < train[0]


@pytest.mark.parametrize("name", NAMES)
def test_so_it_is_in_float32(name):
    job = jobs_of([name], seeds=[3])[0]
    others = jobs_of(["adam", "sgd", name], seeds=[3, 4])
    curve = train_together(flowers(torch.float32), [*others, job], epochs=4)[-1]
    # 12 steps of 6e-8 relative error each in the gradient, which a division by a small √v may amplify a hundredfold.
    np.testing.assert_allclose(curve.train, by_hand(flowers(torch.float32), job, 4)[0], rtol=12 * 100 * 6e-8)


def test_it_does_not_matter_who_is_trained_along(together):
    jobs = jobs_of(NAMES)
    for job in jobs[::5]:
        alone = train_together(flowers(), [job], epochs=EPOCHS, test=True)[0]
        np.testing.assert_allclose(alone.train, together[job].train, rtol=1e-9)


def test_equal_calls_give_equal_bits(together):
    again = train_together(flowers(), jobs_of(NAMES), epochs=EPOCHS, test=True)
    for curve, other in zip(together.values(), again, strict=True):
        np.testing.assert_array_equal(curve.train, other.train)


def test_many_models_take_several_computations_and_give_the_same(together, monkeypatch):
    monkeypatch.setattr("rmsprop.lab.model_stack._MOST_BYTES", 10_000)
    jobs = jobs_of(NAMES)[:7]
    for job, curve in zip(jobs, train_together(flowers(), jobs, epochs=EPOCHS, test=True), strict=True):
        np.testing.assert_allclose(curve.train, together[job].train, rtol=1e-9)
        assert curve.test == pytest.approx(together[job].test, rel=1e-9)


def test_jobs_may_come_in_any_order_and_twice():
    jobs = jobs_of(["sgd", "adam", "rmsprop"])
    mixed = [jobs[i] for i in (4, 0, 4, 2, 5)]
    curves = train_together(flowers(), mixed, epochs=2)
    for job, curve in zip(mixed, curves, strict=True):
        np.testing.assert_allclose(curve.train, by_hand(flowers(), job, 2)[0], rtol=1e-9)
    assert train_together(flowers(), []) == []


def test_equal_learning_rates_with_other_options_stay_apart():
    near, far = (Job(choice=choose("momentum", lr=0.01, momentum=mu), seed=0) for mu in (0.5, 0.9))
    both = train_together(flowers(), [far, near], epochs=2)
    for curve, job in zip(both, (far, near), strict=True):
        np.testing.assert_array_equal(curve.train, train_together(flowers(), [job], epochs=2)[0].train)
    np.testing.assert_allclose(both[0].train, by_hand(flowers(), far, 2)[0], rtol=1e-9)
    assert both[0].train[-1] < both[1].train[-1]


def test_within_a_seed_all_begin_alike():
    curves = train_together(flowers(), jobs_of(DENSE), epochs=1)
    starts = {curve.train[0] for curve in curves}
    assert len(starts) == 2


@pytest.mark.parametrize("rate", [30.0, 1e300])
def test_a_run_that_diverges_is_infinite_from_then_on_and_others_do_not_notice(rate):
    steep = flowers(l2=1.0)
    healthy = jobs_of(["sgd", "momentum", "adam"])
    lost = Job(choice=choose("sgd", lr=rate), seed=0)
    without = train_together(steep, healthy, epochs=3, test=True)
    curve, *others = train_together(steep, [lost, *healthy], epochs=3, test=True)
    assert curve.diverged_at in (2, 3)
    assert np.isfinite(curve.train[0])
    assert (curve.train[1:] == np.inf).all()
    assert (curve.validation[1:] == np.inf).all()
    assert (curve.metric[1:] == -np.inf).all()
    assert (curve.test, curve.test_metric) == (np.inf, -np.inf)
    for one, other in zip(without, others, strict=True):
        np.testing.assert_allclose(one.train, other.train, rtol=1e-12)
        assert other.diverged_at is None


def test_a_metric_that_should_fall_is_spoiled_upwards():
    problem = flowers(l2=1.0)
    error = dataclasses.replace(problem.metric, higher_is_better=False)
    lost = Job(choice=choose("sgd", lr=1e300), seed=0)
    curve = train_together(dataclasses.replace(problem, metric=error), [lost], epochs=2)[0]
    assert curve.metric[-1] == np.inf
    assert math.isnan(curve.test)


def test_a_batch_of_outliers_is_no_divergence():
    plain = flowers(loss=lambda outputs, targets: (outputs[:, 0] - targets).square().mean(), l2=0.0, batch_size=1)
    y = plain.train.y.double()
    y[0] = 60.0  # alone above ten times the mean of all
    problem = dataclasses.replace(plain, train=Data(plain.train.x, y))
    curve = train_together(problem, [Job(choice=choose("sgd", lr=1e-5), seed=0)], epochs=2)[0]
    assert curve.diverged_at is None
    assert 10 * curve.train[0] < 60**2


class Shifted(nn.Module):
    """A model with a buffer that differs from seed to seed."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))
        self.register_buffer("shift", torch.randn(5))

    def forward(self, x):
        return self.layers(x + self.shift)


def test_what_is_not_learnt_stays():
    def make_model():
        model = Shifted().double()
        model.layers[0].weight.requires_grad_(False)
        return model

    problem = flowers(make_model=make_model)
    jobs = jobs_of(["adam"], seeds=[0, 1])
    for job, curve in zip(jobs, train_together(problem, jobs, epochs=3), strict=True):
        np.testing.assert_allclose(curve.train, by_hand(problem, job, 3)[0], rtol=1e-9)


def test_random_state_and_threads_are_left_alone():
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    train_together(flowers(), jobs_of(["adam"]), epochs=1)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def test_epochs_are_told():
    told = []
    train_together(flowers(), jobs_of(["sgd"]), epochs=3, on_epoch=told.append)
    assert told == [1, 2, 3]


@pytest.mark.parametrize("given", [{"epochs": 0}, {"batch_size": 0}])
def test_there_must_be_an_epoch_and_a_row(given):
    with pytest.raises(ValueError, match="both must be at least 1"):
        train_together(flowers(), jobs_of(["sgd"]), **given)


def test_a_loss_that_cannot_be_stacked_is_one_sentence():
    problem = flowers(loss=lambda outputs, targets: functional.cross_entropy(outputs, targets) * outputs.sum().item())
    with pytest.raises(InputError, match=r"^problem flowers can't be trained many at once \(.*\): make its model"):
        train_together(problem, jobs_of(["sgd"]))


def test_a_step_that_holds_out_its_whole_batch_is_none():
    # Of 20 rows, one at a time, four are held out: 16 steps change the weights, four don't.
    small = flowers(train=Data(flowers().train.x[:20], flowers().train.y[:20]), batch_size=1)
    job = Job(choice=choose("rmsprop-marthe"), seed=0)
    model = small.model(0)
    tuner = PLAIN["rmsprop-marthe"](model.parameters(), job.choice.lr).tuner
    held_out = HeldOut(20, 1)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    for step, rows in enumerate(order.split(1)):
        trained, fitted = held_out.of(rows, step)
        if len(trained):
            objectives = (
                small.objective(model.parameters(), model(small.train.x[some]), small.train.y[some])
                for some in (trained, fitted)
            )
            tuner.step(*objectives)
    assert tuner.gradients == 16
    curve = train_together(small, [job], epochs=1)[0]
    assert curve.train[1] == pytest.approx(small.evaluate(model, small.train)[0], rel=1e-9)


@pytest.mark.parametrize(("rows", "trained", "fitted"), [(1, 1, 1), (9, 9, 9), (10, 8, 2), (100, 80, 20)])
def test_a_fifth_of_the_rows_is_held_out_where_there_are_enough(rows, trained, fitted):
    some, others = HeldOut(rows, 1000).of(torch.arange(rows), 0)
    assert (len(some), len(others)) == (trained, fitted)
    assert rows < 10 or not set(some.tolist()) & set(others.tolist())


def test_the_rows_held_out_take_turns():
    held_out = HeldOut(100, 8)
    seen = [set(held_out.of(torch.arange(100), step)[1].tolist()) for step in range(5)]
    assert set().union(*seen) == set(held_out.order.tolist())
    assert all(len(rows) == 8 for rows in seen)


def test_the_learning_rate_is_that_of_each_epoch():
    jobs = jobs_of(["rmsprop", "rmsprop-hd", "rmsprop-marthe"], seeds=[0])
    constant, *others = train_together(flowers(), jobs, epochs=3)
    np.testing.assert_array_equal(constant.lr, [jobs[0].choice.lr] * 4)
    for curve, job in zip(others, jobs[1:], strict=True):
        model = flowers().model(0)
        optimizer = PLAIN[job.choice.name](model.parameters(), job.choice.lr)
        assert curve.lr[0] == optimizer.param_groups[0]["lr"] == job.choice.lr
        assert len(set(curve.lr)) == 4


class Pairs(nn.Module):
    """How well two ids go together; the second part is frozen and has a buffer, which differ from seed to seed."""

    def __init__(self):
        super().__init__()
        self.ids, self.frozen = nn.Embedding(12, 3), nn.Embedding(12, 3).requires_grad_(False)
        self.register_buffer("weights", torch.rand(3))

    def forward(self, pairs):
        return ((self.ids(pairs[:, 0]) * self.weights + self.frozen(pairs[:, 1])) * self.ids(pairs[:, 1])).sum(dim=-1)


def pairs(**changes):
    """A small problem of embeddings, of whose ids a batch holds some, the last ones rarely."""
    random = torch.Generator().manual_seed(0)
    x = torch.multinomial(1 / torch.arange(1.0, 13.0), 140, replacement=True, generator=random).view(70, 2)
    y = torch.randn(70, generator=random).double()
    parts = [Data(x[a:b], y[a:b]) for a, b in ((0, 44), (44, 58), (58, 70))]
    own = {
        "name": "pairs",
        "make_model": lambda: Pairs().double(),
        "loss": functional.mse_loss,
        "metric": Metric("rmse", "", False, lambda outputs, targets: functional.mse_loss(outputs, targets).sqrt()),
        "train": parts[0],
        "validation": parts[1],
        "test": parts[2],
        "batch_size": 6,
        "l2": 0.0,
    }
    return flowers(**own | changes)


def sparse_pairs(**changes):
    """The same, as a person writes it who wants rows."""

    def model():
        made = Pairs().double()
        made.ids.sparse = True
        return made

    return pairs(make_model=model, **changes)


ON_ROWS = [*(name for name in OPTIMIZERS if row(name).sparse), "rmsprop-lazy+ema"]


@pytest.mark.parametrize("job", jobs_of(ON_ROWS), ids=lambda job: f"{job.choice.name}, seed {job.seed}")
def test_a_run_on_rows_is_the_run_of_a_plain_loop(job):
    curve = train_together(pairs(), [*jobs_of(["adam", "rmsprop"]), job], epochs=EPOCHS, test=True)[-1]
    train, validation, metric, test, test_metric = by_hand(sparse_pairs(), job, EPOCHS)
    np.testing.assert_allclose(curve.train, train, rtol=1e-9)
    np.testing.assert_allclose(curve.validation, validation, rtol=1e-9)
    np.testing.assert_allclose(curve.metric, metric, rtol=1e-9)
    assert (curve.test, curve.test_metric) == pytest.approx((test, test_metric), rel=1e-9)
    assert train[-1] < train[0]


def test_rows_are_dense_for_rmsprop_and_others_when_lazy():
    """Of 64 steps, each rounds an average once: a few ULPs of 2e-16, amplified as in any run."""
    jobs = [Job(choice=choose(name, lr=0.01), seed=0) for name in ("rmsprop", "rmsprop-sparse", "rmsprop-lazy")]
    dense, rows, lazy = (curve.train for curve in train_together(pairs(), jobs, epochs=EPOCHS))
    np.testing.assert_allclose(rows, dense, rtol=1e-9)
    assert not np.isclose(lazy[-1], dense[-1], rtol=1e-3)


def test_a_problem_with_rows_of_its_own_gives_every_optimizer_what_it_takes():
    jobs = jobs_of(["adam", "rmsprop", "sparse-adam"])
    check(sparse_pairs())
    for sparse, dense in zip(*(train_together(p, jobs, epochs=2) for p in (sparse_pairs(), pairs())), strict=True):
        np.testing.assert_array_equal(sparse.train, dense.train)
    assert all(seconds_per_step(sparse_pairs(), ["adam", "sparse-adam"], 6).values())
    assert identity(sparse_pairs(), 1, 6)["behaviour"] == identity(pairs(), 1, 6)["behaviour"]


def test_a_run_on_rows_that_diverges_stops_alone():
    wild, calm = (Job(choice=choose("rmsprop-lazy", lr=lr), seed=0) for lr in (1e3, 0.01))
    lost, kept = train_together(pairs(), [wild, calm], epochs=2)
    assert lost.diverged_at
    np.testing.assert_array_equal(kept.train, train_together(pairs(), [calm], epochs=2)[0].train)


@pytest.mark.parametrize(("problem", "parameter"), [(flowers(), "0.weight"), (pairs(l2=0.1), "ids.weight")])
def test_who_takes_rows_alone_is_refused_where_a_gradient_is_dense(problem, parameter):
    said = f"sparse-adam takes the rows of embeddings alone, and in problem {problem.name} the gradient of {parameter}"
    for call in (
        lambda: train_together(problem, jobs_of(["sparse-adam"]), epochs=1),
        lambda: seconds_per_step(problem, ["sparse-adam"], 6),
        lambda: check_optimizers(problem, ["sgd", "sparse-adam"]),
    ):
        with pytest.raises(InputError, match=said):
            call()


class GradientDescent:
    """Plain gradient descent on all models at once, as a stepper."""

    def __init__(self, flat, gradient):
        self.flat, self.gradient = flat, gradient

    def step(self):
        self.flat -= 0.5 * self.gradient


@pytest.mark.parametrize("average", ["", "+swa", "+ema"])
def test_a_stepper_takes_the_place_of_the_optimizers(average):
    sgd = [Job(choice=choose(f"sgd{average}", lr=0.5), seed=seed) for seed in (3, 1, 2)]
    meant = train_together(flowers(), sgd, epochs=EPOCHS)
    others = [Job(choice=choose(f"adam{average}"), seed=job.seed) for job in sgd]
    for found, curve in zip(
        train_together(flowers(), others, epochs=EPOCHS, stepper=GradientDescent), meant, strict=True
    ):
        np.testing.assert_allclose(found.validation, curve.validation, rtol=1e-12)
        assert len(set(found.validation)) > 2


def test_a_stepper_has_no_place_beside_different_choices():
    with pytest.raises(ValueError, match="different choices: give equal ones to a stepper"):
        train_together(flowers(), jobs_of(["sgd", "adam"], seeds=[0]), stepper=GradientDescent)
