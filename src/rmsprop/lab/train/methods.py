"""The paragraph for a paper that says how a run was trained, from the run's own settings."""

from __future__ import annotations

from rmsprop.lab.dialects.formulas import formulas
from rmsprop.lab.train.result import Result
from rmsprop.lab.train.sentences import kept
from rmsprop.lab.train.settings import SCHEDULE_FREE, Settings, show


def methods(result: Result, schedule: str, rows: str) -> str:
    """Return a run's methods, ready to be pasted into a paper.

    Args:
        result: The run.
        schedule: What its learning rate did, in words.
        rows: How many rows it had, in words.

    Returns:
        The paragraph.
    """
    s, versions = result.settings, result.versions
    done = f"{len(result.epochs)} of {s.epochs} epoch{'s' * (s.epochs != 1)}"
    steps = f"{result.steps_per_epoch} step{'s' * (result.steps_per_epoch != 1)}"
    sentences = (
        f"We trained {_model(s)} on {result.problem.name} ({rows}) with {_optimizer(s)}, as implemented in rmsprop "
        f"{versions['rmsprop']} on PyTorch {versions['torch']}, with decay ρ = {show(s.rule.decay)} and "
        f"ε = {show(s.rule.eps)} {'inside' if s.rule.eps_inside_sqrt else 'outside'} the square root.",
        _update(s),
        f"The learning rate lr: {schedule}.",
        f"Training took {done} of {steps}, with batch size {s.batch_size} and seed {s.seed}.",
        kept(result),
    )
    return " ".join(filter(None, sentences))


def _model(s: Settings) -> str:
    if s.model is None:
        return "the problem's own model"
    return f"a model of the kind {s.model}" + (f" (hidden layers of {show(s.hidden)})" if s.hidden else "")


def _optimizer(s: Settings) -> str:
    form = "schedule-free RMSProp" if s.schedule == SCHEDULE_FREE else "RMSProp"
    return f"{form} (dialect {s.dialect})"


def _update(s: Settings) -> str:
    if s.schedule == SCHEDULE_FREE:  # its gradients are taken elsewhere than where its steps are
        return ""
    start, *steps = formulas(s.rule)
    return f"It starts from {start}, and a step with the gradient g is: {'; '.join(steps)}."
