"""A rule in writing: as formulas, and as NumPy code that runs; both show only the parts that are switched on."""

from __future__ import annotations

import re
from decimal import Decimal

from rmsprop.rule import MOST_FOR_THE_REST, Rule

# A formula's signs in Python; what follows a root sign is handled apart.
_SIGNS = {
    "±(t − 1)^¼": "-((t - 1) ** 0.25), (t - 1) ** 0.25",
    "clip(": "np.clip(",
    "mean(": "np.mean(",
    "v̂": "v_hat",
    "m̂": "m_hat",
    "θ": "theta",
    "←": "=",
    "·": " * ",
    "−": "-",
    ")²": ") ** 2",
    "≥": ">=",
    "²": "**2",
    "ᵗ": "**t",
}
_LIKE = {"0": "np.zeros_like(theta)", "1": "np.ones_like(theta)"}


def number(value: float) -> str:
    """Return a number as short as it can be written without losing a digit.

    Args:
        value: The number.

    Returns:
        Its text, which Python reads back as the same number.

    Examples:
        >>> number(1e-08), number(0.9), number(1.0)
        ('1e-8', '0.9', '1')
    """
    mantissa, _, exponent = repr(float(value)).partition("e")
    mantissa = mantissa.removesuffix(".0")
    return f"{mantissa}e{int(exponent)}" if exponent else mantissa


def formulas(rule: Rule, lr: float | None = None) -> tuple[str, ...]:
    r"""Return the update in the textbook's form, one assignment per line, with the rule's numbers filled in.

    Args:
        rule: The rule.
        lr: The learning rate; None leaves the symbol lr. Default None.

    Returns:
        The lines: what the averages start from, then what happens at step t, from the gradient g to the parameter θ.

    Examples:
        >>> print(*formulas(Rule(decay=0.9, eps=1e-3, eps_inside_sqrt=True, initial_square_avg=1.0)), sep="\n")
        v₀ = 1
        v ← 0.9·v + 0.1·g²
        θ ← θ − lr·g / √(v + 0.001)
    """
    averages, spread = _textbook_averages(rule)
    start = {"v": rule.initial_average, **({"m": 0.0} if rule.centered else {}), **_hats(rule), **_buffer(rule)}
    told = {name: number(value) for name, value in start.items()}
    if rule.init_from_gradient:
        told["v"] = "g₁²"
    return (
        ", ".join(f"{name}₀ = {value}" for name, value in told.items()),
        *_steps(rule, lr, averages, f"g / {_denominator(rule, spread)}"),
        *(() if rule.eps else ("where 0 / 0 is 0",)),
    )


def pseudocode(rule: Rule, lr: float | None = None) -> str:
    """Return the update as NumPy code that runs.

    It needs the array ``theta``, the function ``gradient(theta)``, the number of ``steps`` and, where it is not
    filled in, ``lr``; NumPy is ``np``.

    Args:
        rule: The rule.
        lr: The learning rate; None leaves the name lr. Default None.

    Returns:
        The code. Its centered form keeps the variance d instead of the difference v − m², which would cancel.

    Examples:
        >>> print(pseudocode(Rule(decay=0.9)))
        v = np.zeros_like(theta)
        for _ in range(steps):
            g = gradient(theta)
            v = 0.9 * v + 0.1 * g**2
            theta = theta - lr * g / (np.sqrt(v) + 1e-8)
    """
    averages, spread = _variance(rule) if rule.centered else _textbook_averages(rule)
    start = {"d" if rule.centered else "v": rule.initial_average, **({"m": 0.0} if rule.centered else _hats(rule))}
    quotient = f"g / {_denominator(rule, spread)}"
    if not rule.eps:  # no gradient so far asks for no step
        quotient = f"np.divide(g, {_denominator(rule, spread)}, out=np.zeros_like(g), where=g != 0)"
    start_lines = [f"{as_code(name)} = {_full(number(value))}" for name, value in (start | _buffer(rule)).items()]
    lines = [as_code(line) for line in _steps(rule, lr, averages, quotient)]
    if rule.init_from_gradient:
        average, is_added = next(iter(start)), rule.decays_weights("l2")
        lines.insert(int(is_added), f"{average} = {average} if t > 1 else g**2")
    loop = "for t in range(1, steps + 1):" if rule.depends_on_step else "for _ in range(steps):"
    return "\n".join([*start_lines, loop, *(f"    {line}" for line in ("g = gradient(theta)", *lines))])


def as_code(formula: str) -> str:
    """Return a formula as a line of NumPy code.

    Args:
        formula: A line of `formulas`.

    Returns:
        The same in Python's signs.

    Examples:
        >>> as_code("v ← 0.9·v + 0.1·g²")
        'v = 0.9 * v + 0.1 * g**2'
    """
    for sign, code in _SIGNS.items():
        formula = formula.replace(sign, code)
    return re.sub(r"√(\w+)", r"np.sqrt(\1)", formula).replace("√(", "np.sqrt(")


