// Figure 9, fifteen RMSProps: two frameworks with the same settings, on gradients of any size.

// A line through eight points, learnt two at a time: small_run.py in the same arithmetic.
const RUN = {
  x: [-1.75, 1.25, -0.75, 0.25, -0.25, 0.75, -1.25, 1.75],
  noise: [0.3, -0.2, -0.4, 0.1, 0.2, 0.3, -0.1, -0.2],
};
RUN.y = RUN.x.map((x, i) => 2 * x + 3 + RUN.noise[i]);

function runGradient([slope, offset], step) {
  const first = (2 * (step - 1)) % 8, at = [first, first + 1];
  const missed = at.map((i) => RUN.x[i] * slope + offset - RUN.y[i]);
  return [RUN.x[at[0]] * missed[0] + RUN.x[at[1]] * missed[1], missed[0] + missed[1]];
}

// Sums of eight numbers in the order of NumPy.
const sum8 = (a) => a[0] + a[1] + (a[2] + a[3]) + (a[4] + a[5] + (a[6] + a[7]));

function runLoss([slope, offset]) {
  return sum8(RUN.x.map((x, i) => (x * slope + offset - RUN.y[i]) ** 2)) / 8;
}

function leastLoss() {
  const a = RUN.x.reduce((sum, x) => sum + x * x, 0), b = RUN.x.reduce((sum, x) => sum + x, 0);
  const p = RUN.x.reduce((sum, x, i) => sum + x * RUN.y[i], 0), q = RUN.y.reduce((sum, y) => sum + y, 0);
  return runLoss([(8 * p - b * q) / (a * 8 - b * b), (a * q - b * p) / (a * 8 - b * b)]);
}

function smallRun(rule, scale) {
  const { steps, lr, drop } = PAGE.figures.variants.data.run;
  const states = [initialState(rule), initialState(rule)], path = [[0, 0]];
  for (let step = 1; step <= steps; step++) {
    const gradient = runGradient(path.at(-1), step), rate = step <= drop ? lr : lr * 0.1;
    const moved = change(rule, rate, step, gradient.map((g) => scale * g), states);
    path.push(path.at(-1).map((value, i) => value - moved[i]));
  }
  return path;
}

// The first step after which a parameter differs by more than a millionth of itself.
function partsAt(one, other) {
  const { apart } = PAGE.figures.variants.data.run;
  const isNear = (a, b) => Object.is(a, b) || a === b || Math.abs(a - b) <= apart * Math.max(Math.abs(a), Math.abs(b));
  const found = one.findIndex((point, step) => point.some((value, i) => !isNear(value, other[step][i])));
  return found < 0 ? null : found;
}

FIGURES.variants = ({ first, second, scale, own }) => {
  const { rules } = PAGE.figures.variants.data, which = own ? "own" : "common";
  const [one, other] = [first, second].map((name) => smallRun(plainRule(rules[name][which]), scale));
  const slope = (path) => path.map(([value], step) => [step, value]);
  const shown = [...one, ...other].map(([value]) => value).filter((value) => Math.abs(value) < 20);
  const lines = [line(first, 0, slope(one))];
  if (second !== first) lines.push(line(second, 1, slope(other)));
  const plot = {
    x: axis("step", 0, one.length - 1),
    y: axis("slope", Math.min(-0.5, ...shown), Math.max(2.5, ...shown)),
    lines,
  };
  const readouts = {
    parts: partsAt(one, other),
    one: one[1][0],
    other: other[1][0],
    one_loss: runLoss(one.at(-1)) - leastLoss(),
    other_loss: runLoss(other.at(-1)) - leastLoss(),
  };
  return { plots: [plot], readouts };
};
