// rmsprop.reference.change of two coordinates, with the same operations in the same order, so that both give the same
// numbers. A rule is an object with the fields of rmsprop.Rule.

function initialState(rule) {
  return { mean: 0, spread: rule.bias_correction || rule.init_from_gradient ? 0 : rule.initial_square_avg, buffer: 0 };
}

function gains(rule, decay, t) {
  if (!rule.bias_correction) return [1 - decay, decay];
  const now = 1 - decay ** t, before = 1 - decay ** (t - 1);
  return [(1 - decay) / now, (decay * before) / now];
}

// gain · fresh + keep · old, written from the side that weighs more.
function average(rule, old, fresh, gain, keep) {
  const [base, other, share] = rule.decay < 0.5 ? [fresh, old, keep] : [old, fresh, gain];
  return Math.abs(base) === Infinity ? base + other : base + share * (other - base);
}

function decayedSum(isShort, kept, lost, old, fresh) {
  if (isShort || Math.abs(old) === Infinity) return kept * old + fresh;
  return old + (fresh - lost * old);
}

// Returns the quotient of a coordinate at step t for its gradient g, the step that comes of it, and the learning rate
// by which the step is still to be multiplied; updates the state.
function stepOf(rule, lr, t, g, state) {
  const [gain, keep] = gains(rule, rule.decay, t);
  if (rule.init_from_gradient && t === 1) state.spread = g * g;
  const before = state.spread;
  if (rule.centered) {
    const deviation = g - state.mean;
    state.mean = average(rule, state.mean, g, gain, keep);
    state.spread = average(rule, state.spread, keep * deviation * deviation, gain, keep);
  } else {
    state.spread = average(rule, state.spread, g * g, gain, keep);
  }
  const divisor = rule.delayed ? before : state.spread;
  const root = Math.sqrt(rule.eps_inside_sqrt ? divisor + rule.eps : divisor);
  const denominator = rule.eps_inside_sqrt ? root : root + rule.eps;
  let u = g / (g === 0 && denominator === 0 ? 1 : denominator);
  const most = rule.delayed ? (t - 1) ** 0.25 : Infinity;
  u = u < -most ? -most : u > most ? most : u;
  if (rule.momentum === 0) return { quotient: u, step: u, rate: lr };
  const quotient = u;
  const [taken, kept] = rule.averaged_momentum ? gains(rule, rule.momentum, t) : [1, rule.momentum];
  u = (rule.lr_in_momentum ? lr * taken : taken) * u;
  const lost = rule.averaged_momentum ? taken : 1 - kept;
  state.buffer = decayedSum(rule.momentum < 0.5, kept, lost, state.buffer, u);
  const step = rule.nesterov ? u + kept * state.buffer : state.buffer;
  return { quotient, step, rate: rule.lr_in_momentum ? 1 : lr };
}

// Returns what step t subtracts from the coordinates, and updates their states.
function change(rule, lr, t, gradients, states) {
  const steps = gradients.map((g, k) => stepOf(rule, lr, t, g, states[k]));
  if (!rule.caution) return steps.map(({ step, rate }) => rate * step);
  const agrees = steps.map(({ quotient, step }) => step * quotient > 0);
  const scale = Math.min(agrees.length / agrees.filter(Boolean).length, 1000);
  return steps.map(({ step, rate }, k) => rate * ((agrees[k] ? scale : 0) * step));
}

// The path from a start: a row {x, y, f} before the first step and after each.
function descend(f, rule, lr, steps, start) {
  let [x, y] = start;
  const states = [initialState(rule), initialState(rule)], path = [];
  for (let t = 0; t <= steps; t++) {
    const [value, ...slopes] = f(x, y);
    path.push({ x, y, f: value });
    const [movedX, movedY] = change(rule, lr, t + 1, slopes, states);
    x -= movedX;
    y -= movedY;
  }
  return path;
}
