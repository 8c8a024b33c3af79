"""How far the optimizer really steps: lr/√v, which is what adapts in RMSProp."""

from __future__ import annotations

from itertools import groupby

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rmsprop.lab.recorder.moments import denominator
from rmsprop.lab.train.history import QUANTILES
from rmsprop.rule import Rule

# torch.quantile sorts, and takes at most 2^24 values; so many, evenly spaced, place a quantile well within 1 %.
_SAMPLE = 100_000


def layer_names(model: nn.Module) -> list[str]:
    """Return the names of a model's layers that have parameters, in their order.

    Args:
        model: The model.

    Returns:
        The names.
    """
    return [layer for layer, _ in _by_layer(model)]


def effective_steps(
    model: nn.Module, optimizer: Optimizer, rule: Rule, lr: float
) -> dict[str, tuple[float, float, float]]:
    """Return the quantiles of the learning rate over the denominator, per layer.

    Args:
        model: The model.
        optimizer: Its optimizer, after at least one step.
        rule: The rule that it follows.
        lr: The learning rate of its last step.

    Returns:
        For each layer the quantiles `rmsprop.lab.train.history.QUANTILES`.
    """
    steps = {}
    quantiles = torch.tensor(QUANTILES, dtype=torch.float64)
    for layer, parameters in _by_layer(model):
        averages = torch.cat([optimizer.state[parameter][_average(rule)].flatten() for parameter in parameters])
        sample = averages[:: -(-len(averages) // _SAMPLE)]
        low, middle, high = (
            (lr / denominator(sample, rule.eps, rule.eps_inside_sqrt)).double().quantile(quantiles).tolist()
        )
        steps[layer] = (low, middle, high)
    return steps


def _by_layer(model: nn.Module) -> list[tuple[str, list[Tensor]]]:
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    groups = groupby(trained, key=lambda item: item[0].rpartition(".")[0] or item[0])
    return [(layer, [parameter for _, parameter in group]) for layer, group in groups]


def _average(rule: Rule) -> str:
    return "grad_var" if rule.centered else "square_avg"
