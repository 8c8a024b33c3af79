// Figure 2, only the sign: Rprop, whose path does not depend on the size of gradients.

FIGURES.signs = ({ kappa, scale }) => {
  const walk = (make) => pathOf(make, bowl(kappa, scale), RAVINE.start, 40);
  const sgd = walk(() => OPTIMIZERS.sgd(0.095)), rprop = walk(() => OPTIMIZERS.rprop(0.1));
  const plot = {
    x: axis("x", -11, 3),
    y: axis("y", -1.5, 1.5),
    lines: [startLine(RAVINE.start), pathLine("sgd", sgd, 1), pathLine("rprop", rprop, 2)],
    contours: ellipses([1, 0, kappa], RAVINE.heights),
  };
  return { plots: [plot], readouts: { sgd: Math.hypot(...sgd.at(-1)), rprop: Math.hypot(...rprop.at(-1)) } };
};
