"""Small faults put into what computes, one at a time: tests that don't notice one lack a row.

Run as ``python -m attack.mutants OUT [FILE ...]`` in tests/; a line of JSON per mutant is appended to OUT, and those
that it has as noticed are left out. They are tried in an order that is drawn, the same every time: a run that is
stopped early has tried a sample. A mutant of Python is tested by a forked process that has imported what tests need,
but not the package. One of the kernel is compiled, without optimisation and for one instruction set; those of
`native/update.hpp` run `tests/native/driver.cpp`, and those of the update of rows are tested as Python's are. What no
test can notice is listed, with the reason, in docs/promises.md.
"""

import doctest
import importlib
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import traceback
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch  # noqa: F401 (once, instead of by every process that tests a mutant)
from attack.faults import of_native, of_python
from hypothesis import HealthCheck, Phase, settings
from hypothesis.extra import numpy as arrays  # noqa: F401

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "rmsprop"
KERNEL = [*Path(find_spec("rmsprop").origin).parent.glob("rmsprop_native.*")]  # of the package that is installed
PAGE = ROOT / "docs" / "promises.md"
# File -> the tests that are to notice a fault in it; those of a second row only what the first doesn't.
PYTHON = {
    "hyperparameters.py": [["test_rule.py", "test_scaling.py"]],
    "rule.py": [["test_rule.py", "test_dialects.py", "test_scaling.py"]],
    "dialects.py": [["test_dialects.py", "test_rule.py"]],
    "reference.py": [["test_reference.py"], ["jax/test_arithmetic.py"]],
    "clipping.py": [["test_clipping.py"]],
    "decays.py": [["test_rows.py"], ["torch/test_sparse.py"]],
    "rows.py": [["test_rows.py"], ["torch/test_sparse.py", "test_numpy_rows.py"]],
    "rowwise.py": [["test_rowwise.py"], ["torch/test_rowwise.py"]],
    "drift.py": [["test_drift.py"], ["torch/test_prepare.py"]],
    "torch/rows/update.py": [["torch/test_sparse.py", "torch/test_rowwise.py"], ["torch/test_prepare.py"]],
    "torch/rows/prepared.py": [["torch/test_prepare.py"]],
}
_OF_ROWS = [["test_rowwise.py", "test_rows.py"], ["torch/test_rowwise.py", "torch/test_sparse.py"]]
_OF_ROWS += [["torch/test_prepare.py", "test_numpy_rows.py"]]
NATIVE = {"rows.cpp": _OF_ROWS, "rows_api.cpp": _OF_ROWS, "update.hpp": None}  # None: the driver
UPDATE = ("kernel", "squares")  # sources that have the update and are in what the driver runs
LIBRARY = "rmsprop_native.so"
SECONDS = 120  # of work for tests of a source without a fault; with one they have twice what they took, and some more
MORE_SECONDS = 5
LAST = Path(tempfile.gettempdir(), f"mutants-{os.getpid()}")  # what the last tests said


def notices_python(name, source, seconds):
    """Whether tests notice a mutant of a module within so many seconds of work."""
    with tempfile.TemporaryDirectory() as place:
        _link(Path(place, "rmsprop"), PACKAGE, name)
        for path in KERNEL:
            if not (link := Path(place, "rmsprop", path.name)).exists():
                link.symlink_to(path)
        Path(place, "rmsprop", name).write_text(source)
        return _notices(place, name, PYTHON[name], seconds)


def _link(copy, original, name):
    """Link what is in a folder but for one file, in a copy of the folder."""
    first, _, rest = name.partition("/")
    copy.mkdir()
    for path in original.iterdir():
        if path.name not in (first, "__pycache__"):
            (copy / path.name).symlink_to(path)
    if rest:
        _link(copy / first, original / first, rest)


def _notices(place, name, tests, seconds):
    """Whether tests notice that something is wrong with the package in a folder."""
    child = os.fork()
    if child == 0:
        _test(place, name, tests, seconds)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0


def _test(place, name, tests, seconds):
    """Test the package in a folder, and end the process with what came of it."""
    # Of work, which other programs don't lengthen; a mutant that loops forever is noticed by the end of it.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    sys.path.insert(0, str(place))
    sys.dont_write_bytecode = True
    output = os.open(LAST, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    code = 70
    try:
        assert Path(importlib.import_module("rmsprop").__file__).is_relative_to(place)
        code = (name not in NATIVE and _quickly(name)) or any(map(_thoroughly, tests))
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(code))


def _quickly(name):
    """Compare a few updates with the kernel's and run a module's own examples; return how many failed."""
    from attack.test_small import test_the_kernel_has_the_bits_of_the_specification as compare

    for dtype in (np.float32, np.float64):
        compare(dtype)
    module = name.removesuffix(".py").replace("/", ".")
    return doctest.testmod(importlib.import_module(f"rmsprop.{module}")).failed


