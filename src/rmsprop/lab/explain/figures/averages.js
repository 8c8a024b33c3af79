// Figure 4, sum, mean or leak: three ways to remember squared gradients, when they shrink halfway.

const AVERAGES = { steps: 1000, half: 500, small: 0.01 };

FIGURES.averages = ({ rho }) => {
  const gradients = Array.from({ length: AVERAGES.steps }, (_, i) => (i < AVERAGES.half ? 1 : AVERAGES.small));
  const over = (move) => gradients.map((g, i) => [i + 1, move(i + 1, g)]);
  let total = 0;
  const mean = (t, g) => {
    total += g * g;
    return g / Math.sqrt(total / t);
  };
  const found = {
    sum: over(OPTIMIZERS.adagrad(1)),
    mean: over(mean),
    leak: over(OPTIMIZERS.rmsprop(1, plainRule({ decay: rho }))),
  };
  const across = axis("step", 0, AVERAGES.steps), styles = { sum: 1, mean: 2, leak: 0 };
  const back = found.leak.slice(AVERAGES.half).findIndex(([, length]) => length >= 0.9);
  const end = (name) => found[name].at(-1)[1];
  return {
    plots: [
      {
        x: across,
        y: axis("size", 0.003, 3, true),
        lines: [line("size", 5, gradients.map((g, i) => [i + 1, g]), { given: true })],
      },
      {
        x: across,
        y: axis("length", 0.0003, 10, true),
        lines: Object.entries(found).map(([name, points]) => line(name, styles[name], points)),
      },
    ],
    readouts: {
      before: found.sum[AVERAGES.half - 1][1],
      sum: end("sum"),
      mean: end("mean"),
      leak: end("leak"),
      back: back < 0 ? null : back + 1,
    },
  };
};
