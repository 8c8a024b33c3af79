"""The compiled library is found however the package was installed; where it can't be used, that is said once."""

import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

from rmsprop import layout, library, native

ROOT = Path(__file__).parents[1]
LIBRARY = next(map(Path, library.places()), None)  # the wheel for any platform has none


def run(code, path, executable=sys.executable, **environment):
    """Run code in a new interpreter, away from the source tree, with a place to look for modules first."""
    return subprocess.run(
        [executable, "-W", "error", "-c", code],
        env={**os.environ, "PYTHONPATH": str(path), **environment},
        capture_output=True,
        text=True,
        cwd="/",
    )


def copied(folder, library):
    """Copy the package's sources into a folder, with a library of these bytes, or without one."""
    package = folder / "rmsprop"
    shutil.copytree(
        Path(native.__file__).parent, package, ignore=shutil.ignore_patterns("rmsprop_native.*", "__pycache__")
    )
    if library is not None:
        (package / LIBRARY.name).write_bytes(library)
    return folder


STEP = """
import numpy as np
import torch
import warnings
import rmsprop
from rmsprop import reference
from rmsprop.torch import RMSprop

theta, g = np.linspace(-1, 1, 1000, dtype=np.float32), np.linspace(3, -2, 1000, dtype=np.float32)
rule = rmsprop.Rule(momentum=0.9)
expected, _ = reference.update(rule, 0.1, 1, theta, g, reference.init(rule, theta))

def step(**options):
    param = torch.from_numpy(theta.copy())
    optimizer = RMSprop([param], lr=0.1, momentum=0.9, **options)
    param.grad = torch.from_numpy(g)
    optimizer.step()
    assert (param.numpy() == expected).all()
    return optimizer.paths()["0"]
"""

THE_KERNEL_SERVES = """
import rmsprop.numpy
assert step(fused=True).startswith("kernel (")
array = theta.copy()
rmsprop.numpy.RMSprop([array], lr=0.1, momentum=0.9).step([g])
assert (array == expected).all()
print(rmsprop.__file__)
"""


def assert_serves(found, place):
    assert found.returncode == 0, found.stderr
    assert Path(found.stdout.strip()).is_relative_to(place)


def test_beside_the_sources(tmp_path):
    assert_serves(run(STEP + THE_KERNEL_SERVES, copied(tmp_path, LIBRARY.read_bytes())), tmp_path)


def test_in_an_archive(tmp_path):
    package = copied(tmp_path / "whole", LIBRARY.read_bytes()) / "rmsprop"
    archive = tmp_path / "rmsprop.zip"
    with ZipFile(archive, "w") as file:
        for path in package.rglob("*"):
            file.write(path, path.relative_to(package.parent))
    assert_serves(run(STEP + THE_KERNEL_SERVES, archive), archive)


def test_in_an_editable_installation(tmp_path):
    # scikit-build-core leaves the sources where they are and puts the library elsewhere.
    sources = tmp_path / "sources"
    for name in ("CMakeLists.txt", "LICENSE", "NOTICE", "README.md", "pyproject.toml"):
        sources.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, sources / name)
    for name in ("native", "src"):
        shutil.copytree(ROOT / name, sources / name, ignore=shutil.ignore_patterns("rmsprop_native.*", "__pycache__"))
    venv.create(tmp_path / "venv", with_pip=True)
    executable = tmp_path / "venv" / "bin" / "python"
    constraints = str(ROOT / "constraints.txt")
    subprocess.run(
        [executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-e", sources],
        env={**os.environ, "PIP_CONSTRAINT": constraints, "PIP_BUILD_CONSTRAINT": constraints},
        check=True,
    )
    installed = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / "venv")}))
    (installed / "other_packages.pth").write_text(sysconfig.get_path("purelib"))  # NumPy and torch
    assert_serves(run(STEP + THE_KERNEL_SERVES, "", executable), sources)


TENSOR_OPERATIONS_SERVE = """
import json

def raised(call):
    try:
        call()
    except RuntimeError as error:
        return str(error)

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    optimizer = RMSprop([torch.from_numpy(theta.copy()), torch.ones(3)], lr=0.1, momentum=0.9)
    first, second = optimizer.param_groups[0]["params"]
    first.grad, second.grad = torch.from_numpy(g), torch.ones(3)
    optimizer.step()
    assert (first.numpy() == expected).all()
    optimizer.step()
print(json.dumps({
    "warnings": [[warning.category.__name__, str(warning.message)] for warning in caught],
    "paths": list(optimizer.paths().values()),
    "fused=True": raised(lambda: step(fused=True)),
}))
"""


def of_another_layout():
    return LIBRARY.read_bytes().replace(b"momentum_loss\0", b"momentum_lass\0")