def _hats(rule: Rule) -> dict[str, float]:
    """Return what corrected averages start from, where they are used before the first is made."""
    names = ["v̂", "m̂"] if rule.centered else ["v̂"]
    return dict.fromkeys(names, 0.0) if rule.bias_correction and rule.delayed else {}


def _buffer(rule: Rule) -> dict[str, float]:
    return {"b": 0.0} if rule.momentum else {}


def _full(value: str) -> str:
    return _LIKE.get(value, f"np.full_like(theta, {value})")


def _steps(rule: Rule, lr: float | None, averages: list[str], quotient: str) -> list[str]:
    """Return what happens at a step; ``quotient`` is the gradient over its denominator."""
    rate = "lr" if lr is None else number(lr)
    shrink = _times(number(rule.weight_decay), "θ")
    if rule.weight_decay_max_lr:
        shrink = f"({rate} / {number(rule.weight_decay_max_lr)})·{shrink}"
    kind = rule.weight_decay_mode if rule.weight_decay else None
    before = {"l2": [f"g ← g + {shrink}"], "decoupled": [f"θ ← θ − {rate}·{shrink}"]}.get(kind or "", [])
    if rule.delayed:
        averages, quotient = [f"q = clip({quotient}, ±(t − 1)^¼)", *averages], "q"
    *collect, step = _move(rule, rate, quotient)
    moves = [f"θ ← θ − {step}"]
    if kind == "cautious":
        moves = [f"s = {step}", f"θ ← θ − s − (s·θ ≥ 0)·{rate}·{shrink}"]
    return [*before, *averages, *collect, *moves]


def _move(rule: Rule, rate: str, quotient: str) -> list[str]:
    """Return what happens to the buffer, and last what is subtracted from θ."""
    if not rule.momentum:
        return [f"{rate}·{quotient}"]
    collected = f"{rate}·{quotient}" if rule.lr_in_momentum else quotient
    keep, lines, step = number(rule.momentum), [], "b"
    if rule.averaged_momentum and rule.bias_correction:
        lines, keep = [f"h = (1 − {keep}) / (1 − {keep}ᵗ)"], "(1 − h)"
        collected = f"h·{collected}"
    elif rule.averaged_momentum:
        collected = f"{_rest(rule.momentum)}·{collected}"
    if rule.nesterov:
        lines, collected = [*lines, f"u = {collected}"], "u"
        step = f"(u + {_times(keep, 'b')})"
    lines.append(f"b ← {_times(keep, 'b')} + {collected}")
    if rule.caution:
        lines.append(f"c = ({step}·g > 0)")
        step = f"c / max(mean(c), {number(1.0 / MOST_FOR_THE_REST)})·{step}"
    return [*lines, step if rule.lr_in_momentum else f"{rate}·{step}"]


def _textbook_averages(rule: Rule) -> tuple[list[str], str]:
    """Return the averages as every paper writes them, and what stands under the root."""
    keep, gain = number(rule.decay), _rest(rule.decay)
    names = ["v", "m"] if rule.centered else ["v"]
    new = {"v": "g²", "m": "g"}
    lines = [f"{name} ← {_sum(_times(keep, name), _times(gain, new[name]))}" for name in names]
    if rule.bias_correction:
        lines += [f"{name}̂ = {name} / (1 − {keep}ᵗ)" for name in names]
        names = [f"{name}̂" for name in names]
    return lines, " − ".join(names) + ("²" if rule.centered else "")


def _variance(rule: Rule) -> tuple[list[str], str]:
    """Return the average and the variance d = v − m² by the recursion that cannot cancel."""
    keep, gain, lines = number(rule.decay), _rest(rule.decay), []
    if rule.bias_correction:
        lines, keep, gain = [f"k = (1 − {keep}) / (1 − {keep}ᵗ)"], "(1 − k)", "k"
    return [*lines, f"d ← {keep}·(d + {gain}·(g − m)²)", f"m ← {keep}·m + {gain}·g"], "d"


def _denominator(rule: Rule, spread: str) -> str:
    simple = " " not in spread
    if not rule.eps:
        return f"√{spread}" if simple else f"√({spread})"
    if rule.eps_inside_sqrt:
        return f"√({spread} + {number(rule.eps)})"
    return f"(√{spread} + {number(rule.eps)})" if simple else f"(√({spread}) + {number(rule.eps)})"


def _rest(share: float) -> str:
    """Return 1 − share in decimal, so that 0.9 leaves 0.1."""
    return number(float(1 - Decimal(repr(share))))


def _times(factor: str, name: str) -> str:
    return {"0": "", "1": name}.get(factor, f"{factor}·{name}")


def _sum(*terms: str) -> str:
    return " + ".join(term for term in terms if term)
