// The controls, the numbers and what ties them to the drawing.

const byId = (id) => document.getElementById(id);
const FLAGS = ["eps_inside_sqrt", "init_from_gradient", "delayed", "centered", "nesterov", "averaged_momentum",
  "caution", "bias_correction"];
const PEERS = PAGE.beside, BESIDE = PEERS.map((name) => `beside-${name}`);
const digits = (value, count) => Number(value.toPrecision(count));

// A slider runs from 0 to 200; each number has a scale of its own, and its field takes any value that is allowed.
const FRACTION = { ok: (v) => v >= 0 && v <= 1, allowed: "from 0 to 1" };
const FROM_ZERO = { ok: (v) => v >= 0, allowed: "0 or more" };
const COORDINATE = { ok: (v) => Math.abs(v) <= PAGE.farthest, allowed: `from −${PAGE.farthest} to ${PAGE.farthest}` };
const RATE = {
  from: (s) => digits(10 ** (5 * s - 4), 3),
  to: (v) => (Math.log10(v) + 4) / 5,
  ok: (v) => v > 0,
  allowed: "above 0",
};
const NUMBERS = {
  lr: RATE,
  decay: {
    from: (s) => digits(1 - digits(10 ** (-4 * s), 2), 6),
    to: (v) => Math.log10(1 - v) / -4,
    ...FRACTION,
  },
  eps: {
    from: (s) => (s === 0 ? 0 : digits(10 ** (12 * s - 12), 2)),
    to: (v) => (v > 0 ? (Math.log10(v) + 12) / 12 : 0),
    ...FROM_ZERO,
  },
  momentum: { from: (s) => digits(0.99 * s, 2), to: (v) => v / 0.99, ...FRACTION },
  initial_square_avg: FROM_ZERO,
  steps: {
    from: (s) => Math.round(1 + 299 * s),
    to: (v) => (v - 1) / 299,
    ok: (v) => Number.isInteger(v) && v >= 1 && v <= PAGE.most_steps,
    allowed: `a whole number from 1 to ${PAGE.most_steps}`,
  },
  x: COORDINATE,
  y: COORDINATE,
};
for (const name of PEERS) NUMBERS[`lr-${name}`] = RATE;

// Returns the number that a text stands for, or null if it can't be used; links are as untrusted as typing.
function parsed(name, text) {
  const value = Number(text);
  return text.trim() !== "" && Number.isFinite(value) && NUMBERS[name].ok(value) ? value : null;
}

const settings = { ...PAGE.settings };
const picture = new Picture(byId("picture"));
// RMSProp's path, and those of the optimizers beside it: {style, path, left}, where left is the step at which it leaves.
let path = [], others = [], chosen = Infinity, playing = null;

function rule() {
  const one = { lr_in_momentum: PAGE.dialects[settings.dialect].lr_in_momentum };
  for (const name of ["decay", "eps", "momentum", "initial_square_avg", ...FLAGS]) one[name] = settings[name];
  one.nesterov = one.nesterov && one.momentum > 0;
  one.caution = one.caution && one.momentum > 0;
  one.averaged_momentum = one.averaged_momentum && one.momentum < 1;
  one.bias_correction = one.bias_correction && one.decay < 1;
  return one;
}

function rmsprop(lr) {
  return descend(SURFACES[settings.surface].f, rule(), lr, settings.steps, [settings.x, settings.y]);
}

// The path of an optimizer beside RMSProp.
function walked(name, lr) {
  const { f } = SURFACES[settings.surface], make = () => OPTIMIZERS[name](lr, ...PAGE.peers[name].options);
  const points = pathOf(make, (x, y) => f(x, y).slice(1), [settings.x, settings.y], settings.steps);
  return points.map(([x, y]) => ({ x, y, f: f(x, y)[0] }));
}

const leaves = (one) => leavesAt(SURFACES[settings.surface].window, one);

function update() {
  path = rmsprop(settings.lr);
  others = PEERS.filter((name) => settings[`beside-${name}`]).map((name) => {
    const one = walked(name, settings[`lr-${name}`]);
    return { style: name, path: one, left: leaves(one) };
  });
  show();
  history.replaceState(null, "", "#" + new URLSearchParams(settings));
}

