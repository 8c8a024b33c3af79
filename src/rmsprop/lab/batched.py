"""Many runs of one problem trained together: their parameters are stacked, and one computation serves all of them.

A small model leaves a processor idle between operations that take microseconds. Stacked, a hundred models are one
batched matrix product, and every optimizer updates a slice of the stack as if it were one tensor. That is the same
arithmetic for optimizers that work element by element; one that doesn't (its row in `rmsprop.lab.optimizers` says so)
has an optimizer for each model. One that takes the rows of embeddings has a model of its own for each run besides, with
parameters that are a slice of the stack: of a whole stack PyTorch has no sparse gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from rmsprop.lab.errors import InputError
from rmsprop.lab.held_out import HeldOut, follow
from rmsprop.lab.model_stack import ModelStack
from rmsprop.lab.optimizers import Choice, bare, make, row
from rmsprop.lab.problems.conventions import is_lost, row_order
from rmsprop.lab.problems.problem import Data, Problem
from rmsprop.lab.stacked_average import StackedAverage
from rmsprop.torch import ScheduleFreeRMSprop

Floats = npt.NDArray[np.float64]


class StackStepper(Protocol):
    """What moves parameters by their gradient: an optimizer, for one."""

    def step(self) -> object:
        """Take a step."""


# Takes parameters and their gradient, one model a row, both of which are overwritten in place.
MakesStackStepper = Callable[[Tensor, Tensor], StackStepper]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One run: an optimizer with its hyperparameters, and the seed of its weights and of the order of its rows."""

    choice: Choice
    seed: int


@dataclass(frozen=True, kw_only=True)
class Curve:
    """What came of one run. Arrays have one value per epoch and one before the first step.

    Args:
        train: The objective on the training rows; infinite from the divergence on.
        validation: The objective on the validation rows; infinite from the divergence on.
        metric: The metric on the validation rows; from the divergence on infinitely bad, which is −∞ for one that
            should rise.
        lr: The learning rate.
        test: The objective on the test rows at the end; not a number unless asked for.
        test_metric: The metric on them; not a number unless asked for.
        diverged_at: The step at which the run was seen to have diverged, counted from 1; None if it wasn't.
        epochs: How many epochs it was to take.
        steps_per_epoch: Steps per epoch.
    """

    train: Floats
    validation: Floats
    metric: Floats
    lr: Floats
    test: float
    test_metric: float
    diverged_at: int | None
    epochs: int
    steps_per_epoch: int


