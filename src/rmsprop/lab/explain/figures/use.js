// Figure 11, use it: one setting as a line of code for each framework.

const literal = (value) => (value >= 1e-4 || value === 0 ? String(value) : `1e${Math.round(Math.log10(value))}`);

FIGURES.use = ({ framework, lr, rho, eps, momentum, centered }) => {
  const [module, called, first, names, inside] = PAGE.figures.use.data.frameworks[framework];
  const given = [lr, rho, eps].map((value, i) => `${names[i]}=${literal(value)}`);
  if (first) given.unshift(first);
  if (momentum) given.push(`momentum=${literal(momentum)}`);
  if (centered) given.push("centered=True");
  const readouts = {
    call: `import ${module}\noptimizer = ${called}(${given.join(", ")})`,
    floor: inside ? Math.sqrt(eps) : eps,
    first: 1 / Math.sqrt(1 - rho),
    half_life: Math.LN2 / -Math.log(rho),
  };
  return { plots: [], readouts };
};
