"""A rule as an algorithm box in LaTeX: the lines of `formulas`, typeset."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import asdict

import rmsprop
from rmsprop.dialects import get_dialect
from rmsprop.lab.dialects.formulas import as_code, formulas, number
from rmsprop.rule import Rule

_SYMBOLS = {"theta": r"\theta", "lr": r"\eta", "v_hat": r"\hat{v}", "m_hat": r"\hat{m}"}
_FUNCTIONS: dict[str, Callable[..., str]] = {
    "sqrt": r"\sqrt{{{}}}".format,
    "mean": r"\operatorname{{mean}}\left({}\right)".format,
    "max": r"\max\left({}, {}\right)".format,
    "clip": r"\operatorname{{clip}}\left({}, {}, {}\right)".format,
}
_OPERATORS: dict[type[ast.AST], tuple[str, int]] = {  # how it is written, and how tightly it binds
    ast.Add: (" + ", 1),
    ast.Sub: (" - ", 1),
    ast.Mult: (r" \cdot ", 2),
}
_COMPARISONS: dict[type[ast.AST], str] = {ast.Gt: ">", ast.GtE: r"\geq"}
_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}


def algorithm(dialect: str, rule: Rule, lr: float | None = None) -> str:
    r"""Return a rule as an algorithm of LaTeX's packages amsmath, algorithm and algpseudocode.

    Args:
        dialect: A key of `rmsprop.DIALECTS`, whose defaults the rule starts from.
        rule: The rule.
        lr: The learning rate; None leaves the symbol η. Default None.

    Returns:
        The text, in ASCII, to be put into a paper.

    Examples:
        >>> box = algorithm("keras", Rule.from_dialect("keras"))
        >>> print(*box.splitlines()[-6:], sep="\n")
        \State $g \leftarrow \nabla_{\theta} f_t(\theta)$
        \State $v \leftarrow 0.9 \cdot v + 0.1 \cdot g^{2}$
        \State $\theta \leftarrow \theta - \frac{\eta \cdot g}{\sqrt{v + 10^{-7}}}$
        \EndFor
        \end{algorithmic}
        \end{algorithm}
    """
    start, *steps = formulas(rule, lr)
    notes = [line for line in steps if line.startswith("where ")]
    rate = r", learning rate $\eta$" if lr is None else ""
    each = "all operations but the mean" if rule.caution else "all operations"
    return "\n".join(
        (
            r"% \usepackage{amsmath, algorithm, algpseudocode}",
            r"\begin{algorithm}",
            rf"\caption{{{_caption(dialect, rule)}}}",
            r"\begin{algorithmic}[1]",
            rf"\Require parameters $\theta$, loss $f_t$ of step $t${rate}; {each} are elementwise",
            rf"\State ${_start(start)}$",
            r"\For{$t = 1, 2, \ldots$}",
            r"\State $g \leftarrow \nabla_{\theta} f_t(\theta)$",
            *(rf"\State ${typeset(line)}$" for line in steps if line not in notes),
            r"\EndFor",
            *(rf"\Statex {_note(line)}" for line in notes),
            r"\end{algorithmic}",
            r"\end{algorithm}",
        )
    )


def typeset(formula: str) -> str:
    r"""Return a formula in LaTeX's math.

    Args:
        formula: An assignment of `formulas`.

    Returns:
        The same, without the dollar signs around it.

    Examples:
        >>> typeset("v ← 0.9·v + 0.1·g²")
        'v \\leftarrow 0.9 \\cdot v + 0.1 \\cdot g^{2}'
    """
    name, equals, value = formula.partition(" ← " if "←" in formula else " = ")
    sign = r" \leftarrow " if "←" in equals else " = "
    return _expression(name) + sign + _expression(value)


def escaped(text: str) -> str:
    r"""Return words with the signs escaped that LaTeX would obey.

    Args:
        text: The words.

    Returns:
        The same for LaTeX's text mode.

    Examples:
        >>> print(escaped("100 % of keras_legacy"))
        100 \% of keras\_legacy
    """
    return "".join(_SPECIAL.get(sign, f"\\{sign}" if sign in "&%$#_{}" else sign) for sign in text)


def _caption(dialect: str, rule: Rule) -> str:
    row = get_dialect(dialect)
    usual = asdict(row.rule)
    own = [f"{name} {_told(value)}" for name, value in asdict(rule).items() if value != usual[name]]
    changed = f", changed to {', '.join(own)}" if own else ""
    words = escaped(f" ({row.source}){changed}, as written by rmsprop {rmsprop.__version__}.")
    return rf"RMSProp in the variant \texttt{{{escaped(dialect)}}}{words}"


def _told(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return number(value) if isinstance(value, float) else str(value)


def _start(line: str) -> str:
    """Return what the averages start from: each an initial value with the index 0, or the first gradient's square."""
    values = (one.replace("g₁²", "g_1^{2}").split("₀ = ") for one in line.split(", "))
    return r",\; ".join(
        f"{_expression(name)}_0 = {value if '_' in value else _expression(value)}" for name, value in values
    )


def _note(line: str) -> str:
    before, after = line.removeprefix("where ").split(" is ")
    return f"where ${before}$ is ${after}$"


def _expression(formula: str) -> str:
    return _tex(ast.parse(as_code(formula), mode="eval").body)


def _tex(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name):
            return _SYMBOLS.get(name, name)
        case ast.Constant(value=int() | float() as value):
            return _number(value)
        case ast.UnaryOp(operand=operand):
            return f"-{_within(operand, 3)}"
        case ast.BinOp(left=left, op=ast.Div(), right=right):
            return rf"\frac{{{_tex(left)}}}{{{_tex(right)}}}"
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return f"{_within(left, 4)}^{{{_tex(right)}}}"
        case ast.BinOp(left=left, op=op, right=right):
            sign, binds = _OPERATORS[type(op)]
            return _within(left, binds) + sign + _within(right, binds + 1)
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return rf"\mathbf{{1}}\left[{_tex(left)} {_COMPARISONS[type(op)]} {_tex(right)}\right]"
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=arguments):
            return _FUNCTIONS[name](*map(_tex, arguments))
    raise TypeError(f"no LaTeX is known for {ast.dump(node)}")


def _within(node: ast.expr, least: int) -> str:
    text = _tex(node)
    return text if _binds(node) >= least else rf"\left({text}\right)"


def _binds(node: ast.expr) -> int:
    """Return how tightly what is written last holds together: a name or a call is one thing, a fraction a factor."""
    match node:
        case ast.BinOp(op=ast.Div() | ast.Pow()) | ast.UnaryOp():
            return 3
        case ast.BinOp(op=op):
            return _OPERATORS[type(op)][1]
        case ast.Constant(value=int() | float() as value) if "e" in number(value):
            return 3 if number(value).startswith("1e") else 2
    return 4


def _number(value: float) -> str:
    mantissa, _, exponent = number(value).partition("e")
    if not exponent:
        return mantissa
    return f"10^{{{exponent}}}" if mantissa == "1" else rf"{mantissa} \cdot 10^{{{exponent}}}"
