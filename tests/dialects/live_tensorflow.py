"""TensorFlow 1's optimizer, its bare operators, and both optimizers of tf_keras, run on a case."""

import numpy as np
import tensorflow as tf
import tf_keras

KERAS_KEYWORDS = {"decay": "rho", "eps": "epsilon"}


def tensorflow1(case):
    """Run the optimizer; its slots are what it made."""
    rates = iter(case.learning_rates())
    keywords = {{"eps": "epsilon"}.get(name, name): value for name, value in case.settings.items()}
    optimizer = tf.compat.v1.train.RMSPropOptimizer(lambda: next(rates), **keywords)
    theta = tf.Variable(case.parameter())
    params = [_applied(optimizer, grad, theta) for grad in case.gradients()]
    return np.array(params), {name: optimizer.get_slot(theta, name).numpy() for name in optimizer.get_slot_names()}


def operators(case):
    """Run ResourceApplyRMSProp or ResourceApplyCenteredRMSProp, which take every hyperparameter in float64."""
    theta, ones, zeros = tf.Variable(case.parameter()), np.ones(len(case.parameter())), np.zeros(len(case.parameter()))
    settings = {"decay": 0.9, "eps": 1e-10, "momentum": 0.0, **case.settings}
    slots = {"ms": tf.Variable(ones), "mom": tf.Variable(zeros)}
    operator = tf.raw_ops.ResourceApplyRMSProp
    if settings.pop("centered", False):
        slots["mg"] = tf.Variable(zeros)
        operator = tf.raw_ops.ResourceApplyCenteredRMSProp
    numbers = {"rho": settings["decay"], "momentum": settings["momentum"], "epsilon": settings["eps"]}
    numbers = {name: tf.constant(value, tf.float64) for name, value in numbers.items()}
    handles = {name: slot.handle for name, slot in slots.items()}
    params = []
    for rate, grad in zip(case.learning_rates(), case.gradients(), strict=True):
        lr = tf.constant(rate, tf.float64)
        operator(var=theta.handle, grad=tf.constant(grad), lr=lr, **handles, **numbers)
        params.append(theta.numpy())
    return np.array(params), {name: slot.numpy() for name, slot in slots.items()}


def keras_legacy(case):
    """Run tf_keras.optimizers.legacy.RMSprop."""
    optimizer, theta, params = _trained(tf_keras.optimizers.legacy.RMSprop, case)
    return params, {name: optimizer.get_slot(theta, name).numpy() for name in optimizer.get_slot_names()}


def tf_keras_new(case):
    """Run tf_keras.optimizers.RMSprop, the rewritten one that became Keras 3's."""
    optimizer, _, params = _trained(tf_keras.optimizers.RMSprop, case)
    slots = {variable.name.split("/")[1]: variable.numpy() for variable in optimizer.variables[1:]}
    return params, slots


def _trained(optimizer_class, case):
    rates = case.learning_rates()
    optimizer = optimizer_class(**{KERAS_KEYWORDS.get(name, name): value for name, value in case.settings.items()})
    theta = tf.Variable(case.parameter())
    params = []
    for step, grad in enumerate(case.gradients()):
        if rates is not None:
            optimizer.learning_rate = rates[step]
        params.append(_applied(optimizer, grad, theta))
    return optimizer, theta, np.array(params)


def _applied(optimizer, grad, theta):
    optimizer.apply_gradients([(tf.constant(grad), theta)])
    return theta.numpy()