function show() {
  const surface = SURFACES[settings.surface], last = path.length - 1, at = Math.min(chosen, last);
  const left = leaves(path), all = [...others, { style: "", path, left }];
  picture.ground(settings.surface, surface, grown(surface.window, all.flatMap((one) => one.path.slice(0, one.left))));
  picture.paths(all, at);
  // A path that left would make everybody else's loss a flat line.
  const heights = (one) => (one.style ? one.path.slice(0, one.left) : one.path).map((point) => point.f - surface.least);
  drawLoss(byId("loss"), [...all].reverse().map((one) => ({ style: one.style, heights: heights(one) })), at);
  const moved = at > 0 ? Math.hypot(path[at].x - path[at - 1].x, path[at].y - path[at - 1].y) : 0;
  const numbers = { "at-step": at, "end-x": path[at].x, "end-y": path[at].y, "end-f": path[at].f, "end-moved": moved };
  for (const [id, value] of Object.entries(numbers)) {
    byId(id).textContent = short(value);
    byId(id).dataset.value = String(value);
  }
  byId("at").max = last;
  byId("at").value = at;
  const lowest = path.reduce((best, point, step) => (point.f < path[best].f ? step : best), 0);
  const low = `Lowest: f = ${short(path[lowest].f)} at step ${lowest}.`;
  const lost = others.filter((one) => one.left <= last);
  const said = lost.map((one) => ` ${PAGE.peers[one.style].label} leaves it at step ${one.left}.`).join("");
  byId("summary").textContent = (left > last ? low : `Leaves this picture at step ${left}.`) + said;
  const [from, to] = [path[0], path[at]].map((point) => `(${short(point.x)}, ${short(point.y)})`);
  const label = `Contours of ${settings.surface} and the path of RMSProp: from ${from} to ${to} in ${at} steps.`;
  const names = others.map((one) => PAGE.peers[one.style].label).join(", ");
  byId("picture").setAttribute("aria-label", names ? `${label} Beside it: ${names}.` : label);
  compare(at);
  if (byId("all").open) table();
  controls();
}

// The optimizers beside RMSProp in a table below the picture, which is its legend, too.
function compare(at) {
  byId("beside").hidden = others.length === 0;
  const rows = [{ style: "", path }, ...others].map(({ style, path: one }) => {
    const row = document.createElement("tr"), title = document.createElement("th");
    title.scope = "row";
    sample(title, style);
    title.append(` ${style ? PAGE.peers[style].label : "RMSProp"}`);
    row.append(title);
    for (const name of ["x", "y", "f"]) {
      const cell = row.insertCell();
      cell.textContent = short(one[at][name]);
      cell.dataset.value = String(one[at][name]);
    }
    row.id = `at-${style || "rmsprop"}`;
    return row;
  });
  byId("ends").replaceChildren(...rows);
}

function sample(parent, style) {
  const svg = element(parent, "svg", { class: "sample", viewBox: "0 0 44 16", "aria-hidden": "true" });
  element(svg, "path", { class: style ? `walk-line ${style}` : "path", d: "M2 8h40" });
  marker(svg, style, 22, 8);
}

function table() {
  const rows = path.map((point, step) => {
    const row = document.createElement("tr");
    for (const value of [step, point.x, point.y, point.f]) row.insertCell().textContent = String(value);
    return row;
  });
  byId("points").replaceChildren(...rows);
}

// Puts the settings into the controls, but not into the one that is being typed in.
function controls() {
  for (const name of ["surface", "dialect"]) byId(name).value = settings[name];
  for (const [name, scale] of Object.entries(NUMBERS)) {
    const field = byId(name), slider = byId(`${name}-slider`);
    if (document.activeElement !== field) field.value = settings[name];
    if (!slider) continue;
    if (document.activeElement !== slider) slider.value = 200 * Math.min(1, Math.max(0, scale.to(settings[name])));
    slider.setAttribute("aria-valuetext", String(settings[name]));
  }
  for (const name of [...FLAGS, ...BESIDE]) byId(name).checked = settings[name];
  for (const name of PEERS) byId(`row-${name}`).hidden = !settings[`beside-${name}`];
  byId("nesterov").disabled = settings.momentum === 0;
  byId("call").textContent = call();
}

// The same optimizer in Python: what differs from the dialect's defaults is written out.
function call() {
  const defaults = PAGE.dialects[settings.dialect];
  const words = { true: "True", false: "False" };
  const given = ["decay", "eps", "momentum", "initial_square_avg", ...FLAGS]
    .filter((name) => rule()[name] !== defaults[name])
    .map((name) => `, ${name === "decay" ? "alpha" : name}=${words[rule()[name]] ?? rule()[name]}`);
  return `rmsprop.torch.RMSprop(params, lr=${settings.lr}, dialect="${settings.dialect}"${given.join("")})`;
}

