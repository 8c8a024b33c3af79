// A plot as SVG, drawn anew at every change: the same picture as drawing.py makes, at the width that there is.

const ROW = 20, BOTTOM = 44, LEFT = 64, RIGHT = 20;

function readable(value) {
  if (value === null) return "–";
  if (typeof value === "string") return value;
  if (!Number.isFinite(value)) return Number.isNaN(value) ? "–" : value > 0 ? "∞" : "−∞";
  const size = Math.abs(value), far = size !== 0 && !(size >= 1e-3 && size < 1e5);
  const [mantissa, power] = value.toExponential(2).split("e");
  const text = far ? `${Number(mantissa)}e${Number(power)}` : String(Number(value.toPrecision(4)));
  return text.replaceAll("-", "−");
}

// The share of an axis at which a value stands; a little beyond its edge, the line is cut off.
function shareOf(axis, value) {
  let { low, high } = axis;
  if (axis.log) [low, high, value] = [low, high, Math.max(value, low * 1e-3)].map(Math.log10);
  return Math.min(1.5, Math.max(-0.5, (value - low) / (high - low)));
}

function ticksOf(axis, about) {
  if (!axis.log) return ticks(axis.low, axis.high, Math.max(1, about));
  const low = Math.ceil(Math.log10(axis.low) - 1e-9), high = Math.floor(Math.log10(axis.high) + 1e-9);
  const every = Math.max(1, Math.ceil((high - low) / Math.max(1, about))), found = [];
  for (let power = low; power <= high; power += every) found.push(Number(`1e${power}`));
  return found;
}

// In letters, of which those of Chinese are wider.
const widthOf = (text) => [...text].reduce((sum, letter) => sum + (letter > "\u2fff" ? 1.8 : 1), 0);

class Sheet {
  constructor(svg, plot) {
    this.svg = svg;
    this.plot = plot;
    this.width = Math.max(280, svg.clientWidth);
    svg.sheet = this;
    svg.replaceChildren();
  }

  draw(revealed) {
    const shown = this.plot.lines.filter((line) => revealed || line.given);
    this.legend(this.plot.lines, revealed);
    this.inner = this.width - LEFT - RIGHT;
    const { x, y, equal } = this.plot;
    const shape = (y.high - y.low) / (x.high - x.low);
    this.tall = equal ? Math.min(420, 0.7 * innerHeight, this.inner * shape) : this.width < 480 ? 220 : 248;
    // One scale for both axes: what is too tall becomes narrower.
    if (equal) this.inner = Math.min(this.inner, this.tall / shape);
    this.height = this.top + this.tall + BOTTOM;
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.svg.style.height = `${this.height}px`;
    this.cut();
    this.axes();
    for (const line of this.plot.contours) this.path("contour", line);
    if (this.plot.surface) this.ground(this.plot.surface);
    for (const line of shown) this.line(line);
  }

  // A legend above: a sample of each line with its name. Before the answer it names what is given alone.
  legend(lines, revealed) {
    let u = LEFT, v = 14;
    const named = new Map(lines.map((line) => [line.name, line]));
    for (const { name, style, given, joined } of named.values()) {
      const text = TEXT.lines[name] ?? name, room = 52 + 7.8 * widthOf(text);
      if (u > LEFT && u + room > this.width) [u, v] = [LEFT, v + ROW];
      if (revealed || given) {
        const sample = joined ? `M${u} ${v - 4}h26` : `M${u + 18} ${v - 4}h0`;
        element(this.svg, "path", { class: `${joined ? "line" : "dot"} s${style}`, d: sample });
        element(this.svg, "text", { x: u + 32, y: v }, text);
      }
      u += room;
    }
    this.top = v + 12;
  }

  cut() {
    const id = `${this.svg.id}-cut`;
    const path = element(element(this.svg, "defs", {}), "clipPath", { id });
    element(path, "rect", { x: LEFT, y: this.top - 4, width: this.inner + 4, height: this.tall + 6 });
    this.layer = element(this.svg, "g", { "clip-path": `url(#${id})` });
  }

  axes() {
    const { x, y } = this.plot, low = this.top + this.tall;
    element(this.svg, "path", { class: "axis", d: `M${LEFT} ${this.top}V${low}H${LEFT + this.inner}` });
    for (const value of ticksOf(x, this.inner / 90)) {
      const u = this.u(value);
      element(this.svg, "path", { class: "axis", d: `M${u} ${low}v5` });
      element(this.svg, "text", { x: u, y: low + 19, "text-anchor": "middle" }, readable(value));
    }
    for (const value of ticksOf(y, this.tall / 45)) {
      const v = this.v(value);
      element(this.svg, "path", { class: "axis", d: `M${LEFT} ${v}h-5` });
      element(this.svg, "text", { x: LEFT - 8, y: v + 4, "text-anchor": "end" }, readable(value));
    }
    const middle = this.top + this.tall / 2;
    const along = { x: LEFT + this.inner / 2, y: this.height - 6, "text-anchor": "middle" };
    element(this.svg, "text", along, TEXT.axes[x.name]);
    const up = { transform: `translate(12 ${middle}) rotate(-90)`, "text-anchor": "middle" };
    element(this.svg, "text", up, TEXT.axes[y.name]);
  }

  u(x) {
    return Number((LEFT + this.inner * shareOf(this.plot.x, x)).toFixed(1));
  }

  v(y) {
    return Number((this.top + this.tall * (1 - shareOf(this.plot.y, y))).toFixed(1));
  }

  path(kind, points) {
    let pen = "M", d = "";
    for (const [x, y] of points) {
      const is = Number.isFinite(x) && Number.isFinite(y);
      if (is) d += `${pen}${this.u(x)} ${this.v(y)}`;
      pen = is ? "L" : "M";
    }
    element(this.layer, "path", { class: kind, d });
  }

  ground(name) {
    const surface = SURFACES[name];
    surface.contours ??= contours(surface.f, surface.window);
    const d = surface.contours.map(([[a, b], [x, y]]) => `M${this.u(a)} ${this.v(b)}L${this.u(x)} ${this.v(y)}`);
    element(this.layer, "path", { class: "contour", d: d.join("") });
  }

  // The shares of both axes at which a point of the picture stands, from 0 to 1.
  shares(u, v) {
    return { x: (u - LEFT) / this.inner, y: 1 - (v - this.top) / this.tall };
  }

  line({ points, style, dots, joined }) {
    if (joined) this.path(`line s${style}`, points);
    if (!dots) return;
    const d = points.filter((point) => Number.isFinite(point[1])).map(([x, y]) => `M${this.u(x)} ${this.v(y)}h0`);
    element(this.layer, "path", { class: `dot s${style}`, d: d.join("") });
  }
}

// The lines on which ½(a·x² + 2b·xy + c·y²) has given heights.
function ellipses([a, b, c], heights) {
  const low = Math.sqrt(c - (b * b) / a), turns = Array.from({ length: 73 }, (_, k) => k * ((2 * Math.PI) / 72));
  return heights.map((height) => {
    const size = Math.sqrt(2 * height);
    return turns.map((turn) => {
      const y = Math.sin(turn) / low;
      return [((Math.cos(turn) - (b / Math.sqrt(a)) * y) / Math.sqrt(a)) * size, y * size];
    });
  });
}
