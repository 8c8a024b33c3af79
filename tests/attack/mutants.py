"""Small faults put into what computes, one at a time: tests that don't notice one lack a row.

Run as ``python -m attack.mutants OUT [FILE ...]`` in tests/; a line of JSON per mutant is appended to OUT, and those
that are in it already are left out. A mutant of Python is tested by a forked process that has imported what tests need;
one of `native/update.hpp` is compiled, without optimisation and for one instruction set, and runs
`tests/native/driver.cpp`.
"""

import ast
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import traceback
from functools import partial
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "rmsprop"
# File -> the tests that are to notice a fault in it, those of a second first: (files, what of them).
_QUICK = ([], "")  # attack/test_small.py, without pytest
PYTHON = {
    "rule.py": [_QUICK, (["test_rule.py", "test_dialects.py"], "not installed_torch")],
    "dialects.py": [(["test_dialects.py", "test_rule.py"], "not installed_torch"), (["test_dialects.py"], "")],
    "reference.py": [_QUICK, (["test_reference.py"], "")],
}
NATIVE = "update.hpp"
SECONDS = 100
LAST = Path(tempfile.gettempdir(), f"mutants-{os.getpid()}")  # what the last tests said
_SWAPS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
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
}
_CODE = [
    (r" \+ ", " - "),
    (r" - ", " + "),
    (r" \* ", " / "),
    (r" / ", " * "),
    (r" < ", " <= "),
    (r" >= ", " > "),
    (r" == ", " != "),
    (r" != ", " == "),
    (r" & ", " | "),
    (r" && ", " || "),
    (r"\b0\.5\b", "0.25"),
    (r"\? (\w[\w.]*) : (\w[\w.]*)", r"? \2 : \1"),
    (r"\((\w+), (\w+)\)", r"(\2, \1)"),
    (r", (\w+), (\w+)\)", r", \2, \1)"),
    (r"!rule", "rule"),
    (r"constexpr \(usual\)", "constexpr (!usual)"),
    (r"return is_infinite\((\w+)\)", r"return !is_infinite(\1)"),
]


def of_python(source):
    """Yield mutants of a Python module: where, what, and the source."""
    tree = ast.parse(source)
    for node in [*ast.walk(tree)]:
        for what, undo in _changes(node):
            yield f"line {getattr(node, 'lineno', '?')}: {what}", ast.unparse(tree)
            undo()


def _changes(node):
    """Change a node in one way after the other; yield what was done and how to undo it."""
    if isinstance(node, ast.BinOp | ast.BoolOp | ast.AugAssign) and type(node.op) in _SWAPS and not _is_type(node):
        yield from _replaced(node, "op", _SWAPS[type(node.op)]())
    if isinstance(node, ast.Compare):
        for place, op in enumerate(node.ops):
            if type(op) in _SWAPS:
                yield from _replaced(node, "ops", [*node.ops[:place], _SWAPS[type(op)](), *node.ops[place + 1 :]])
    if isinstance(node, ast.If | ast.IfExp) and not _is_for_types(node):
        yield from _replaced(node, "test", ast.UnaryOp(ast.Not(), node.test))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield from _replaced(node, "op", ast.UAdd())
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float) and node.value is not Ellipsis:
        new = not node.value if isinstance(node.value, bool) else node.value * 2 + 1
        yield from _replaced(node, "value", new)


def _replaced(node, field, value):
    before = getattr(node, field)
    setattr(node, field, value)
    yield f"{type(node).__name__} {_told(before)} -> {_told(value)}"[:160], lambda: setattr(node, field, before)


def _told(part):
    if isinstance(part, list):
        return " ".join(map(_told, part))
    return ast.dump(part) if isinstance(part, ast.AST) else str(part)


def _is_type(node):
    """Whether an operator joins types in an annotation, as float | None."""
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr)


def _is_for_types(node):
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def of_native(source):
    """Yield mutants of update.hpp."""
    offset = source.index("namespace {")
    for pattern, replacement in _CODE:
        for match in re.finditer(pattern, source):
            line = source.count("\n", 0, match.start()) + 1
            text = source.splitlines()[line - 1]
            if match.start() < offset or text.lstrip().startswith("//") or "T operator()" in text:
                continue
            new = match.expand(replacement)
            if new != match[0]:
                yield (
                    f"line {line}: {match[0].strip()} -> {new.strip()}",
                    (source[: match.start()] + new + source[match.end() :]),
                )


