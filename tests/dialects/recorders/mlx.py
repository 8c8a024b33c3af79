"""Records MLX's RMSprop on the CPU: mlx==0.32.4."""

import mlx.core as mx
import numpy as np
from dialects.recorders.record import record
from mlx.optimizers import RMSprop

KEYWORDS = {"decay": "alpha", "eps": "eps"}


def run(case):
    """Return the parameter after every step and the final state."""
    rates = case.learning_rates()
    optimizer = RMSprop(rates[0], **{KEYWORDS[name]: value for name, value in case.settings.items()})
    tree = {"theta": mx.array(case.parameter(), mx.float64)}
    params = []
    for rate, grad in zip(rates, case.gradients(), strict=True):
        optimizer.learning_rate = rate
        tree = optimizer.apply_gradients({"theta": mx.array(grad, mx.float64)}, tree)
        params.append(np.array(tree["theta"]))
    return params, {"v": np.array(optimizer.state["theta"]["v"])}


if __name__ == "__main__":
    mx.set_default_device(mx.cpu)
    record("mlx", "mlx", run, RMSprop)