def train_together(
    problem: Problem,
    jobs: Sequence[Job],
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    test: bool = False,
    on_epoch: Callable[[int], object] | None = None,
    stepper: MakesStackStepper | None = None,
) -> list[Curve]:
    """Train many models of one problem at once.

    Runs of equal seed begin with equal weights and see equal batches, whatever their optimizer. The learning rate is
    constant. A run whose choice ends in ``+swa`` is judged by the average of its weights at the ends of the last
    quarter of the epochs, one that ends in ``+ema`` by an exponential moving average of every step. One that diverges
    (`is_lost`) stops there, and the others don't notice.

    Torch's random state is left alone, and equal calls give equal bits. Which other jobs are trained along may change
    how a product of matrices is rounded, and nothing else: with the perceptron on digits it changes no bit.

    Args:
        problem: What to learn.
        jobs: The runs; equal ones are allowed.
        epochs: How often the training rows are gone through, at least 1. Default: the problem's.
        batch_size: Rows per step. Default: the problem's.
        test: Judge the final models on the test rows. Default False.
        on_epoch: Called with the number of each epoch that is done. Default: nothing is.
        stepper: Makes what takes every step in place of the jobs' optimizers, such as one that isn't among
            `rmsprop.lab.optimizers.OPTIMIZERS`, of all parameters and their gradient, one model a row. Of the choices
            the averages alone then count; they must otherwise be equal, so that rows have the order of the jobs.
            Default: the optimizers step.

    Returns:
        The curve of each job, in the order of the jobs.

    Raises:
        ValueError: If ``epochs`` or ``batch_size`` is below 1, or there is a ``stepper`` and choices differ.
        InputError: If model, loss or metric do what `torch.vmap` can't take.

    Examples:
        >>> from rmsprop.lab.optimizers import choose
        >>> from rmsprop.lab.problems import load
        >>> jobs = [Job(choice=choose("rmsprop", lr=lr), seed=0) for lr in (0.001, 0.01)]
        >>> slow, fast = train_together(load("linear"), jobs, epochs=2)
        >>> bool(slow.train[0] == fast.train[0]), bool(slow.train[2] > fast.train[2])
        (True, True)
    """
    epochs = problem.epochs if epochs is None else epochs
    batch_size = problem.batch_size if batch_size is None else batch_size
    if epochs < 1 or batch_size < 1:
        raise ValueError(f"epochs is {epochs} and batch_size is {batch_size}: both must be at least 1")
    if not jobs:
        return []
    if stepper is not None and len({_slice_of(job) for job in jobs}) > 1:
        raise ValueError("the jobs have different choices: give equal ones to a stepper, which takes their place")
    # Equal hyperparameters side by side are one slice, and one tensor to the optimizer.
    order = sorted(range(len(jobs)), key=lambda i: _slice_of(jobs[i]))
    runs = _StackedRuns(problem, [jobs[i] for i in order], epochs, batch_size, stepper)
    for epoch in range(1, epochs + 1):
        runs.run_epoch(epoch)
        if on_epoch is not None:
            on_epoch(epoch)
    curves = runs.curves(test)
    return [curves[place] for place in np.argsort(order)]


def _slice_of(job: Job) -> tuple[Any, ...]:
    """Return what jobs have in common that one slice of the stack can hold, in an order."""
    choice = job.choice
    return bare(choice.name), choice.lr, choice.options


