// Figure 3, Hinton's ten minibatches: gradients that cancel, and what normalised steps make of them.

const TEN = [...Array(9).fill(0.1), -0.9], BATCHES = 50;

// The average of squares at the start of ten minibatches, when it has been through many of them.
function settled(rho) {
  let fresh = 0, kept = 1;
  for (const g of TEN) [fresh, kept] = [fresh + (1 - rho) * (g * g - fresh), rho * kept];
  return fresh / (1 - kept);
}

function weightOver(move) {
  const found = [[0, 0]];
  for (let step = 1, weight = 0; step <= BATCHES; step++) {
    weight -= move(step, TEN[(step - 1) % 10]);
    found.push([step, weight]);
  }
  return found;
}

FIGURES.ten = ({ rho }) => {
  const rmsprop = weightOver(OPTIMIZERS.rmsprop(1, plainRule({ decay: rho, initial_square_avg: settled(rho) })));
  const sign = weightOver((step, g) => Math.sign(g));
  const gradients = Array.from({ length: BATCHES }, (_, i) => [i + 1, TEN[i % 10]]);
  const across = axis("minibatch", 0, BATCHES);
  const given = line("gradient", 5, gradients, { given: true, dots: true, joined: false });
  return {
    plots: [
      { x: across, y: axis("gradient", -1, 0.4), lines: [given] },
      { x: across, y: axis("weight", -42, 4), lines: [line("sign", 2, sign), line("rmsprop", 0, rmsprop)] },
    ],
    readouts: { sign: sign[10][1], rmsprop: rmsprop[10][1] },
  };
};
