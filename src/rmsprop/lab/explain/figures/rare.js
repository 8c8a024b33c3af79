// Figure 7, rare classes: where frequencies follow Zipf's law, gradient descent hardly learns the rare ones.

const RARE = { classes: 1000, steps: 100, right: 0.9 };

// The share of class k among the data is 1/k over this.
const zipfTotal = (() => {
  let total = 0;
  for (let k = 1; k <= RARE.classes; k++) total += 1 / k;
  return total;
})();

// The loss on one class, above the least there is, before the first step and after each. By symmetry it has two
// weights, that of the class itself and that of every other.
function classLosses(share, make) {
  const own = make(), other = make(), found = [], rest = RARE.classes - 1, { right } = RARE;
  const odds = (1 - right) / right, least = Math.log1p(odds) + (1 - right) * Math.log(rest / odds);
  for (let step = 0, a = 0, b = 0; step <= RARE.steps; step++) {
    const others = rest * Math.exp(-(a - b)), missed = right - 1 / (1 + others);
    found.push([step, Math.log1p(others) + (1 - right) * (a - b) - least]);
    a -= own(step + 1, -(share * missed));
    b -= other(step + 1, (share * missed) / rest);
  }
  return found;
}

FIGURES.rare = ({ gd_lr, lr }) => {
  const make = { gd: () => OPTIMIZERS.sgd(gd_lr), rms: () => OPTIMIZERS.rmsprop(lr, plainRule({})) };
  const share = (k) => 1 / k / zipfTotal, ends = {};
  const drawn = [["gd", "common", 1, 1], ["gd", "middling", 30, 2], ["gd", "rare", 1000, 3], ["rms", "common", 1, 0],
    ["rms", "rare", 1000, 4]];
  const lines = drawn.map(([who, which, rank, style]) => {
    const points = classLosses(share(rank), make[who]);
    ends[`${who}_${which}`] = points.at(-1)[1];
    return line(`${who}_${which}`, style, points);
  });
  for (const who of ["gd", "rms"]) {
    ends[`${who}_all`] = 0;
    for (let k = 1; k <= RARE.classes; k++) ends[`${who}_all`] += share(k) * classLosses(share(k), make[who]).at(-1)[1];
  }
  return { plots: [{ x: axis("step", 0, RARE.steps), y: axis("loss", 1e-6, 10, true), lines }], readouts: ends };
};
