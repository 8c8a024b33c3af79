// What the figures have in common. A figure is a function from its settings to what it shows: plots, which are lines
// over axes, and readouts, which are the numbers below them. Its twin in Python returns the same.

const FIGURES = {};
// What a figure does to its page beyond plots and readouts.
const EXTRAS = {};

const axis = (name, low, high, log = false) => ({ name, low, high, log });
const line = (name, style, points, { given = false, dots = false, joined = true } = {}) =>
  ({ name, points, style, given, dots, joined });

// A rule with PyTorch's defaults, but for what is given.
const plainRule = (given) => ({ ...PAGE.rule, ...given });