class _StackedRuns:
    """Runs in training, sorted by hyperparameters.

    Args:
        problem: What to learn.
        jobs: The runs.
        epochs: Epochs in all.
        batch_size: Rows per step.
        stepper: Makes what steps in place of the jobs' optimizers, if anything does.
    """

    def __init__(
        self, problem: Problem, jobs: Sequence[Job], epochs: int, batch_size: int, stepper: MakesStackStepper | None
    ) -> None:
        self.problem, self.jobs, self.epochs, self.batch_size = problem, jobs, epochs, batch_size
        self.stack = ModelStack(problem, [job.seed for job in jobs])
        self.gradient = torch.zeros_like(self.stack.flat)
        self.optimizers: list[StackStepper] = []
        self.single: dict[int, torch.optim.Optimizer] = {}
        self.models: dict[int, nn.Module] = {}  # of the jobs that take the rows of embeddings
        if stepper is None:
            self.models = {
                i: self.stack.model(i, job.seed, job.choice.name)
                for i, job in enumerate(jobs)
                if row(job.choice.name).sparse
            }
            self.optimizers, self.single = _optimizers(self.stack.flat, self.gradient, jobs, self.models)
        else:
            self.optimizers = [stepper(self.stack.flat, self.gradient)]
        self.schedule_free = [each for each in self.optimizers if isinstance(each, ScheduleFreeRMSprop)]
        for optimizer in self.schedule_free:
            optimizer.train()
        self.held_out = HeldOut(len(problem.train), batch_size)
        self.seeds = sorted({job.seed for job in jobs})
        self.order_of = torch.tensor([self.seeds.index(job.seed) for job in jobs])
        self.step = 0
        self.steps_per_epoch = math.ceil(len(problem.train) / batch_size)
        kinds, steps = [job.choice.average for job in jobs], epochs * self.steps_per_epoch
        self.averages = [StackedAverage(kind, kinds, epochs, steps) for kind in sorted({*kinds} - {"none"})]
        self.lost: dict[int, int] = {}  # run -> the step at which it was seen to have diverged
        self.history: list[npt.NDArray[np.float64]] = []
        self.rates: list[list[float]] = []  # of each job, when it is judged
        self._judge_first()
        self.initial: list[float] = self.history[0][0].tolist()

    def run_epoch(self, epoch: int) -> None:
        """Go through the training rows once, and judge the models."""
        rows = len(self.problem.train)
        order = torch.stack([row_order(seed, epoch, rows) for seed in self.seeds])
        for batch in torch.split(order, self.batch_size, dim=1):
            self.step += 1
            self._descend(batch)
        for average in self.averages:
            average.after_epoch(self.stack.flat, epoch)
        self._judge()

    def curves(self, test: bool) -> list[Curve]:
        """Return the curve of each run."""
        history = np.stack(self.history, axis=-1)  # [which value, job, epoch]
        at_end = self._scores(self.problem.test) if test else np.full((2, len(self.jobs)), np.nan)
        if test:
            self._spoil(at_end)
        return [
            Curve(
                train=history[0, i],
                validation=history[1, i],
                metric=history[2, i],
                lr=np.array([rates[i] for rates in self.rates]),
                test=float(at_end[0, i]),
                test_metric=float(at_end[1, i]),
                diverged_at=self.lost.get(i),
                epochs=self.epochs,
                steps_per_epoch=self.steps_per_epoch,
            )
            for i in range(len(self.jobs))
        ]

    def _descend(self, batch: Tensor) -> None:
        train = self.problem.train
        objectives = []
        size = self.stack.models_at_once(self.batch_size)
        for some in (slice(low, low + size) for low in range(0, len(self.jobs), size)):
            rows = batch[self.order_of[some]]
            leaf = self.stack.flat[some].detach().requires_grad_()
            values = self.stack.objectives(leaf, some, train.x[rows], train.y[rows])
            (self.gradient[some],) = torch.autograd.grad(values.sum(), leaf)
            objectives.append(values.detach())
        self._check(torch.cat(objectives).tolist())
        for optimizer in self.optimizers:
            optimizer.step()
        for i, optimizer in self.single.items():
            if i in self.lost:
                continue
            rows = batch[self.order_of[i]]
            if i in self.models:
                self._step_on_rows(self.models[i], optimizer, rows)
            elif row(self.jobs[i].choice.name).holds_out:
                self._follow(i, optimizer, rows)
            else:
                optimizer.step()
        self._silence()
        for average in self.averages:
            average.after_step(self.stack.flat)

    def _step_on_rows(self, model: nn.Module, optimizer: torch.optim.Optimizer, batch: Tensor) -> None:
        """Take a step of a job that has a model of its own, by the gradient that PyTorch gives this model."""
        optimizer.zero_grad()
        x, y = self.problem.train.x[batch], self.problem.train.y[batch]
        self.problem.objective(model.parameters(), model(x), y).backward()
        optimizer.step()

    def _follow(self, i: int, optimizer: Any, batch: Tensor) -> None:
        """Take a step of a job that fits its learning rate to rows of its own."""
        train = self.problem.train
        (parameter,) = optimizer.param_groups[0]["params"]

        def objective(rows: Tensor) -> Tensor:
            return self.stack.objectives(parameter, slice(i, i + 1), train.x[rows][None], train.y[rows][None]).sum()

        follow(optimizer.tuner, objective, *self.held_out.of(batch, self.step - 1))

    def _check(self, objectives: Sequence[float]) -> None:
        """Stop the runs whose objective on all training rows is lost: a batch of outliers alone may be far off."""
        suspects = [i for i in self._lost(objectives) if i not in self.lost]
        far_off = [i for i in suspects if math.isfinite(objectives[i])]
        whole = self._scores_of(self.problem.train, self.stack.flat, torch.tensor(far_off))[0] if far_off else ()
        back = {i for i, value in zip(far_off, whole, strict=True) if not is_lost(value, self.initial[i])}
        self._stop(i for i in suspects if i not in back)

    def _lost(self, objectives: Iterable[float]) -> list[int]:
        pairs = zip(objectives, self.initial, strict=True)
        return [i for i, (value, initial) in enumerate(pairs) if is_lost(value, initial)]

    def _stop(self, gone: Iterable[int]) -> None:
        for i in gone:
            self.lost.setdefault(i, self.step)
        self._silence()

    def _silence(self) -> None:
        """Keep the numbers of lost runs finite. Nothing of theirs reaches another run, but NaN may warn or be slow."""
        for i in self.lost:
            self.stack.flat[i] = 0.0
            self.gradient[i] = 0.0
            for average in self.averages:
                average.silence(i)

    def _judged(self) -> Tensor:
        """Return the weights that count: the averages where there are some already."""
        weights = self.stack.flat
        for average in self.averages:
            weights = average.over(weights)
        return weights

    def _judge_first(self) -> None:
        try:
            self._judge()
        except (RuntimeError, NotImplementedError) as error:
            why = str(error).partition("\n")[0]
            raise InputError(
                f"problem {self.problem.name} can't be trained many at once ({why}): make its model, loss and metric "
                "of operations that torch.vmap can take"
            ) from error

    def _judge(self) -> None:
        train, _ = self._scores(self.problem.train)
        validation, metric = self._scores(self.problem.validation)
        if self.history:
            self._stop({*self._lost(train), *np.flatnonzero(~np.isfinite(validation)).tolist()})
        own = {i: optimizer.param_groups[0]["lr"] for i, optimizer in self.single.items()}
        self.rates.append([own.get(i, job.choice.lr) for i, job in enumerate(self.jobs)])
        values = np.stack([train, validation, metric])
        self._spoil(values[1:])
        values[0, list(self.lost)] = np.inf
        self.history.append(values)

    def _spoil(self, values: Floats) -> None:
        """Give lost runs the worst objective and metric."""
        lost = list(self.lost)
        values[0, lost] = np.inf
        values[1, lost] = -np.inf if self.problem.metric.higher_is_better else np.inf

    def _scores(self, data: Data) -> Floats:
        """Return the objective and the metric of each model on some rows."""
        with ExitStack() as shown:
            for optimizer in self.schedule_free:
                shown.enter_context(optimizer.evaluating())
            return self._scores_of(data, self._judged(), torch.arange(len(self.jobs)))

    def _scores_of(self, data: Data, weights: Tensor, models: Tensor) -> Floats:
        with torch.no_grad():
            parts = torch.split(models, self.stack.models_at_once(len(data)))
            return torch.cat([self.stack.scores(weights[some], some, data) for some in parts], dim=1).numpy()


