"""Records MXNet's RMSProp: mxnet==1.9.1, numpy==1.23.5.

The optimizer makes its state in float32; here it is given the same state in float64, which its operators accept.
"""

import mxnet
from dialects.recorders.record import record

KEYWORDS = {"decay": "gamma1", "momentum": "gamma2", "eps": "epsilon", "centered": "centered", "weight_decay": "wd"}


def run(case):
    """Return the parameter after every step and the final state."""
    keywords = {KEYWORDS[name]: value for name, value in case.settings.items()}
    rates = case.learning_rates()
    optimizer = mxnet.optimizer.RMSProp(**keywords)
    theta = mxnet.nd.array(case.parameter(), dtype="float64")
    state = tuple(array.astype("float64") for array in optimizer.create_state(0, theta))
    params = []
    for step, grad in enumerate(case.gradients()):
        if rates is not None:
            optimizer.set_learning_rate(rates[step])
        optimizer.update(0, theta, mxnet.nd.array(grad, dtype="float64"), state)
        params.append(theta.asnumpy().copy())
    return params, {name: array.asnumpy() for name, array in zip(("n", "g", "delta"), state, strict=False)}


if __name__ == "__main__":
    record("mxnet", "mxnet", run, mxnet.optimizer.RMSProp)