def without_a_function():
    return LIBRARY.read_bytes().replace(b"\0rmsprop_are_rows\0", b"\0rmsprop_are_cows\0")


@pytest.mark.parametrize(
    ("library", "reason"),
    [
        (
            lambda: None,
            r"rmsprop's compiled kernel is missing from this installation: install the wheel of this platform, or "
            r"build it with a C\+\+20 compiler \(pip install --no-binary rmsprop rmsprop\)",
        ),
        (lambda: b"text", r"rmsprop's compiled kernel can't be loaded \(.*too short\): reinstall rmsprop"),
        (
            of_another_layout,
            r"rmsprop's compiled kernel belongs to another version of rmsprop \(it has .*momentum_lass:56.*, "
            r"but .*momentum_loss:56.* is needed\): reinstall rmsprop",
        ),
        (
            without_a_function,
            r"rmsprop's compiled kernel belongs to another version of rmsprop \(it has no rmsprop_are_rows\): "
            "reinstall rmsprop",
        ),
    ],
    ids=["missing", "text", "another layout", "without a function"],
)
def test_without_it_tensor_operations_serve_and_say_why_once(library, reason, tmp_path):
    found = run(STEP + TENSOR_OPERATIONS_SERVE, copied(tmp_path, library()))
    assert found.returncode == 0, found.stderr
    said = json.loads(found.stdout)
    ((category, message),) = said["warnings"]
    assert category == "UserWarning"
    updates = "rmsprop updates parameter 0 (and 1 more) by tensor operations, which are slower than its kernel: it "
    assert message.startswith(updates + "is on the CPU, where ")
    assert re.search(reason, message)
    assert len(said["paths"]) == 2
    assert all(re.fullmatch(f"tensor operations: is on the CPU, where {reason}", path) for path in said["paths"])
    assert re.search(f"parameter 0 is on the CPU, where {reason}: use fused=None", said["fused=True"])


NUMPY_OPERATIONS_SERVE = """
import json
import warnings
import numpy as np
import rmsprop.numpy
from rmsprop import reference

theta, g = np.linspace(-1, 1, 1000, dtype=np.float32), np.linspace(3, -2, 1000, dtype=np.float32)
rule = rmsprop.Rule(momentum=0.9)
expected, state = reference.update(rule, 0.1, 1, theta, g, reference.init(rule, theta))
expected, _ = reference.update(rule, 0.1, 2, expected, g, state)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    optimizer = rmsprop.numpy.RMSprop([theta], lr=0.1, momentum=0.9)
    optimizer.step([g])
    optimizer.step([g])
assert (theta == expected).all()
print(json.dumps([[warning.category.__name__, str(warning.message)] for warning in caught]))
"""

ROWS_BY_TENSOR_OPERATIONS = """
import json
import warnings
import torch
from rmsprop.torch import RMSprop

table = torch.nn.Embedding(4, 2, sparse=True)
optimizer = RMSprop(table.parameters(), lr=0.1)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        before = table.weight.detach().clone()
        optimizer.zero_grad()
        table(torch.tensor([1])).sum().backward()
        optimizer.step()
        assert ((table.weight != before).any(1) == torch.tensor([False, True, False, False])).all()
print(json.dumps([[warning.category.__name__, str(warning.message)] for warning in caught]))
"""

KERAS_TENSOR_OPERATIONS_SERVE = """
import os
os.environ["KERAS_BACKEND"] = "torch"
import warnings
warnings.simplefilter("ignore")
import json
import keras
import numpy as np
import rmsprop.keras
from rmsprop import reference

theta, g = np.linspace(-1, 1, 1000, dtype=np.float32), np.linspace(3, -2, 1000, dtype=np.float32)
optimizer = rmsprop.keras.RMSprop(0.1, dialect="torch")
variable, grad = keras.Variable(theta), keras.ops.convert_to_tensor(g)
expected, state = reference.update(optimizer.rule, 0.1, 1, theta, g, reference.init(optimizer.rule, theta))
expected, _ = reference.update(optimizer.rule, 0.1, 2, expected, g, state)
with warnings.catch_warnings(record=True) as caught:
    warnings.filterwarnings("always", message="rmsprop")
    optimizer.apply_gradients([(grad, variable)])
    optimizer.apply_gradients([(grad, variable)])
assert np.abs(variable.numpy() - expected).max() < 1e-6
print(json.dumps([[warning.category.__name__, str(warning.message)] for warning in caught]))
"""


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            NUMPY_OPERATIONS_SERVE,
            "rmsprop updates the arrays by NumPy's operations, which are slower than its kernel: ",
        ),
        (KERAS_TENSOR_OPERATIONS_SERVE, "rmsprop updates variable variable by tensor operations, which are slower "),
        (
            ROWS_BY_TENSOR_OPERATIONS,
            "rmsprop updates parameter 0 by tensor operations, which are slower than its kernel: it is on the CPU, ",
        ),
    ],
    ids=["numpy", "keras", "rows"],
)
def test_without_it_every_front_end_works_and_says_why_once(code, said, tmp_path):
    found = run(code, copied(tmp_path, None))
    assert found.returncode == 0, found.stderr
    ((category, message),) = json.loads(found.stdout)
    assert category == "UserWarning"
    assert message.startswith(said)
    assert "rmsprop's compiled kernel is missing from this installation: install the wheel" in message