def _optimizers(
    flat: Tensor, gradient: Tensor, jobs: Sequence[Job], models: Mapping[int, nn.Module]
) -> tuple[list[StackStepper], dict[int, torch.optim.Optimizer]]:
    """Return one optimizer per class with a group per slice, and by its number one for each job that can't share it."""
    by_class: dict[type, torch.optim.Optimizer] = {}
    single: dict[int, torch.optim.Optimizer] = {}
    for low, high in pairwise(np.cumsum([0, *_sizes(jobs)]).tolist()):
        if low in models:
            single[low] = make(jobs[low].choice, [p for p in models[low].parameters() if p.requires_grad])
            continue
        parameter = nn.Parameter(flat[low:high])
        parameter.grad = gradient[low:high]
        optimizer = make(jobs[low].choice, [parameter])
        if not row(jobs[low].choice.name).elementwise:
            single[low] = optimizer
            continue
        first = by_class.setdefault(type(optimizer), optimizer)
        if first is not optimizer:  # its group has every option of its own
            first.add_param_group(optimizer.param_groups[0])
    return list(by_class.values()), single


def _sizes(jobs: Sequence[Job]) -> list[int]:
    """Return how many jobs each slice holds: those of equal hyperparameters, or one where an update sees all of it."""
    sizes = []
    for (name, *_), members in groupby(jobs, key=_slice_of):
        count = len(list(members))
        sizes += [count] if row(name).elementwise and not row(name).sparse else [1] * count
    return sizes
