"""Small faults in a source, one at a time.

Another operator, a bound moved, a condition turned round, another number, a statement that isn't there.
"""

import ast
import re
from dataclasses import dataclass

_SWAPS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Pow: ast.Mult,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}
_CALLS = {"min": "max", "max": "min", "any": "all", "all": "any"}
_STATEMENTS = (ast.Assign, ast.AugAssign, ast.Raise, ast.Expr)


def _other(match):
    """Return another number."""
    return str(2 * int(match[1]) + 1)


_CODE = [
    (r" \+ ", " - "),
    (r" - ", " + "),
    (r" \* ", " / "),
    (r" / ", " * "),
    (r" % ", " / "),
    (r" << ", " >> "),
    (r" >> ", " << "),
    (r" \+= ", " -= "),
    (r" < ", " <= "),
    (r" <= ", " < "),
    (r" > ", " >= "),
    (r" >= ", " > "),
    (r" == ", " != "),
    (r" != ", " == "),
    (r" & ", " | "),
    (r" && ", " || "),
    (r" \|\| ", " && "),
    (r"std::min", "std::max"),
    (r"std::max", "std::min"),
    (r"\b0\.5\b", "0.25"),
    (r"(?<![\w.])(\d+)(?![\w.])", _other),
    (r" \? ", " && false ? "),
    (r" \? ", " || true ? "),
    (r"\((\w+), (\w+)\)", r"(\2, \1)"),
    (r", (\w+), (\w+)\)", r", \2, \1)"),
    (r"!(?=[\w(])", ""),
    (r"(?m)^ +(?:if constexpr \(!usual\) )?\w+(?:\[[^=;]+\])? [-+|*/]?= [^;]+;$", ";"),
    (r"(?m)^ +[\w.:>-]+\([^;{}]*\);$", ";"),
    (r"std::fabs\((\w+)\)", r"\1"),
    (r"\? -(\w+) :", r"? \1 :"),
    (r"return is_infinite\((\w+)\)", r"return !is_infinite(\1)"),
]
# Lines that ask for memory ahead of its use, or say how much: they compute nothing.
_AHEAD = re.compile(r"announce|prefetch|look_ahead|kAhead|kAnnounced|(param|state)_bytes_")
_LONG, _AROUND = 100, 24


@dataclass(frozen=True)
class Mutant:
    """A source with one fault.

    Args:
        line: Where the fault is.
        change: What it is, as before → after.
        source: The whole source.
    """

    line: int
    change: str
    source: str


def of_python(source):
    """Yield the mutants of a Python module."""
    tree = ast.parse(source)
    before = ast.unparse(tree)
    seen = {before}
    for node in [*ast.walk(tree)]:
        for place, undo in _changes(node):
            after = ast.unparse(tree)
            if after not in seen:
                seen.add(after)
                yield Mutant(getattr(place, "lineno", 0), _told(before, after), after)
            undo()


def _changes(node):
    """Change a node in one way after the other; yield where, and what undoes it."""
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in _SWAPS and not _is_type(node):
        yield from _replaced(node, "op", _SWAPS[type(node.op)]())
    if isinstance(node, ast.Compare):
        for place, op in enumerate(node.ops):
            if type(op) in _SWAPS:
                yield from _replaced(node, "ops", [*node.ops[:place], _SWAPS[type(op)](), *node.ops[place + 1 :]])
    if isinstance(node, ast.If | ast.IfExp) and not _is_for_types(node):
        yield from _replaced(node, "test", ast.UnaryOp(ast.Not(), node.test))
    for block in ("body", "orelse", "finalbody"):
        yield from _shortened(node, block)
    if isinstance(node, ast.comprehension):
        for place, test in enumerate(node.ifs):
            tests = [*node.ifs[:place], ast.UnaryOp(ast.Not(), test), *node.ifs[place + 1 :]]
            yield from _replaced(node, "ifs", tests, at=test)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _CALLS:
        yield from _replaced(node, "func", ast.Name(_CALLS[node.func.id], ast.Load()))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield from _replaced(node, "operand", ast.UnaryOp(ast.Not(), node.operand))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield from _replaced(node, "op", ast.UAdd())
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        new = not node.value if isinstance(node.value, bool) else node.value * 2 + 1
        yield from _replaced(node, "value", new)


def _shortened(node, block):
    """Leave out the statements of a function's block that do something, one at a time."""
    statements = getattr(node, block, None)
    if isinstance(statements, list) and not isinstance(node, ast.Module | ast.ClassDef):
        for place, statement in enumerate(statements):
            if isinstance(statement, _STATEMENTS) and not _is_text(statement):
                rest = [*statements[:place], ast.Pass(), *statements[place + 1 :]]
                yield from _replaced(node, block, rest, at=statement)


def _is_text(statement):
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _replaced(node, field, value, at=None):
    before = getattr(node, field)
    setattr(node, field, value)
    yield at or node, lambda: setattr(node, field, before)


def _is_type(node):
    """Whether an operator joins types in an annotation, as float | None."""
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)


def _is_for_types(node):
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def of_native(source):
    """Yield the mutants of a source of the kernel."""
    seen = {source}
    for line, start, end, replacement in [*_in_code(source), *_conditions(source)]:
        after = source[:start] + replacement + source[end:]
        if after not in seen:
            seen.add(after)
            yield Mutant(line, _told(source, after), after)


def _in_code(source):
    """Yield what `_CODE` changes: the line, where the change begins and ends, and what stands there then."""
    lines, offset = source.splitlines(), source.index("namespace {")
    for pattern, replacement in _CODE:
        for match in re.finditer(pattern, source):
            line = source.count("\n", 0, match.start()) + 1
            text, place = lines[line - 1], match.start() - source.rfind("\n", 0, match.start()) - 1
            in_comment = "//" in text[: place + 1]
            if match.start() >= offset and not in_comment and "T operator()" not in text and not _AHEAD.search(text):
                new = replacement(match) if callable(replacement) else match.expand(replacement)
                yield line, match.start(), match.end(), new


def _conditions(source):
    """Yield what turns a condition round, as `_in_code` does."""
    for match in re.finditer(r"(?m)^[^/\n]*\bif (?:constexpr )?\(", source):
        end, depth = match.end(), 1
        while depth:
            depth += {"(": 1, ")": -1}.get(source[end], 0)
            end += 1
        if not _AHEAD.search(source[match.start() : source.index("\n", end)]):
            text = source[match.end() : end - 1]
            yield source.count("\n", 0, match.end()) + 1, match.end(), end - 1, f"!({text})"


def _told(before, after):
    """Return the line that differs, before and after; of a long one the part that does."""
    start = _alike(before, after)
    end = _alike(before[start:][::-1], after[start:][::-1])
    head = before[before.rfind("\n", 0, start) + 1 : start]
    tail = before[len(before) - end :].split("\n")[0]
    if len(head) + len(tail) > _LONG:
        head, tail = head[-_AROUND:], tail[:_AROUND]
    return " → ".join((head + text[start : len(text) - end] + tail).strip() for text in (before, after))


def _alike(first, second):
    """Return how many characters two texts begin with alike."""
    return next(
        (k for k, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
