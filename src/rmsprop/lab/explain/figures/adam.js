// Figure 10, build Adam: RMSProp, with the average of gradients and bias correction switched on one by one.

const BETA1 = 0.9, BETA2 = 0.999;

function built(average, correction) {
  let mean = 0, spread = 0;
  return (t, g) => {
    mean = average ? mean + (1 - BETA1) * (g - mean) : g;
    spread = BETA2 * spread + (1 - BETA2) * g * g;
    const first = average && correction ? 1 - BETA1 ** t : 1, second = correction ? 1 - BETA2 ** t : 1;
    return (1 / first) * (mean / (Math.sqrt(spread) / Math.sqrt(second) + 1e-8));
  };
}

FIGURES.adam = ({ average, correction }) => {
  const steady = Array(50).fill(1), real = PAGE.figures.memory.data.middling;
  const lengths = (move) => steady.map((g, i) => [i + 1, move(i + 1, g)]);
  const path = (move) => {
    let weight = 0;
    return real.map((g, i) => [i + 1, (weight -= move(i + 1, g))]);
  };
  const first = lengths(built(average, correction)), paths = [path(built(average, correction)), path(OPTIMIZERS.adam(1))];
  const values = paths.flat().map(([, weight]) => weight);
  const apart = Math.max(...paths[0].map(([, weight], i) => Math.abs(weight - paths[1][i][1])));
  return {
    plots: [
      {
        x: axis("step", 0, steady.length),
        y: axis("length", 0.5, 50, true),
        lines: [line("adam", 1, lengths(OPTIMIZERS.adam(1))), line("built", 0, first)],
      },
      {
        x: axis("step", 0, real.length),
        y: axis("weight", Math.min(...values), Math.max(...values)),
        lines: [line("adam", 1, paths[1]), line("built", 0, paths[0])],
      },
    ],
    // Below the rounding of 150 steps, two paths are the same.
    readouts: { first: first[0][1], tenth: first[9][1], apart: apart > 1e-9 ? apart : 0 },
  };
};

// The formula morphs: what is switched on is marked, what it replaces is gone.
EXTRAS.adam = ({ average, correction }) => {
  const holds = { average, correction, gradient: !average, raw: !correction };
  byId("adam").querySelectorAll(".formula [data-if]").forEach((part) => {
    part.classList.toggle("off", !part.dataset.if.split(" ").every((word) => holds[word]));
  });
};
