import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression, LogisticRegression
from torch.nn.utils import vector_to_parameters

from rmsprop.lab.problems import load


def hessian_and_gradient(problem, weights):
    def objective(weights):
        inputs = torch.cat([problem.train.x, torch.ones(len(problem.train), 1, dtype=torch.float64)], dim=1)
        return problem.objective([weights], (inputs @ weights)[:, None], problem.train.y)

    return torch.autograd.functional.hessian(objective, weights), torch.func.grad(objective)(weights)


def objective_at(problem, weights):
    model = problem.model(0)
    vector_to_parameters(weights, model.parameters())
    return problem.evaluate(model, problem.train)[0]


def test_the_optimum_of_the_logistic_problem_is_the_published_one():
    problem = load("logistic")
    assert len(problem.train) == 569
    assert round(problem.optimum, 12) == 0.059829471882


def test_at_the_optimum_of_another_library_the_gradient_is_zero_and_the_condition_number_about_140():
    problem = load("logistic")
    x, y = problem.train.x.numpy(), problem.train.y.numpy().ravel()
    design = np.column_stack([x, np.ones(len(x))])  # so that the bias is penalised too
    strength = 1 / (problem.l2 * len(x))
    fitted = LogisticRegression(C=strength, fit_intercept=False, tol=1e-12, max_iter=10_000, solver="newton-cholesky")
    weights = torch.from_numpy(fitted.fit(design, y).coef_.ravel())
    hessian, gradient = hessian_and_gradient(problem, weights)
    assert gradient.norm() < 1e-10
    assert np.linalg.cond(hessian.numpy()) == pytest.approx(140, abs=0.5)
    assert objective_at(problem, weights) == pytest.approx(problem.optimum, abs=1e-15)


def test_the_optimum_of_least_squares_is_that_of_another_library():
    problem = load("least-squares")
    fitted = LinearRegression().fit(problem.train.x.numpy(), problem.train.y.numpy())
    weights = torch.from_numpy(np.append(fitted.coef_.ravel(), fitted.intercept_))
    assert objective_at(problem, weights) == pytest.approx(problem.optimum, rel=1e-12)


@pytest.mark.parametrize("name", ["logistic", "least-squares"])
def test_no_model_is_below_the_optimum_and_none_is_held_out(name):
    problem = load(name)
    assert problem.train.x.dtype == problem.model(0).weight.dtype == torch.float64
    assert not problem.holds_out
    for seed in range(3):
        assert problem.evaluate(problem.model(seed), problem.train)[0] > problem.optimum
