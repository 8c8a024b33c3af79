"""Records Chainer's RMSprop and RMSpropGraves: chainer==7.8.1, numpy==1.23.5."""

from functools import partial

import chainer
import numpy as np
from dialects.recorders.record import record

KEYWORDS = {"decay": "alpha", "eps": "eps", "momentum": "momentum", "eps_inside_sqrt": "eps_inside_sqrt"}


def run(optimizer_class, case):
    """Return the parameter after every step and the final state."""
    optimizer = optimizer_class(**{KEYWORDS[name]: value for name, value in case.settings.items()})
    link = chainer.Link()
    with link.init_scope():
        link.theta = chainer.Parameter(case.parameter())
    optimizer.setup(link)
    params = []
    rates = case.learning_rates()
    for step, grad in enumerate(case.gradients()):
        if rates is not None:
            optimizer.lr = rates[step]
        link.theta.grad = grad
        optimizer.update()
        params.append(np.array(link.theta.array))
    return params, link.theta.update_rule.state


if __name__ == "__main__":
    for name, optimizer_class in {
        "chainer": chainer.optimizers.RMSprop,
        "chainer_graves": chainer.optimizers.RMSpropGraves,
    }.items():
        record(name, "chainer", partial(run, optimizer_class), optimizer_class)