function choose(name) {
  settings.dialect = name;
  const { lr, ...fields } = PAGE.dialects[name];
  for (const field of Object.keys(fields)) if (field in settings) settings[field] = fields[field];
}

function restart() {
  chosen = Infinity;
  update();
}

// Says beside a field why its text isn't used, and what is used instead; nothing where it is.
function refuse(name, text) {
  const { allowed } = NUMBERS[name];
  const given = text?.trim() ? `${text.trim()} isn't used` : "Nothing is given";
  byId(`${name}-refused`).textContent = text === null ? "" : `${given}: allowed is ${allowed}. Still ${settings[name]}.`;
}

function setNumber(name, text) {
  const value = parsed(name, text);
  byId(name).setAttribute("aria-invalid", String(value === null));
  refuse(name, value === null ? text : null);
  if (value === null) {
    byId(`${name}-refused`).scrollIntoView({ block: "nearest" });
    return;
  }
  settings[name] = value;
  restart();
}

function fromLink() {
  for (const [name, text] of new URLSearchParams(location.hash.slice(1))) {
    if (Object.hasOwn(NUMBERS, name)) {
      const value = parsed(name, text);
      refuse(name, value === null ? text : null);
      settings[name] = value ?? settings[name];
    } else if (FLAGS.includes(name) || BESIDE.includes(name)) settings[name] = text === "true";
    else if (name === "surface" && Object.hasOwn(SURFACES, text)) settings.surface = text;
    else if (name === "dialect" && Object.hasOwn(PAGE.dialects, text)) settings.dialect = text;
  }
}

// Gives everybody a learning rate, and takes back what was refused.
function rates(rateOf) {
  for (const name of ["", ...PEERS]) {
    const field = name ? `lr-${name}` : "lr";
    refuse(field, null);
    byId(field).removeAttribute("aria-invalid");
    if (!name || settings[`beside-${name}`]) settings[field] = rateOf(name);
  }
  restart();
}

// The learning rate of 16 with which a path ends lowest: the highest loss of its last fifth, as no lucky step counts.
function best(name) {
  const ends = PAGE.grid.map((lr) => {
    const one = name ? walked(name, lr) : rmsprop(lr), last = one.slice(-Math.max(1, Math.floor(settings.steps / 5)));
    return leaves(one) < one.length ? Infinity : Math.max(...last.map((point) => point.f));
  });
  return PAGE.grid[ends.indexOf(Math.min(...ends))];
}

function play() {
  clearInterval(playing);
  chosen = 0;
  playing = setInterval(() => {
    chosen += Math.ceil(path.length / 150);
    if (chosen >= path.length - 1) clearInterval(playing);
    show();
  }, 80);
}

for (const name of Object.keys(NUMBERS)) {
  byId(name).addEventListener("input", (event) => setNumber(name, event.target.value));
  byId(name).addEventListener("change", () => {
    byId(name).value = settings[name];
    byId(name).removeAttribute("aria-invalid");
  });
  byId(`${name}-slider`)?.addEventListener("input", (event) => {
    refuse(name, null);
    settings[name] = NUMBERS[name].from(event.target.value / 200);
    restart();
  });
}
for (const name of [...FLAGS, ...BESIDE]) {
  byId(name).addEventListener("change", (event) => {
    settings[name] = event.target.checked;
    restart();
  });
}
byId("surface").addEventListener("change", (event) => {
  settings.surface = event.target.value;
  [settings.x, settings.y] = SURFACES[settings.surface].start;
  restart();
});
byId("dialect").addEventListener("change", (event) => {
  choose(event.target.value);
  restart();
});
byId("at").addEventListener("input", (event) => {
  clearInterval(playing);
  chosen = Number(event.target.value);
  show();
});
byId("common").addEventListener("click", () => rates(() => settings.lr));
byId("best").addEventListener("click", () => rates(best));
byId("play").addEventListener("click", play);
byId("all").addEventListener("toggle", table);
byId("picture").addEventListener("click", (event) => {
  const box = byId("picture").getBoundingClientRect();
  const point = picture.point(event.clientX - box.left, event.clientY - box.top);
  if (!point) return;
  [settings.x, settings.y] = point.map((value) => digits(value, 3));
  restart();
});
let width = 0;
new ResizeObserver(([entry]) => {
  document.documentElement.style.setProperty("--plot", `${entry.contentRect.height}px`);
  if (entry.contentRect.width === width) return;
  width = entry.contentRect.width;
  show();
}).observe(byId("picture").parentElement);

addEventListener("hashchange", () => {
  fromLink();
  restart();
});

fromLink();
update();