def test_without_it_the_command_trains_and_says_why_in_one_line(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(copied(tmp_path, None))}
    options = ["train", "linear", "--epochs", "1", "--out", str(tmp_path / "run")]
    command = [sys.executable, "-m", "rmsprop", *options]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, cwd="/")
    assert found.returncode == 0, found.stderr
    (said,) = (line for line in found.stderr.splitlines() if "kernel" in line or "Warning" in line)
    assert said.startswith("warning: rmsprop updates parameter 0 (and 1 more) by tensor operations, ")
    assert "decorators" not in found.stderr


@pytest.mark.parametrize("front_end", ["torch", "numpy"])
def test_an_instruction_set_that_does_not_exist_is_refused(front_end, tmp_path):
    code = {
        "torch": STEP + "step()",
        "numpy": "import numpy, rmsprop.numpy; rmsprop.numpy.RMSprop([numpy.ones(3)], lr=0.1).step([numpy.ones(3)])",
    }
    found = run(code[front_end], Path(native.__file__).parents[1], RMSPROP_INSTRUCTION_SET="nonsense")
    assert found.returncode == 1
    assert found.stderr.splitlines()[-1] == (
        "ValueError: this machine has no instruction set 'nonsense' (known: avx512, avx2, baseline): "
        "choose another, or unset RMSPROP_INSTRUCTION_SET"
    )


class Library:
    """What a loaded library looks like to the check of its layout."""

    def __init__(self, layout):
        self.rmsprop_layout = lambda: layout.encode()


LAYOUTS = {
    "a new number": lambda layout: re.sub(r"rmsprop_rule:(\d+)", r"new_number:\1 rmsprop_rule:1\1", layout),
    "a number less": lambda layout: re.sub(r" nesterov:\d+", "", layout),
    "two in another order": lambda layout: layout.replace("gain:16 keep:24", "keep:16 gain:24"),
    "a narrower number": lambda layout: layout.replace("momentum_loss:56", "momentum_loss:52"),
    "another size": lambda layout: re.sub(r"rmsprop_batch:(\d+)", r"rmsprop_batch:1\1", layout),
}


@pytest.mark.parametrize("change", LAYOUTS.values(), ids=LAYOUTS)
def test_a_library_of_another_layout_is_refused(change):
    ours = layout.layout()
    library.check_layout(Library(ours))
    its = change(ours)
    assert its != ours
    with pytest.raises(RuntimeError) as caught:
        library.check_layout(Library(its))
    assert str(caught.value) == (
        f"rmsprop's compiled kernel belongs to another version of rmsprop (it has {its}, but {ours} is needed): "
        "reinstall rmsprop"
    )


def test_a_library_that_does_not_tell_its_layout_is_refused():
    with pytest.raises(RuntimeError, match="belongs to another version of rmsprop: reinstall rmsprop"):
        library.check_layout(object())


def declared(struct):
    """The fields of a struct in native/rmsprop.h, in order, with their types."""
    header = re.sub(r"/\*.*?\*/", "", (ROOT / "native" / "rmsprop.h").read_text(), flags=re.DOTALL)
    body = re.search(r"typedef struct {([^{}]*)} " + struct + ";", header)[1]
    return {name: kind for kind, name in re.findall(r"(\S[^;]*?)\s*(\w+)(?:\[\w+\])*;", body)}


def test_the_numbers_are_those_of_the_header():
    kinds = {"double": ctypes.c_double, "int32_t": ctypes.c_int32}
    assert {name: kinds[kind] for name, kind in declared("rmsprop_rule").items()} == layout.NUMBERS
    assert list(declared("rmsprop_rule")) == list(layout.NUMBERS)


def test_the_library_tells_where_every_field_of_the_header_is():
    told = re.findall(r"(\w+):\d+", library.libraries()[0].rmsprop_layout().decode())
    structs = "rmsprop_rule", "rmsprop_batch", "rmsprop_squares", "rmsprop_rows"
    assert told == [name for struct in structs for name in (*declared(struct), struct)]
