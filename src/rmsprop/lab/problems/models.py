"""The models: a linear one, which logistic and softmax regression are too, and the multilayer perceptron."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from rmsprop.lab.errors import InputError

# 16 bytes each (parameter, gradient, average, momentum): 100 million are 1.6 GB, and a table needs far fewer.
MOST_PARAMETERS = 100_000_000
# What is between its layers.
ACTIVATION = "relu"


def build(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    """Return a perceptron with ReLU between its layers; without hidden layers it is a linear model.

    Args:
        inputs: The number of inputs.
        hidden: The widths of the hidden layers.
        outputs: The number of outputs.

    Returns:
        The model, initialised from torch's global random state. Its layers are called ``hidden1``, ... and ``output``.

    Examples:
        >>> list(dict(build(4, [8], 3).named_children()))
        ['hidden1', 'relu1', 'output']
    """
    widths = [inputs, *hidden, outputs]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (before, after) in enumerate(zip(widths, hidden, strict=False), start=1):
        layers[f"hidden{number}"] = nn.Linear(before, after)
        layers[f"relu{number}"] = nn.ReLU()
    layers["output"] = nn.Linear(widths[-2], outputs)
    return nn.Sequential(layers)


def check_size(inputs: int, hidden: Sequence[int], outputs: int) -> None:
    """Refuse a model that would be too large.

    Args:
        inputs: The number of inputs.
        hidden: The widths of the hidden layers.
        outputs: The number of outputs.

    Raises:
        InputError: If it would have more than `MOST_PARAMETERS`.
    """
    widths = [inputs, *hidden, outputs]
    count = sum((before + 1) * after for before, after in pairwise(widths))
    if count > MOST_PARAMETERS:
        raise InputError(
            f"--hidden {','.join(map(str, hidden))} makes a model of {count:,} parameters: "
            f"at most {MOST_PARAMETERS:,} are allowed, so give smaller widths"
        )