def _thoroughly(tests):
    # Without a failure's shortest form, and with the same examples every time.
    every = list(HealthCheck)  # what is slow on a machine with other work is no fault
    settings.register_profile(
        "mutants", phases=[Phase.explicit, Phase.generate], derandomize=True, deadline=None, suppress_health_check=every
    )
    options = ["-x", "-q", "-p", "no:cacheprovider", "--hypothesis-profile", "mutants", "--rootdir", str(ROOT)]
    options += ["-c", str(ROOT / "pyproject.toml"), "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return pytest.main([*options, *(str(ROOT / "tests" / test) for test in tests)])


class NativeTests:
    """Compiles mutants of a source of the kernel and runs tests on them.

    Args:
        place: A folder to work in.
        name: The source.
    """

    def __init__(self, place, name):
        self.place, self.name, self.native = place, name, place / "native"
        shutil.copytree(ROOT / "native", self.native)
        self.flags = ["-std=c++20", "-O0", "-fPIC", "-ffp-contract=off", "-fno-math-errno"]
        self.flags += [f"-DRMSPROP_{kind.upper()}={kind}_baseline" for kind in ("kernels", "squares", "rows")]
        self.changed = UPDATE if name == "update.hpp" else [name.removesuffix(".cpp")]
        for path in self.native.glob("*.cpp"):
            if path.stem not in self.changed:
                self._compile(path, "-c", "-o", self._object(path.stem))
        if NATIVE[name]:
            _link(place / "rmsprop", PACKAGE, LIBRARY)
        else:
            self._write_cases()

    def _write_cases(self):
        driver = shutil.copytree(ROOT / "tests" / "native", self.place / "tests" / "native") / "driver.cpp"
        self._compile(driver, "-o", self.place / "driver", "-ldl", "-pthread")
        sys.path.insert(0, str(ROOT / "tests" / "native"))
        import write_cases

        write_cases.LARGE = 3_011  # one thread without optimisation
        write_cases.main(self.place / "cases.bin")

    def _object(self, stem):
        return self.place / f"{stem}.o"

    def _compile(self, *arguments):
        command = [os.environ.get("CXX", "c++"), *self.flags, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True)

    def notices(self, source, seconds):
        """Whether the compiler or a test notices a mutant within so many seconds of work."""
        (self.native / self.name).write_text(source)
        library = self.place / LIBRARY
        parts = [self.native / f"{stem}.cpp" for stem in self.changed]
        parts += [self._object(path.stem) for path in self.native.glob("*.cpp") if path.stem not in self.changed]
        built = self._compile(*parts, "-shared", "-o", library, "-pthread")
        if built.returncode:
            LAST.write_text(built.stderr)
            return True
        if tests := NATIVE[self.name]:
            shutil.copy(library, self.place / "rmsprop")
            return _notices(self.place, self.name, tests, seconds)
        command = [str(self.place / "driver"), str(library), str(self.place / "cases.bin")]
        return subprocess.run(command, capture_output=True).returncode != 0


def explained():
    """Return why nothing can notice some mutants, as the page has it: (file, change) -> reason."""
    rows = re.findall(r"^- `([\w./]+)`, `(.+ → .+)`: (.+)$", PAGE.read_text(), re.MULTILINE)
    return {(name, change): reason for name, change, reason in rows}


def main(out, names):
    """Test each mutant, append what came of it, print what nothing notices; return how many of those have no reason."""
    out.parent.mkdir(parents=True, exist_ok=True)
    reasons, unexplained = explained(), 0
    every = [*PYTHON, *NATIVE]  # in this order: what writes the kernel's cases imports the package as it is
    for name in sorted(names or every, key=every.index):
        survivors, tried = _try_all(out, name)
        print(f"{name}: {tried} mutants, {tried - len(survivors)} noticed, {_minutes():.1f} processor minutes so far")
        for row in survivors:
            reason = reasons.get((name, row["change"]))
            unexplained += not reason
            print(f"  line {row['line']}: {row['change']}: {reason or 'no test notices, and no reason is known'}")
    LAST.unlink(missing_ok=True)
    return unexplained


def _try_all(out, name):
    """Try the mutants of a file; return the rows of those that nothing noticed, and how many were tried."""
    known = map(json.loads, out.read_text().splitlines() if out.exists() else [])
    rows = {(row["line"], row["change"]): row for row in known if row["file"] == name and row["noticed"]}
    with tempfile.TemporaryDirectory() as place, out.open("a") as results:
        source, mutants, notices = _subject(name, Path(place))
        before = _minutes()
        assert not notices(source, SECONDS), f"the tests fail on {name} as it is: see {LAST}"
        seconds = MORE_SECONDS + int(2 * 60 * (_minutes() - before))
        mutants = {(mutant.line, mutant.change): mutant for mutant in mutants}
        for key in random.Random(0).sample([*mutants], len(mutants)):
            if key in rows:
                continue
            noticed = notices(mutants[key].source, seconds)
            rows[key] = {"file": name, "line": key[0], "change": key[1], "noticed": noticed}
            results.write(json.dumps(rows[key], ensure_ascii=False) + "\n")
            results.flush()
    return [rows[key] for key in mutants if not rows[key]["noticed"]], len(mutants)


def _minutes():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used) / 60


def _subject(name, place):
    """Return a file's source, its mutants, and what tells whether one is noticed."""
    if name in NATIVE:
        source = (ROOT / "native" / name).read_text()
        return source, of_native(source), NativeTests(place, name).notices
    source = (PACKAGE / name).read_text()
    return source, of_python(source), partial(notices_python, name)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]) > 0)
