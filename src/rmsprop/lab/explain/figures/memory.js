// Figure 5, memory: what ρ remembers of the gradients of a real run, and where v starts from.

const aboveZero = (points) => points.filter(([, value]) => value > 0);

FIGURES.memory = ({ weight, rho, start, correction }) => {
  const gradients = PAGE.figures.memory.data[weight], most = Math.max(...gradients.map(Math.abs));
  const rule = plainRule({ decay: rho, initial_square_avg: Number(start), bias_correction: correction });
  const state = initialState(rule), roots = [], lengths = [], sizes = [];
  gradients.forEach((g, i) => {
    lengths.push([i + 1, Math.abs(change(rule, 1, i + 1, [g], [state])[0])]);
    roots.push([i + 1, Math.sqrt(state.spread)]);
    sizes.push([i + 1, Math.abs(g)]);
  });
  const across = axis("step", 0, gradients.length);
  const given = line("size", 5, aboveZero(sizes), { given: true, dots: true, joined: false });
  const steps = line("steps", 3, aboveZero(lengths), { dots: true, joined: false });
  return {
    plots: [
      { x: across, y: axis("size", most * 1e-3, 2, true), lines: [given, line("root", 0, roots)] },
      { x: across, y: axis("length", 0.003, 100, true), lines: [steps] },
    ],
    readouts: { first: lengths[0][1], half_life: Math.LN2 / -Math.log(rho), window: 1 / (1 - rho) },
  };
};
