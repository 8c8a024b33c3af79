// Figure 1, a ravine: the steepest side limits the learning rate, and the flat floor pays for it.

const RAVINE = { start: [-10, 1], steps: 60, most: 20000, heights: [0.5, 2, 8, 20, 40] };

const bowl = (kappa, scale = 1) => (x, y) => [scale * x, scale * (kappa * y)];
const startLine = (start) => line("start", 5, [start], { given: true, dots: true, joined: false });
const pathLine = (name, path, style, dots = true) => line(name, style, path, { dots });

// After how many steps of SGD the height is at most a hundredth of what it was.
function stepsDown(kappa, lr) {
  let [x, y] = RAVINE.start;
  const target = 0.01 * (x * x + kappa * y * y);
  for (let step = 0; step <= RAVINE.most; step++) {
    if (x * x + kappa * y * y <= target) return step;
    [x, y] = [x - lr * x, y - lr * (kappa * y)];
  }
  return null;
}

FIGURES.ravine = ({ kappa, share }) => {
  const lr = share * (2 / kappa);
  const path = pathOf(() => OPTIMIZERS.sgd(lr), bowl(kappa), RAVINE.start, RAVINE.steps);
  const plot = {
    x: axis("x", -11, 3),
    y: axis("y", -1.5, 1.5),
    lines: [startLine(RAVINE.start), pathLine("sgd", path, 1)],
    contours: ellipses([1, 0, kappa], RAVINE.heights),
  };
  return { plots: [plot], readouts: { largest: 2 / kappa, lr, steps: stepsDown(kappa, lr) } };
};
