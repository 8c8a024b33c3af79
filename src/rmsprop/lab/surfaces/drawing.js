// Drawing in SVG: contours by marching squares, axes, and the paths.

const SVG = "http://www.w3.org/2000/svg";
const NARROW = matchMedia("(max-width: 52rem)");
// The same numbers as in the pictures that Python draws.
const GROWTH = PAGE.growth, LEVELS = PAGE.levels, CELLS = 120;

function element(parent, name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
  return made;
}

// The first step that ends beyond what a picture may grow to; path.length if none does.
function leavesAt(window, path) {
  const { x, y } = path[0];
  const low = [Math.min(window[0], x), Math.min(window[2], y)], high = [Math.max(window[1], x), Math.max(window[3], y)];
  const inside = (value, i) => {
    const room = GROWTH * (high[i] - low[i]);
    return value >= low[i] - room && value <= high[i] + room;
  };
  const found = path.findIndex((point) => !(inside(point.x, 0) && inside(point.y, 1)));
  return found < 0 ? path.length : found;
}

function grown([lowX, highX, lowY, highY], shown) {
  const side = (low, high, values) => {
    const least = Math.min(low, ...values), most = Math.max(high, ...values), margin = 0.03 * (most - least);
    return [Math.min(low, Math.min(...values) - margin), Math.max(high, Math.max(...values) + margin)];
  };
  return [...side(lowX, highX, shown.map((p) => p.x)), ...side(lowY, highY, shown.map((p) => p.y))];
}

// The segments of all contours, in the units of the surface.
function contours(f, [lowX, highX, lowY, highY]) {
  const xs = [], ys = [], z = [];
  for (let i = 0; i <= CELLS; i++) {
    xs.push(lowX + ((highX - lowX) * i) / CELLS);
    ys.push(lowY + ((highY - lowY) * i) / CELLS);
  }
  for (const y of ys) z.push(xs.map((x) => f(x, y)[0]));
  const sorted = z.flat().sort((a, b) => a - b);
  const segments = [];
  for (const share of LEVELS) {
    const level = sorted[Math.round(share * (sorted.length - 1))];
    for (let j = 0; j < CELLS; j++) {
      for (let i = 0; i < CELLS; i++) {
        const corners = [
          [xs[i], ys[j], z[j][i]], [xs[i + 1], ys[j], z[j][i + 1]],
          [xs[i + 1], ys[j + 1], z[j + 1][i + 1]], [xs[i], ys[j + 1], z[j + 1][i]],
        ];
        const cuts = [];
        for (let k = 0; k < 4; k++) {
          const a = corners[k], b = corners[(k + 1) % 4];
          if (a[2] < level === b[2] < level) continue;
          const share = (level - a[2]) / (b[2] - a[2]);
          cuts.push([a[0] + share * (b[0] - a[0]), a[1] + share * (b[1] - a[1])]);
        }
        for (let k = 0; k + 1 < cuts.length; k += 2) segments.push([cuts[k], cuts[k + 1]]);
      }
    }
  }
  return segments;
}

// Round numbers from low to high, about so many.
function ticks(low, high, about) {
  const rough = (high - low) / about, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((digit) => digit * power).find((candidate) => candidate >= rough);
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}

function short(value) {
  if (!Number.isFinite(value)) return String(value).replace("-", "−");
  const size = Math.abs(value);
  const far = size !== 0 && (size < 1e-3 || size >= 1e5);
  const text = far ? value.toExponential(2) : String(Number(value.toPrecision(4)));
  return text.replace("e+", "e").replaceAll("-", "−");
}

class Picture {
  constructor(svg) {
    this.svg = svg;
    this.key = null;
  }

  // Draws contours and axes anew only when they change.
  ground(name, surface, window) {
    const width = Math.max(280, this.svg.clientWidth);
    const shape = Math.min(1.2, Math.max(0.45, (window[3] - window[2]) / (window[1] - window[0])));
    const margin = { left: 44, right: 8, top: 8, bottom: 40 };
    // Where the picture stays in sight above the controls, it leaves them room.
    const most = NARROW.matches ? 0.5 * innerHeight : Infinity;
    this.window = window;
    this.box = { width, margin, inner: Math.min(width - margin.left - margin.right, most / shape) };
    const key = [name, width, this.box.inner, ...window].join();
    this.box.tall = this.box.inner * shape;
    if (key === this.key) return;
    this.key = key;
    const height = this.box.tall + margin.top + margin.bottom;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.style.height = `${height}px`;
    this.svg.replaceChildren();
    const lines = contours(surface.f, window).map(([a, b]) => `M${this.at(...a)}L${this.at(...b)}`);
    element(this.svg, "path", { class: "contour", d: lines.join("") });
    this.axes(height);
    for (const [x, y] of surface.minima) {
      const [u, v] = this.at(x, y);
      element(this.svg, "path", { class: "minimum", d: `M${u - 5} ${v - 5}l10 10m0-10l-10 10` });
    }
    this.layer = element(this.svg, "g", {});
  }

  axes(height) {
    const { left, top } = this.box.margin, [lowX, highX, lowY, highY] = this.window;
    const bottom = top + this.box.tall;
    element(this.svg, "path", { class: "axis", d: `M${left} ${top}V${bottom}H${left + this.box.inner}` });
    for (const x of ticks(lowX, highX, this.box.inner / 90)) {
      const [u] = this.at(x, lowY);
      element(this.svg, "path", { class: "axis", d: `M${u} ${bottom}v5` });
      element(this.svg, "text", { x: u, y: bottom + 18, "text-anchor": "middle" }, short(x));
    }
    for (const y of ticks(lowY, highY, this.box.tall / 50)) {
      const [, v] = this.at(lowX, y);
      element(this.svg, "path", { class: "axis", d: `M${left} ${v}h-5` });
      element(this.svg, "text", { x: left - 8, y: v + 4, "text-anchor": "end" }, short(y));
    }
    element(this.svg, "text", { x: left + this.box.inner / 2, y: height - 4, "text-anchor": "middle" }, "x");
    element(this.svg, "text", { x: 10, y: top + this.box.tall / 2, "text-anchor": "middle" }, "y");
  }

