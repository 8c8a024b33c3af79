"""The training loop. It knows nothing of files: whoever runs it keeps what it gives."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from rmsprop.lab.problems.conventions import is_lost, row_order
from rmsprop.lab.problems.problem import Problem
from rmsprop.lab.train.average import WeightAverage
from rmsprop.lab.train.best import Best, is_early
from rmsprop.lab.train.effective import effective_steps, layer_names
from rmsprop.lab.train.history import Averaged, Epoch
from rmsprop.lab.train.schedules import LearningRate
from rmsprop.lab.train.settings import Settings
from rmsprop.lab.train.steps import steps_of
from rmsprop.lab.verdict.curves import LossCurves, Lost, gaps_of


class Divergence(Exception):  # noqa: N818 - it is an outcome of a run, not an error in it
    """The loss stopped being finite, or rose above ten times the initial one.

    Args:
        step: The step at which it was seen, counted from 1.
        loss: The loss that was seen.
    """

    def __init__(self, step: int, loss: float) -> None:
        """See the class."""
        super().__init__(f"diverged at step {step}: loss {loss}")
        self.step = step
        self.loss = loss


class Training:
    """A model in training: call `run_epoch` once per epoch.

    What happens depends on the problem and the settings alone. No random state of torch's is read or left changed.

    Args:
        problem: What to learn.
        settings: How to learn it.
    """

    def __init__(self, problem: Problem, settings: Settings) -> None:
        """See the class."""
        self.problem = problem
        self.settings = settings
        self.rule = settings.rule
        self.model = problem.model(settings.seed)
        self.layers = layer_names(self.model)
        self.steps_per_epoch = math.ceil(len(problem.train) / settings.batch_size)
        self.steps = steps_of(self.model, settings, len(problem.train), self.steps_per_epoch)
        self.optimizer = self.steps.optimizer
        self.schedule = LearningRate(settings, self.optimizer, self.steps_per_epoch)
        self.epoch = 0
        self.step = 0
        self.best = Best() if settings.keep == "best" else None
        self.average = WeightAverage(self.model, settings) if settings.average != "none" else None
        self.initial_loss, _ = problem.evaluate(self.model, problem.train)
        self.initial_validation_loss, _ = problem.evaluate(self.model, problem.validation)

    def run_epoch(self) -> Epoch:
        """Go through the training rows once, in an order of this epoch's own.

        Returns:
            What is known afterwards.

        Raises:
            Divergence: If the loss is lost. The model is then of no use.
        """
        worst = 0.0
        for rows in self._batches():
            self.step += 1
            worst = max(worst, self.steps.step(self._objective, rows, self._check))
            lr = self.steps.lr
            self.schedule.after_step()
            if self.average:
                self.average.after_step(self.model)
        self.epoch += 1
        with self.steps.judging(self._inputs()):
            return self._judged(lr, worst)

    def _judged(self, lr: float, worst: float) -> Epoch:
        """Judge the weights after an epoch."""
        train_loss, train_metric = self.problem.evaluate(self.model, self.problem.train)
        if self._is_lost(train_loss):
            raise Divergence(self.step, train_loss)
        validation_loss, validation_metric = self.problem.evaluate(self.model, self.problem.validation)
        self.schedule.after_epoch(validation_loss)
        steps = effective_steps(self.model, self.optimizer, self.rule, lr)
        losses = (train_loss, validation_loss, train_metric, validation_metric)
        epoch = Epoch(self.epoch, self.step, lr, *losses, worst, steps, self._averaged())
        if self.best:
            if self.epoch == self.settings.averaged_from:  # from now on an average is kept
                self.best = Best()
            self.best.see(self.epoch, epoch.kept_loss, self._result())
        return epoch

    def kept_epoch(self, divergence: Divergence | None) -> int | None:
        """Return the epoch whose weights are to be kept; None if none are.

        A run that diverged keeps the best weights if they learnt anything, that is if they are better than none.

        Args:
            divergence: What `run_epoch` raised, if it did.

        Returns:
            Its number.
        """
        best = self.best.epoch if self.best else 0
        if divergence:
            return best if self.best and self.best.loss < self.initial_validation_loss else None
        return best or self.epoch

    def take(self, epoch: int) -> None:
        """Give the model the weights that are kept, which are averaged ones if the run averages.

        Args:
            epoch: Whose, as `kept_epoch` told.
        """
        if self.best and epoch == self.best.epoch:
            self.model.load_state_dict(self.best.weights)
        else:
            with self.steps.judging(self._inputs()):
                kept = {name: tensor.clone() for name, tensor in self._result().state_dict().items()}
            self.model.load_state_dict(kept)

    def curves(self, epochs: Sequence[Epoch], divergence: Divergence | None) -> LossCurves:
        """Return the curves of this training, for a verdict and for figures.

        A validation loss that isn't finite everywhere isn't judged, and told.

        Args:
            epochs: The epochs that `run_epoch` gave.
            divergence: What it raised, if it did.

        Returns:
            The curves.
        """
        times = range(len(epochs) + 1)
        validation = (self.initial_validation_loss, *(epoch.validation_loss for epoch in epochs))
        gaps = gaps_of(times, validation)
        baseline = self.problem.baseline_scores()
        return LossCurves(
            times=times,
            train=(self.initial_loss, *(epoch.train_loss for epoch in epochs)),
            validation=validation if self.problem.holds_out and gaps is None else (),
            worst=tuple(epoch.worst_step_loss for epoch in epochs),
            rates=tuple(epoch.lr for epoch in epochs),
            lr=self.settings.lr,
            constant=self.problem.constant_loss,
            constant_validation=baseline["validation"][0] if baseline else math.inf,
            lost=Lost(divergence.step, divergence.loss) if divergence else None,
            validation_gaps=gaps,
            first_steps_largest=self.rule.starts_large and not self.settings.warmup,
            patience=self.settings.early_stop if is_early(self.settings, epochs) and not divergence else None,
        )

    def _result(self) -> nn.Module:
        """Return the model that a run which ends now has learnt: the average, where there is one."""
        return (self.average and self.average.model) or self.model

    def _averaged(self) -> Averaged | None:
        """Bring the average up to date at the end of an epoch, and judge it."""
        if self.average is None:
            return None
        self.average.after_epoch(self.model, self.epoch, self._inputs())
        if self.average.model is None:
            return None
        train_loss, train_metric = self.problem.evaluate(self.average.model, self.problem.train)
        validation_loss, validation_metric = self.problem.evaluate(self.average.model, self.problem.validation)
        return Averaged(train_loss, validation_loss, train_metric, validation_metric)

    def _batches(self) -> Iterator[Tensor]:
        order = row_order(self.settings.seed, self.epoch + 1, len(self.problem.train))
        yield from torch.split(order, self.settings.batch_size)

    def _inputs(self) -> Iterator[Tensor]:
        return (self.problem.train.x[rows] for rows in self._batches())

    def _objective(self, rows: Tensor) -> Tensor:
        data = self.problem.train
        return self.problem.objective(self.model.parameters(), self.model(data.x[rows]), data.y[rows])

    def _check(self, batch_loss: float) -> None:
        """Stop if the loss is lost: that of all training rows, because a batch of outliers alone may be far off."""
        if not math.isfinite(batch_loss):
            raise Divergence(self.step, batch_loss)
        if self._is_lost(batch_loss):
            whole, _ = self.problem.evaluate(self.model, self.problem.train)
            if self._is_lost(whole):
                raise Divergence(self.step, whole)

    def _is_lost(self, loss: float) -> bool:
        return is_lost(loss, self.initial_loss)
