"""Records Paddle's RMSProp: paddlepaddle==3.3.1."""

import paddle
from dialects.recorders.record import record

KEYWORDS = {
    "decay": "rho",
    "eps": "epsilon",
    "momentum": "momentum",
    "centered": "centered",
    "weight_decay": "weight_decay",
}


def run(case):
    """Return the parameter after every step and the final state."""
    rates = case.learning_rates()
    constant = paddle.nn.initializer.Constant(case.start)
    theta = paddle.create_parameter([case.parameter().size], "float64", default_initializer=constant)
    keywords = {KEYWORDS[name]: value for name, value in case.settings.items()}
    optimizer = paddle.optimizer.RMSProp(learning_rate=rates[0], parameters=[theta], **keywords)
    params = []
    for rate, grad in zip(rates, case.gradients(), strict=True):
        if case.falling:
            optimizer.set_lr(rate)
        theta.grad = paddle.to_tensor(grad)
        optimizer.step()
        params.append(theta.numpy().copy())
    names = ("mean_square", "mean_grad", "momentum")
    state = optimizer.state_dict()
    return params, {name: state[f"{theta.name}_{name}_0"].numpy() for name in names}


if __name__ == "__main__":
    record("paddle", "paddlepaddle", run, lambda: paddle.optimizer.RMSProp(parameters=[]))