  at(x, y) {
    const { margin, inner, tall } = this.box, [lowX, highX, lowY, highY] = this.window;
    const u = margin.left + (inner * (x - lowX)) / (highX - lowX);
    const v = margin.top + (tall * (highY - y)) / (highY - lowY);
    return [Number(u.toFixed(2)), Number(v.toFixed(2))];
  }

  // The point of the surface under a point of the picture.
  point(u, v) {
    const { margin, inner, tall } = this.box, [lowX, highX, lowY, highY] = this.window;
    const x = lowX + ((u - margin.left) / inner) * (highX - lowX);
    const y = highY - ((v - margin.top) / tall) * (highY - lowY);
    return x >= lowX && x <= highX && y >= lowY && y <= highY ? [x, y] : null;
  }

  // Draws RMSProp's path after those beside it, each as far as it stays in the picture: {style, places, left}.
  paths(walks, chosen) {
    this.layer.replaceChildren();
    for (const { style, path, left } of walks) {
      const places = path.slice(0, left).map((point) => this.at(point.x, point.y));
      if (style) this.beside(style, places, chosen, left > path.length - 1);
      else this.path(places, chosen, left > path.length - 1);
    }
  }

  beside(style, places, chosen, ended) {
    const upTo = Math.min(chosen, places.length - 1);
    element(this.layer, "polyline", { class: `walk-line ${style}`, points: places.slice(0, upTo + 1).join(" ") });
    if (chosen < places.length || ended) marker(this.layer, style, ...places[upTo]);
  }

  // Draws the points up to the chosen one strongly, the rest faintly.
  path(places, chosen, ended) {
    const upTo = Math.min(chosen, places.length - 1);
    element(this.layer, "polyline", { class: "rest", points: places.join(" ") });
    element(this.layer, "polyline", { class: "path", id: "path", points: places.slice(0, upTo + 1).join(" ") });
    if (places.length <= 150) {
      const dots = places.slice(0, upTo + 1).map(([u, v]) => `M${u} ${v}h0`).join("");
      element(this.layer, "path", { class: "dots", d: dots });
    }
    element(this.layer, "circle", { class: "start", cx: places[0][0], cy: places[0][1], r: 6 });
    if (chosen < places.length || ended) marker(this.layer, "", ...places[upTo]);
  }
}

// The mark of the chosen step: RMSProp's is a square, and each optimizer beside it has another shape.
const SHAPES = {
  sgd: "m0 -7l7 12h-14z",
  momentum: "m0 7l7 -12h-14z",
  adagrad: "m0 -7l7 7l-7 7l-7 -7z",
  adam: "m-2 -7h4v5h5v4h-5v5h-4v-5h-5v-4h5z",
};

function marker(parent, style, u, v) {
  if (style) element(parent, "path", { class: `mark ${style}`, d: `M${u} ${v}${SHAPES[style]}` });
  else element(parent, "rect", { class: "end", x: u - 5.5, y: v - 5.5, width: 11, height: 11 });
}

// The heights above the least value over the steps, on a logarithmic axis: {style, heights} of each optimizer.
function drawLoss(svg, curves, chosen) {
  const width = Math.max(280, svg.clientWidth), height = 170, left = 52, right = 10, top = 8, bottom = 130;
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.replaceChildren();
  const steps = curves[0].heights.length - 1;
  const positive = curves.flatMap(({ heights }) => heights.filter((value) => value > 0 && Number.isFinite(value)));
  if (!positive.length) return;
  const extreme = (side) => Math.log10(positive.reduce((one, other) => side(one, other)));
  const most = Math.ceil(extreme(Math.max) + 1e-9);
  const least = Math.max(Math.floor(extreme(Math.min)), most - 30, -300);
  const range = Math.max(1, most - least);
  const u = (step) => left + ((width - left - right) * step) / Math.max(1, steps);
  const v = (value) => top + ((bottom - top) * (most - Math.max(Math.log10(value), least))) / range;
  element(svg, "path", { class: "axis", d: `M${left} ${top}V${bottom}H${width - right}` });
  for (let power = most; power >= least; power -= Math.ceil(range / 4)) {
    element(svg, "path", { class: "axis", d: `M${left} ${v(10 ** power)}h-5` });
    element(svg, "text", { x: left - 8, y: v(10 ** power) + 4, "text-anchor": "end" }, `1e${power}`.replace("-", "−"));
  }
  for (const step of ticks(0, steps, width / 90).filter(Number.isInteger)) {
    element(svg, "path", { class: "axis", d: `M${u(step)} ${bottom}v5` });
    element(svg, "text", { x: u(step), y: bottom + 18, "text-anchor": "middle" }, step);
  }
  element(svg, "text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, "step");
  for (const { style, heights } of curves) {
    const points = heights.map((value, step) => [u(step), value > 0 ? v(value) : bottom, value]);
    const finite = points.filter((point) => Number.isFinite(point[2]));
    const places = finite.map(([a, b]) => `${a.toFixed(1)},${b.toFixed(1)}`);
    element(svg, "polyline", { class: style ? `walk-line ${style}` : "path", points: places.join(" ") });
    if (Number.isFinite(heights[chosen])) marker(svg, style, u(chosen), points[chosen][1]);
  }
}
