"""Sources that are no runnable optimizer, evaluated line by line in the order in which they are printed."""

import numpy as np


def _rates(case, default):
    return case.learning_rates() or [default] * len(case.gradients())


def lecture(case):
    """Tieleman and Hinton, lecture 6e, slide 29: MeanSquare(w, t) = 0.9 MeanSquare(w, t−1) + 0.1 (∂E/∂w(t))².

    The gradient is divided by √MeanSquare. The slide has no ε and says nothing of 0/0, which is taken as no step.
    """
    w, mean_square, params = case.parameter(), np.zeros(len(case.parameter())), []
    for rate, gradient in zip(_rates(case, None), case.gradients(), strict=True):
        mean_square = 0.9 * mean_square + 0.1 * gradient**2
        root = np.sqrt(mean_square)
        w = w - rate * np.divide(gradient, root, out=np.zeros_like(w), where=root > 0)
        params.append(w)
    return np.array(params), {"mean_square": mean_square}


def graves_equations(case):
    """Graves, arXiv 1308.0850, equations 38 to 45, with the paper's constants."""
    w = case.parameter()
    n, g, delta = np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    params = []
    for rate, error in zip(_rates(case, 0.0001), case.gradients(), strict=True):
        n = 0.95 * n + (1 - 0.95) * error**2
        g = 0.95 * g + (1 - 0.95) * error
        delta = 0.9 * delta - rate * error / np.sqrt(n - g**2 + 0.0001)
        w = w + delta
        params.append(w)
    return np.array(params), {"n": n, "g": g, "delta": delta}


def dqn_lua(case):
    """The code of the Nature paper, dqn/NeuralQLearner.lua, function qLearnMinibatch, from the weight cost on.

    Its operations in its order, with its constants. It ascends, so its gradient is −g. The learning rate of 0.00025 is
    what its script run_gpu passes. It runs in float32; here its arithmetic is done in float64.
    """
    w = case.parameter()
    g, g2 = np.zeros_like(w), np.zeros_like(w)
    weight_cost = case.settings.get("weight_decay", 0.0)
    params = []
    for lr, gradient in zip(_rates(case, 0.00025), case.gradients(), strict=True):
        dw = -gradient + -weight_cost * w
        g = g * 0.95 + 0.05 * dw
        g2 = g2 * 0.95 + 0.05 * (dw * dw)
        denominator = np.sqrt((g * g) * -1 + g2 + 0.01)
        w = w + lr * dw / denominator
        params.append(w)
    return np.array(params), {"g2": g2, "g": g}


def d2l_book(case):
    """Dive into Deep Learning, section 12.8.2: the two lines of its optimizer, with the values that the text uses."""
    gamma, eps = 0.9, 1e-6
    p, s, params = case.parameter(), np.zeros(len(case.parameter())), []
    for lr, grad in zip(_rates(case, 0.01), case.gradients(), strict=True):
        s = gamma * s + (1 - gamma) * np.square(grad)
        p = p - lr * grad / np.sqrt(s + eps)
        params.append(p)
    return np.array(params), {"s": s}
