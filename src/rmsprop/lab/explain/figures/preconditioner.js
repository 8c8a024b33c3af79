// Figure 6, the preconditioner: v stretches the space along its axes, and a bowl that is turned has others.

const TURNED = { kappa: 100, steps: 120, reach: 1, start: [-6, 1.5], lr: 0.1, sgd: 0.019, heights: [2, 10, 30, 70, 130] };

// 1/√v of both coordinates after some steps, so that the larger one is 1.
function reachAfter(gradient, path, step) {
  const rule = plainRule({ decay: 0.99 }), states = [initialState(rule), initialState(rule)];
  for (let t = 1; t <= Math.max(step, 1); t++) {
    change(rule, TURNED.lr, t, gradient(...path[t - 1]), states);
  }
  const reach = states.map((state) => 1 / Math.sqrt(state.spread)), most = Math.max(...reach);
  return reach.map((length) => (TURNED.reach * length) / most);
}

// How elongated the bowl is in the stretched space: its largest eigenvalue over its smallest.
function conditionIn([a, b, c], [p, q]) {
  const middle = 0.5 * (a * p + c * q), difference = 0.5 * (a * p - c * q);
  const largest = middle + Math.sqrt(difference * difference + b * b * p * q);
  return (largest * largest) / ((a * c - b * b) * (p * q));
}

// After how many steps the height is at most a hundredth of what it was.
function firstBelow(heights) {
  const found = heights.findIndex((height) => height <= 0.01 * heights[0]);
  return found < 0 ? null : found;
}

FIGURES.preconditioner = ({ angle, step }) => {
  const { kappa, steps } = TURNED, [cos, sin] = PAGE.figures.preconditioner.data.turns[angle / 5], [x0, y0] = TURNED.start;
  const a = cos * cos + kappa * (sin * sin), b = (1 - kappa) * (cos * sin), c = sin * sin + kappa * (cos * cos);
  const start = [cos * x0 - sin * y0, sin * x0 + cos * y0];
  const gradient = (x, y) => [a * x + b * y, b * x + c * y];
  const height = ([x, y]) => 0.5 * (a * x * x + 2 * (b * x * y) + c * y * y);
  const rmsprop = pathOf(() => OPTIMIZERS.rmsprop(TURNED.lr, plainRule({ decay: 0.99 })), gradient, start, steps);
  const sgd = pathOf(() => OPTIMIZERS.sgd(TURNED.sgd), gradient, start, steps);
  const reach = reachAfter(gradient, rmsprop, step), at = rmsprop[step];
  const turns = Array.from({ length: 73 }, (_, k) => k * ((2 * Math.PI) / 72));
  const ellipse = turns.map((turn) => [at[0] + reach[0] * Math.cos(turn), at[1] + reach[1] * Math.sin(turn)]);
  const plot = {
    x: axis("first", -7, 1.5),
    y: axis("second", -4, 2.5),
    lines: [
      startLine(start),
      pathLine("sgd", sgd, 1, false),
      pathLine("rmsprop", rmsprop, 0),
      line("ellipse", 3, ellipse),
    ],
    contours: ellipses([a, b, c], TURNED.heights),
    equal: true,
  };
  const readouts = {
    condition: conditionIn([a, b, c], reach),
    rmsprop: firstBelow(rmsprop.map(height)),
    sgd: firstBelow(sgd.map(height)),
  };
  return { plots: [plot], readouts };
};
