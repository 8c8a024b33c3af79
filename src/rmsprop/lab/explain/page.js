// What ties settings, questions and links to the figures.

const byId = (id) => document.getElementById(id);
const NAMES = Object.keys(PAGE.figures);
// Figure -> its settings and the guess: null before one is made, "skip" without one, or the number of a choice.
const STATE = {};

const opening = (name) => ({ settings: { ...PAGE.figures[name].settings }, guess: null });
const isAsking = (name) => STATE[name].guess === null && !matchMedia("print").matches;

function filled(text, values) {
  return text.replace(/\{(\w+)\}/g, (_, key) => (values[key] === null ? TEXT.ui.never : readable(values[key])));
}

function show(name) {
  const { settings, guess } = STATE[name], text = TEXT.figures[name], asking = isAsking(name);
  const { plots, readouts } = FIGURES[name](settings);
  const said = filled(text.summary, { ...settings, ...readouts });
  byId(name).classList.toggle("asking", asking);
  byId(name).classList.toggle("open", guess === null);
  plots.forEach((plot, i) => {
    const svg = byId(`${name}-plot-${i}`);
    new Sheet(svg, { contours: [], surface: null, equal: false, ...plot }).draw(!asking);
    svg.setAttribute("aria-label", asking ? text.unanswered : said);
  });
  byId(`${name}-said`).textContent = asking ? "" : said;
  for (const [key, value] of Object.entries(readouts)) {
    const cell = byId(`${name}-${key}`);
    if (!cell) continue;
    cell.textContent = value === null ? TEXT.ui.never : readable(value);
    cell.dataset.value = String(value);
  }
  showGuess(name, guess);
  showControls(name, settings);
  EXTRAS[name]?.(settings, readouts);
  if (byId(`${name}-numbers`)?.open) table(name);
}

function showGuess(name, guess) {
  const right = PAGE.figures[name].answer, text = TEXT.figures[name];
  byId(name).querySelectorAll("[data-guess]").forEach((button) => {
    button.setAttribute("aria-pressed", String(button.dataset.guess === guess));
    button.classList.toggle("right", guess !== null && button.dataset.guess === String(right));
  });
  const verdict = guess === "skip" ? "" : guess === String(right) ? TEXT.ui.right : TEXT.ui.wrong;
  byId(`${name}-verdict`).textContent = guess === null ? "" : `${verdict} ${text.why}`.trim();
  const skip = byId(name).querySelector(".skip");
  skip.hidden = guess !== null;
}

function shownValue(name, control, value) {
  const units = TEXT.figures[name].units?.[control];
  return units ? units.replace("{}", readable(value)) : readable(value);
}

function showControls(name, settings) {
  for (const { name: key, values } of PAGE.figures[name].controls) {
    const input = byId(`${name}.${key}`), value = settings[key];
    if (input.type === "checkbox") input.checked = value;
    else if (input.type !== "range") input.value = value;
    else {
      input.value = values.indexOf(value);
      const text = shownValue(name, key, value);
      input.setAttribute("aria-valuetext", text);
      byId(`${name}.${key}.value`).textContent = text;
    }
  }
}

function table(name) {
  const { plots } = FIGURES[name](STATE[name].settings);
  const tables = plots.map((plot) => {
    const made = document.createElement("table"), head = made.createTHead().insertRow(), body = made.createTBody();
    for (const title of ["", TEXT.axes[plot.x.name], TEXT.axes[plot.y.name]]) {
      const cell = document.createElement("th");
      cell.scope = "col";
      cell.textContent = title;
      head.append(cell);
    }
    for (const { name: of, points } of plot.lines) {
      for (const [x, y] of points) {
        const row = body.insertRow(), title = document.createElement("th");
        title.scope = "row";
        title.textContent = TEXT.lines[of] ?? of;
        row.append(title);
        for (const value of [x, y]) row.insertCell().textContent = String(value);
      }
    }
    return made;
  });
  byId(`${name}-table`).replaceChildren(...tables);
}

// The link of what is seen: the figure touched last, then everything that isn't as it opens.
function link(name) {
  const parts = [name];
  for (const one of NAMES) {
    const start = PAGE.figures[one].settings, { settings, guess } = STATE[one];
    for (const [key, value] of Object.entries(settings)) {
      if (value !== start[key]) parts.push(`${one}.${key}=${encodeURIComponent(value)}`);
    }
    if (guess !== null) parts.push(`${one}.guess=${guess}`);
  }
  history.replaceState(null, "", `#${parts.join("&")}`);
}

// A value from a link or a control, or undefined if it is none that the control has; links are as untrusted as typing.
function allowed(control, text) {
  if (control.values) return control.values.find((value) => String(value) === text);
  if (control.options) return control.options.find((option) => option === text);
  return { true: true, false: false }[text];
}

function fromLink() {
  for (const name of NAMES) STATE[name] = opening(name);
  const [first, ...rest] = location.hash.slice(1).split("&");
  for (const part of rest) {
    const [, name, key, text] = part.match(/^(\w+)\.(\w+)=(.*)$/) ?? [];
    if (!NAMES.includes(name)) continue;
    const choices = TEXT.figures[name].choices.map((_, i) => String(i));
    if (key === "guess") {
      if (["skip", ...choices].includes(text)) STATE[name].guess = text;
      continue;
    }
    const control = PAGE.figures[name].controls.find((one) => one.name === key);
    const value = control && allowed(control, unescaped(text));
    if (value !== undefined) STATE[name].settings[key] = value;
  }
  return NAMES.includes(first) ? first : null;
}

function unescaped(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return "";
  }
}

function set(name, key, value) {
  STATE[name].settings[key] = value;
  link(name);
  show(name);
}

function listen(name) {
  for (const control of PAGE.figures[name].controls) {
    const input = byId(`${name}.${control.name}`);
    input.addEventListener("input", () => {
      const value = input.type === "checkbox" ? input.checked : input.value;
      set(name, control.name, control.values ? control.values[Number(value)] : value);
    });
  }
  byId(name).querySelectorAll("[data-guess]").forEach((button) => {
    button.addEventListener("click", () => {
      STATE[name].guess = button.dataset.guess;
      link(name);
      show(name);
      if (button.hidden) byId(name).querySelector("[data-guess]").focus();
    });
  });
  byId(`${name}-numbers`)?.addEventListener("toggle", () => table(name));
}

function arrive(event) {
  // A link inside the page leads to a figure and leaves everything as it is.
  if (event && !location.hash.includes("&")) return;
  const name = fromLink();
  NAMES.forEach(show);
  if (name) byId(name).scrollIntoView();
}

document.documentElement.classList.add("script");
NAMES.forEach(listen);
arrive();
addEventListener("hashchange", arrive);
const redraw = () => NAMES.forEach(show);
matchMedia("print").addEventListener("change", redraw);
addEventListener("beforeprint", redraw);
let drawnAt = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === drawnAt) return;
  drawnAt = innerWidth;
  redraw();
});
