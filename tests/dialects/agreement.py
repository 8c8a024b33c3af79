"""Whether a framework's trajectory is that of a rule: what is compared, and how closely."""

from dataclasses import dataclass, fields, replace

import numpy as np

from rmsprop import Rule, reference

# Relative to how far a parameter has moved. Both sides round some ten operations per step by 2⁻⁵³ each, which 24 steps
# and the worst cancellation of v − m² (see `trajectories.gradients`) can raise to 24·13·10·2⁻⁵³ = 3.5e-13.
TOLERANCE = 1e-12
HALF_ULP = 2.0**-53
RULE_FIELDS = tuple(field.name for field in fields(Rule))


@dataclass(frozen=True)
class Trace:
    """What a run leaves: the parameter after every step, and the final state under rmsprop's names."""

    params: np.ndarray
    state: dict[str, np.ndarray]


def through_float32(number):
    """Return a number as it comes out of a float32."""
    return float(np.float32(number))


def rule_and_rates(dialect, case, rounded=()):
    """Return the rule and the learning rates of a case in a dialect.

    Args:
        dialect: A `Dialect`.
        case: A `Case`.
        rounded: The hyperparameters that the framework keeps in float32: fields of `Rule`, or ``"lr"``.
    """
    rule = dialect.rule_with(**case.settings)
    rule = replace(rule, **{name: through_float32(getattr(rule, name)) for name in rounded if name != "lr"})
    rates = case.learning_rates() or [dialect.lr] * len(case.gradients())
    return rule, [through_float32(rate) for rate in rates] if "lr" in rounded else rates


def averages(rule, state, step):
    """Return v, m and b as the frameworks keep them: v itself when centered, averages before their correction."""
    total = 1.0 - rule.decay**step if rule.bias_correction else 1.0
    kept = {name: np.array(value) for name, value in state.items()}
    if rule.centered:
        kept["square_avg"] = kept.pop("grad_var") + kept["grad_avg"] ** 2
        kept["grad_avg"] = kept["grad_avg"] * total
    kept["square_avg"] = kept["square_avg"] * total
    return kept


@dataclass(frozen=True)
class Expectation:
    """What the reference computes, and how far a trace may be from it.

    A parameter may differ by `TOLERANCE` times the way it has come so far, element by element and step by step, plus
    the rounding of storing it: half a unit in its last place per step, which only counts where it started from
    another place than zero. A state may differ by `TOLERANCE` times the largest value it had.
    """

    trace: Trace
    allowed: Trace

    def disagreement(self, found):
        """Return the largest difference of a trace, in units of what is allowed."""
        states = [
            excess(expected, found.state[name], self.allowed.state[name]) for name, expected in self.trace.state.items()
        ]
        return max(self.disagreement_of_params(found.params), *states)

    def disagreement_of_params(self, found):
        """Return the same for the parameters alone."""
        return excess(self.trace.params, found, self.allowed.params)


def expectation(rule, rates, case):
    """Run the reference on a case."""
    param = case.parameter()
    state = reference.init(rule, param)
    way, stored = np.zeros_like(param), np.zeros_like(param)
    peaks = {name: np.abs(value) for name, value in averages(rule, state, 1).items()}
    params, allowed = [], []
    for step, (rate, grad) in enumerate(zip(rates, case.gradients(), strict=True), 1):
        before = param
        param, state = reference.update(rule, rate, step, param, grad, state)
        way = way + np.abs(param - before)
        stored = stored + HALF_ULP * np.abs(param)
        kept = averages(rule, state, step)
        peaks = {name: np.maximum(peaks[name], np.abs(kept[name])) for name in kept}
        params.append(param)
        allowed.append(TOLERANCE * way + stored)
    tolerances = {name: TOLERANCE * peak for name, peak in peaks.items()}
    return Expectation(Trace(np.array(params), kept), Trace(np.array(allowed), tolerances))


def excess(expected, found, allowed):
    """Return the largest |expected − found| / allowed, where 0/0 is 0 and NaN is infinitely far."""
    assert expected.shape == found.shape
    distance = np.abs(expected - found)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(distance == 0.0, 0.0, distance / allowed)
    return float(np.nan_to_num(ratios, nan=np.inf, posinf=np.inf).max())


def mutations(dialect):
    """Yield each choice that a row makes and the row with that choice made otherwise.

    A number becomes one that is 10 % smaller (0 becomes 0.5), a flag its opposite.
    """
    if dialect.when:
        yield "when", replace(dialect, when={})
    if dialect.lr is not None:
        yield "lr", replace(dialect, lr=dialect.lr * 0.9)
    for name in RULE_FIELDS:
        yield name, _Otherwise(dialect, name)


class _Otherwise:
    """A row in which one field has another default, wherever a case leaves it to the row."""

    def __init__(self, dialect, name):
        self.lr, self._dialect, self._name = dialect.lr, dialect, name

    def rule_with(self, **settings):
        rule = self._dialect.rule_with(**settings)
        needs_momentum, is_l2 = self._name in ("nesterov", "caution"), rule.weight_decay_mode == "l2"
        if self._name in settings or (needs_momentum and not rule.momentum):
            return rule
        if self._name == "weight_decay_max_lr" and is_l2:
            return rule
        return replace(rule, **{self._name: _another(getattr(rule, self._name))})


def _another(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return {"l2": "decoupled", "decoupled": "l2"}[value]
    return value * 0.9 or 0.5
