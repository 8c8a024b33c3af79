"""The parameters of many models of one problem, stacked, so that one computation serves all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from rmsprop.lab.embeddings import give_rows, prepare
from rmsprop.lab.problems.problem import Data, Problem

Named = dict[str, Tensor]
# What the intermediate results of a computation may take: more leaves the caches and gains nothing (measured with
# digits: 2 % between 128 and 320 models at once), much less pays torch's overhead of about a millisecond more often.
_MOST_BYTES = 32e6


class ModelStack:
    """The parameters of many models of one problem, one model a row.

    Args:
        problem: The problem.
        seeds: The seed of each model.
    """

    def __init__(self, problem: Problem, seeds: Sequence[int]) -> None:
        self.problem = problem
        models = {seed: problem.model(seed) for seed in set(seeds)}
        self.skeleton = models[seeds[0]]
        give_rows(self.skeleton, rows=False)
        learnt = {name: p for name, p in self.skeleton.named_parameters() if p.requires_grad}
        self.names = list(learnt)
        self.shapes = [p.shape for p in learnt.values()]
        self.sizes = [p.numel() for p in learnt.values()]
        named = {seed: {name: p.detach() for name, p in model.named_parameters()} for seed, model in models.items()}
        self.order = list(named[seeds[0]])
        self.flat = torch.stack([torch.cat([named[seed][n].flatten() for n in self.names]) for seed in seeds])
        frozen = [name for name in self.order if name not in learnt]
        self.frozen = {name: torch.stack([named[seed][name] for seed in seeds]) for name in frozen}
        held = {seed: dict(model.named_buffers()) for seed, model in models.items()}
        self.buffers = {name: torch.stack([held[seed][name] for seed in seeds]) for name in held[seeds[0]]}
        self.bytes_per_row = bytes_per_row(problem, self.skeleton)

    def model(self, i: int, seed: int, optimizer: str) -> nn.Module:
        """Return a model whose parameters are a slice of the stack, and whose embeddings suit an optimizer.

        Args:
            i: Its number.
            seed: Its seed.
            optimizer: The name of the optimizer.
        """
        model = self.problem.model(seed)
        learnt, _ = self._named(self.flat[i : i + 1], slice(i, i + 1))
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.data = learnt[name][0]
        prepare(model, self.problem, optimizer)
        return model

    def models_at_once(self, rows: int) -> int:
        """Return how many models a computation on so many rows may take together."""
        return max(1, int(_MOST_BYTES / (rows * self.bytes_per_row)))

    def objectives(self, flat: Tensor, models: slice, x: Tensor, y: Tensor) -> Tensor:
        """Return the objective of each of some models on rows of its own."""

        def of(parameters: Named, buffers: Named, x: Tensor, y: Tensor) -> Tensor:
            outputs = functional_call(self.skeleton, (parameters, buffers), (x,))
            return self.problem.objective(parameters.values(), outputs, y)

        return torch.vmap(of)(*self._named(flat, models), x, y)

    def scores(self, flat: Tensor, models: Tensor, data: Data) -> Tensor:
        """Return the objective and the metric of each of some models on the same rows."""
        chunks = torch.split(data.x, max(1, int(_MOST_BYTES / self.bytes_per_row)))

        def of(parameters: Named, buffers: Named) -> tuple[Tensor, Tensor]:
            outputs = torch.cat([functional_call(self.skeleton, (parameters, buffers), (x,)) for x in chunks])
            objective = self.problem.objective(parameters.values(), outputs, data.y)
            return objective.double(), self.problem.metric.of(outputs, data.y).double()

        return torch.stack(torch.vmap(of)(*self._named(flat, models)))

    def _named(self, flat: Tensor, models: Tensor | slice) -> tuple[Named, Named]:
        """Return the parameters, in the model's order, and the buffers of some models."""
        parts = zip(self.names, torch.split(flat, self.sizes, dim=-1), self.shapes, strict=True)
        learnt = {name: part.view(-1, *shape) for name, part, shape in parts}
        frozen = {name: stacked[models] for name, stacked in self.frozen.items()}
        both = learnt | frozen
        return {name: both[name] for name in self.order}, {n: stacked[models] for n, stacked in self.buffers.items()}


def bytes_per_row(problem: Problem, model: nn.Module) -> float:
    """Return how much is kept for the gradient: about what the intermediate results take.

    Args:
        problem: The problem.
        model: A model of it.

    Returns:
        Bytes per row.
    """
    rows = min(problem.batch_size, len(problem.train))
    kept = 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor), torch.enable_grad():
        outputs = model(problem.train.x[:rows])
        problem.objective(model.parameters(), outputs, problem.train.y[:rows])
    return max(kept, 1) / rows