def notices_python(name, source):
    """Whether tests notice a mutant of a module."""
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place, "rmsprop")
        copy.mkdir()
        for path in PACKAGE.iterdir():
            if path.name not in (name, "__pycache__"):
                (copy / path.name).symlink_to(path)
        (copy / name).write_text(source)
        return any(_fail(place, tests, chosen) for tests, chosen in PYTHON[name])


def _fail(place, tests, chosen):
    child = os.fork()
    if child == 0:
        _test(place, tests, chosen)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


def _test(place, tests, chosen):
    """Run tests on the package in a folder, and end the process with what came of them."""
    # Of work, which other programs don't lengthen; a mutant that loops forever is noticed by the end of it.
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    sys.path.insert(0, place)
    sys.dont_write_bytecode = True
    output = os.open(LAST, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    code = 70
    try:
        if not tests:
            from attack.test_small import test_the_kernel_has_the_bits_of_the_specification as compare

            for dtype in (np.float32, np.float64):
                compare(dtype)
            os._exit(0)
        options = [
            "-x",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(ROOT),
            "-c",
            str(ROOT / "pyproject.toml"),
            "-k",
            chosen,
        ]
        code = pytest.main([*options, *(str(ROOT / "tests" / test) for test in tests)])
    except BaseException:
        traceback.print_exc()
    sys.stderr.flush()
    os._exit(int(code))


class NativeTests:
    """Compiles mutants of the update and runs the driver on them.

    Args:
        place: A folder to work in.
    """

    def __init__(self, place):
        self.place, self.native = place, place / "native"
        shutil.copytree(ROOT / "native", self.native)
        self.flags = ["-std=c++20", "-O0", "-fPIC", "-ffp-contract=off", "-fno-math-errno"]
        self.flags += ["-DRMSPROP_KERNELS=kernels_baseline"]
        for name in ("api", "bind", "pool"):
            self._compile(self.native / f"{name}.cpp", "-c", "-o", place / f"{name}.o")
        driver = shutil.copytree(ROOT / "tests" / "native", place / "tests" / "native") / "driver.cpp"
        self._compile(driver, "-o", place / "driver", "-ldl", "-pthread")
        sys.path.insert(0, str(ROOT / "tests" / "native"))
        import write_cases

        write_cases.LARGE = 3_011  # one thread without optimisation
        write_cases.main(place / "cases.bin")

    def _compile(self, *arguments):
        command = [os.environ.get("CXX", "c++"), *self.flags, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True)

    def notices(self, source):
        """Whether the compiler or the driver notices a mutant."""
        (self.native / NATIVE).write_text(source)
        objects = [self.place / f"{name}.o" for name in ("api", "bind", "pool")]
        library = self.place / "rmsprop_native.so"
        built = self._compile(self.native / "kernel.cpp", *objects, "-shared", "-o", library, "-pthread")
        if built.returncode:
            return True
        command = [str(self.place / "driver"), str(library), str(self.place / "cases.bin")]
        return subprocess.run(command, capture_output=True).returncode != 0


def main(out, names):
    """Make mutants, test each, and append what came of it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    rows = map(json.loads, out.read_text().splitlines() if out.exists() else [])
    known = {(row["file"], row["mutant"]) for row in rows}
    for name in names or [*PYTHON, NATIVE]:
        with tempfile.TemporaryDirectory() as place, out.open("a") as results:
            source, mutants, notices = _subject(name, Path(place))
            assert not notices(source), f"the tests fail on {name} as it is: see {LAST}"
            for what, mutant in mutants:
                if (name, what) not in known:
                    row = {"file": name, "mutant": what, "noticed": notices(mutant)}
                    results.write(json.dumps(row) + "\n")
                    results.flush()


def _subject(name, place):
    """Return a file's source, its mutants, and what tells whether one is noticed."""
    if name == NATIVE:
        source = (ROOT / "native" / name).read_text()
        return source, of_native(source), NativeTests(place).notices
    source = (PACKAGE / name).read_text()
    return source, of_python(source), partial(notices_python, name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
