// One coordinate of other optimizers: functions that return what step t subtracts for its gradient g, with the
// arithmetic of torch.optim. RMSProp itself is in update.js.

const OPTIMIZERS = {
  sgd: (lr) => (t, g) => lr * g,

  momentum: (lr, momentum = 0.9) => {
    let buffer = 0;
    return (t, g) => {
      buffer = momentum * buffer + g;
      return lr * buffer;
    };
  },

  adagrad: (lr, eps = 1e-10) => {
    let sum = 0;
    return (t, g) => {
      sum += g * g;
      return lr * (g / (Math.sqrt(sum) + eps));
    };
  },

  rmsprop: (lr, rule) => {
    const state = initialState(rule);
    return (t, g) => change(rule, lr, t, [g], [state])[0];
  },

  adam: (lr, beta1 = 0.9, beta2 = 0.999, eps = 1e-8) => {
    let mean = 0, spread = 0;
    return (t, g) => {
      mean += (1 - beta1) * (g - mean);
      spread = beta2 * spread + (1 - beta2) * g * g;
      const denominator = Math.sqrt(spread) / Math.sqrt(1 - beta2 ** t) + eps;
      return (lr / (1 - beta1 ** t)) * (mean / denominator);
    };
  },

  // Only the sign of the gradient counts. Each coordinate has a step size of its own, which grows while the sign stays
  // and shrinks when it changes; after a change, one step is left out.
  rprop: (lr, shrink = 0.5, grow = 1.2, least = 1e-6, most = 50) => {
    let size = lr, before = 0;
    return (t, g) => {
      const same = Math.sign(g * before);
      size = Math.min(most, Math.max(least, size * (same > 0 ? grow : same < 0 ? shrink : 1)));
      before = same < 0 ? 0 : g;
      return Math.sign(before) * size;
    };
  },
};

// The path over two coordinates: [x, y] before the first step and after each, from the function that has the gradient.
function pathOf(make, gradient, start, steps) {
  const movers = [make(), make()], path = [start];
  for (let t = 1, point = start; t <= steps; t++) {
    const slopes = gradient(...point);
    point = point.map((value, i) => value - movers[i](t, slopes[i]));
    path.push(point);
  }
  return path;
}
