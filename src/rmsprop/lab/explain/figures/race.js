// Figure 8, the race: five optimizers on six surfaces, with one learning rate for all or each one's best of 16.

const RACE = { steps: 60, places: 40, styles: { sgd: 1, momentum: 2, adagrad: 3, rmsprop: 0, adam: 4 } };

// Where a path is said to have left: what of the surface is shown, and twice as much again on each side.
function hasLeft([lowX, highX, lowY, highY], path) {
  const [x0, y0] = path[0];
  const inside = (value, low, high) => value >= low - PAGE.growth * (high - low) && value <= high + PAGE.growth * (high - low);
  return !path.every(([x, y]) =>
    inside(x, Math.min(lowX, x0), Math.max(highX, x0)) && inside(y, Math.min(lowY, y0), Math.max(highY, y0)));
}

function run(name, lr, surface, start) {
  const rule = plainRule(PAGE.figures.variants.data.rules.d2l.own);
  const make = name === "rmsprop" ? () => OPTIMIZERS.rmsprop(lr, rule) : () => OPTIMIZERS[name](lr);
  const path = pathOf(make, (x, y) => surface.f(x, y).slice(1), start, RACE.steps);
  const losses = path.map(([x, y]) => surface.f(x, y)[0]);
  // How low it ends: the highest loss of its last fifth, so that no lucky step hides a spike.
  const last = losses.slice(-Math.floor(RACE.steps / 5));
  const ending = hasLeft(surface.window, path) ? Infinity : Math.max(...last);
  return { name, lr, path, losses, ending };
}

function runBest(name, surface, start) {
  const all = PAGE.figures.race.data.grid.map((lr) => run(name, lr, surface, start));
  return all.reduce((best, one) => (one.ending < best.ending ? one : best));
}

FIGURES.race = ({ surface: which, rate, lr, across, up }) => {
  const surface = SURFACES[which], [lowX, highX, lowY, highY] = surface.window;
  const start = [lowX + ((across + 0.5) * (highX - lowX)) / RACE.places, lowY + ((up + 0.5) * (highY - lowY)) / RACE.places];
  const walk = (name) => (rate === "common" ? run(name, lr, surface, start) : runBest(name, surface, start));
  const walks = Object.keys(RACE.styles).map(walk);
  const most = 2 * Math.max(walks[0].losses[0] - surface.least, 1e-3), readouts = {};
  for (const one of walks) readouts[`lr_${one.name}`] = one.lr;
  for (const one of walks) readouts[`f_${one.name}`] = one.losses.at(-1) - surface.least;
  const heights = ({ losses }) => aboveZero(losses.map((loss, step) => [step, loss - surface.least]));
  return {
    plots: [
      {
        x: axis("first", lowX, highX),
        y: axis("second", lowY, highY),
        lines: [startLine(start), ...walks.map((one) => pathLine(one.name, one.path, RACE.styles[one.name], false))],
        surface: which,
        equal: true,
      },
      {
        x: axis("step", 0, RACE.steps),
        y: axis("height", most * 1e-10, most, true),
        lines: walks.map((one) => line(one.name, RACE.styles[one.name], heights(one))),
      },
    ],
    readouts,
  };
};

// A click on the surface starts the race there; the sliders do the same for the keyboard.
EXTRAS.race = () => {
  const svg = byId("race-plot-0");
  svg.onclick = (event) => {
    if (isAsking("race")) return;
    const box = svg.getBoundingClientRect(), { x, y } = svg.sheet.shares(event.clientX - box.left, event.clientY - box.top);
    const place = (share) => Math.min(RACE.places - 1, Math.max(0, Math.floor(share * RACE.places)));
    STATE.race.settings.up = place(y);
    set("race", "across", place(x));
  };
  svg.style.cursor = "crosshair";
};
