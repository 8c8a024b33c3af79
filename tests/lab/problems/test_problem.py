import dataclasses

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, stack_module_state, vmap

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems import Data, Metric, load
from rmsprop.lab.problems.defaults import PROBLEMS
from rmsprop.lab.problems.problem import predict
from rmsprop.lab.problems.table.tabular import build


def test_a_model_depends_on_the_seed_alone_and_leaves_the_random_state():
    problem = load("wine")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = problem.model(1).output.weight
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert torch.equal(first, problem.model(1).output.weight)
    assert not torch.equal(first, problem.model(2).output.weight)


def test_prediction_goes_through_all_rows_in_order(monkeypatch):
    monkeypatch.setattr("rmsprop.lab.problems.problem._CHUNK", 7)
    model, x = build(3, [4], 2), torch.randn(50, 3)
    torch.testing.assert_close(predict(model, x), model(x))


def test_the_objective_is_the_loss_and_half_of_l2_times_the_squared_parameters():
    problem = load("wine")
    model = problem.model(0)
    loss, accuracy = problem.evaluate(model, problem.train)
    squares = sum(parameter.square().sum().item() for parameter in model.parameters())
    penalised = dataclasses.replace(problem, l2=0.5).evaluate(model, problem.train)
    assert penalised == (pytest.approx(loss + 0.25 * squares, rel=1e-6), accuracy)


def test_the_fingerprint_is_that_of_the_data():
    problem = load("wine")
    assert problem.fingerprint() == load("wine", model="mlp").fingerprint()
    changed = problem.test.x.clone()
    changed[-1, -1] += 1e-3
    for test in (Data(changed, problem.test.y), Data(problem.test.x.double(), problem.test.y)):
        assert dataclasses.replace(problem, test=test).fingerprint() != problem.fingerprint()


def one_step(problem, parameters, model, rows):
    """The gradient of the objective on some rows, which an optimizer would follow."""

    def objective(parameters, x, y):
        return problem.objective(parameters.values(), functional_call(model, parameters, (x,)), y)

    return grad(objective)(parameters, problem.train.x[rows], problem.train.y[rows])


@pytest.mark.parametrize("name", PROBLEMS)
def test_two_stacked_models_have_the_gradients_and_scores_of_each(name):
    problem = load(name)
    models = [problem.model(seed) for seed in (0, 1)]
    stacked, _ = stack_module_state(models)
    count = min(8, len(problem.train))
    rows = torch.stack([torch.arange(count), torch.arange(len(problem.train) - count, len(problem.train))])
    together = vmap(lambda parameters, rows: one_step(problem, parameters, models[0], rows))(stacked, rows)
    outputs = vmap(lambda parameters: functional_call(models[0], parameters, (problem.validation.x,)))(stacked)
    scores = vmap(lambda outputs: problem.metric.of(outputs, problem.validation.y))(outputs)
    for index, model in enumerate(models):
        alone = dict(model.named_parameters())
        expected = torch.autograd.grad(
            problem.objective(alone.values(), model(problem.train.x[rows[index]]), problem.train.y[rows[index]]),
            list(alone.values()),
        )
        for parameter, gradient in zip(alone, expected, strict=True):
            # The same sums in another order: a few units in the last place of the largest addend, through 32 steps.
            torch.testing.assert_close(together[parameter][index], gradient, rtol=1e-4, atol=1e-6)
        assert scores[index].item() == pytest.approx(problem.evaluate(model, problem.validation)[1], rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "problem wine: epochs is 0: it must be a whole number from 1"),
        ({"batch_size": 2.0}, "problem wine: batch_size is 2.0"),
        ({"l2": -1.0}, "problem wine: l2 is -1.0"),
        ({"l2": float("nan")}, "problem wine: l2 is nan"),
        ({"test": Data(torch.ones(3, 2), torch.ones(4))}, "problem wine: test has x and y of shapes (3, 2) and (4,)"),
        ({"train": Data(torch.ones(0, 2), torch.ones(0))}, "problem wine: train has no rows"),
        ({"train": Data(torch.tensor(1.0), torch.ones(1))}, "both must have one row per example"),
        ({"train": Data([1.0], torch.ones(1))}, "problem wine: train must be Data(x, y) of two torch tensors"),
        ({"train": torch.ones(3)}, "problem wine: train must be Data(x, y) of two torch tensors"),
        (
            {"train": Data(torch.ones(3, 13, requires_grad=True), torch.ones(3))},
            "problem wine: train holds tensors that require a gradient: detach() them",
        ),
        ({"optimum": float("nan")}, "problem wine: optimum is nan: it must be a finite number, or None"),
        ({"optimum": "0"}, "problem wine: optimum is '0'"),
        ({"metric": len}, "problem wine: metric is <built-in function len>: it must be a Metric(name, unit, ...)"),
        ({"name": 3}, "a problem's name is 3: it must be a text"),
    ],
)
def test_a_problem_with_bad_numbers_or_data_is_refused(change, message):
    with pytest.raises(InputError) as caught:
        dataclasses.replace(load("wine"), **change)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["", "a,b", "two\nlines", 'a "quote"', None])
def test_a_metric_whose_name_no_column_can_have_is_refused(name):
    with pytest.raises(InputError, match="it must be a text that can name a column of a CSV file"):
        Metric(name, "", higher_is_better=True, of=len)


def test_a_model_may_have_parameters_without_a_module():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(13, 3))

        def forward(self, x):
            return x @ self.weight

    problem = dataclasses.replace(load("wine"), make_model=Bare)
    assert problem.evaluate(problem.model(0), problem.train)[0] == pytest.approx(torch.tensor(3.0).log().item())
