"""The package as it is installed: what it imports, what the wheel holds, what is said when something is missing."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest

ROOT = Path(__file__).parent.parent


def python(code, *options, executable=sys.executable):
    """Run code in a new interpreter, away from the source tree."""
    return subprocess.run([executable, *options, "-c", code], capture_output=True, text=True, cwd="/")


def wheel():
    """Return the wheel that the package under test was installed from."""
    installed_from = distribution("rmsprop").read_text("direct_url.json")
    assert installed_from, "install the package from its wheel: make test"
    return Path(unquote(urlparse(json.loads(installed_from)["url"]).path))


def test_importing_the_package_imports_no_framework():
    code = "import json, sys, rmsprop; print(json.dumps([name.split('.')[0] for name in sys.modules]))"
    imported = set(json.loads(python(code).stdout))
    assert "rmsprop" in imported
    assert not imported & {
        "torch",
        "matplotlib",
        "click",
        "rich",
        "polars",
        "sklearn",
        "scipy",
        "jinja2",
        "pandas",
        "jax",
        "keras",
    }


BROUGHT = """
import json, sys, torch
before = set(sys.modules)
import rmsprop.torch
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_the_torch_front_end_brings_no_compiler():
    # torch._dynamo and Triton take a second to load. torch loads them when its first optimizer is made.
    brought = set(json.loads(python(BROUGHT).stdout))
    assert "rmsprop.torch.optimizer" in brought
    assert not brought & {"torch._dynamo", "torch._inductor", "torch.distributed.tensor", "triton"}
    assert {name.split(".")[0] for name in brought} <= {"rmsprop", "torch", *sys.stdlib_module_names}


def test_the_version_is_that_of_the_distribution():
    import rmsprop

    assert rmsprop.__version__ == distribution("rmsprop").version


BLOCK = "import sys; sys.modules['{name}'] = None; "


@pytest.mark.parametrize("name", ["torch", "jax", "keras"])
def test_a_missing_framework_names_the_extra(name):
    run = python(BLOCK.format(name=name) + f"import rmsprop.{name}")
    assert f"pip install 'rmsprop[{name}]'" in run.stderr.splitlines()[-1]


def test_the_package_runs_as_the_command():
    command = [sys.executable, "-m", "rmsprop", "dialects", "--help"]
    run = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("Usage: rmsprop dialects ")


def test_the_command_without_the_lab_names_the_extra():
    run = python(BLOCK.format(name="click") + "from rmsprop.cli import main; main()")
    assert run.returncode == 2
    assert "rmsprop[lab]" in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_the_wheel_serves_every_python_and_holds_library_and_types():
    assert wheel().name.split("-")[2:4] == ["py3", "none"]
    names = zipfile.ZipFile(wheel()).namelist()
    assert "rmsprop/py.typed" in names
    assert [name for name in names if name.startswith("rmsprop/rmsprop_native.")]
    assert not [name for name in names if name.startswith(("tests/", "native/", "src/"))]


SMOKE = """
import numpy as np
from rmsprop import Rule, native, reference
from rmsprop.batch import Batch
rule = Rule(momentum=0.9)
theta, g = np.ones(100_000, np.float32), np.full(100_000, 2.0, np.float32)
state = reference.init(rule, theta)
expected, _ = reference.update(rule, 0.1, 1, theta, g, state)
batch = Batch("float32", 1, rule)
batch.set_numbers(0.1, 1)
batch.place([theta.size], [a.ctypes.data for a in (theta, g, state["square_avg"], state["momentum_buffer"])])
native.update([batch], threads=2)
assert (theta == expected).all()
print(native.__file__)
"""


def test_the_wheel_works_in_a_clean_environment(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    executable = tmp_path / "venv" / "bin" / "python"
    environment = {**os.environ, "PIP_CONSTRAINT": str(ROOT / "constraints.txt")}
    install = [executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(wheel())]
    subprocess.run(install, check=True, env=environment)
    packages = python(
        "import importlib.metadata as m; print({d.name for d in m.distributions()})", executable=executable
    )
    assert "numpy" in packages.stdout
    assert "torch" not in packages.stdout
    run = python(SMOKE, executable=executable)
    assert run.returncode == 0, run.stderr
    assert str(tmp_path) in run.stdout


def test_a_missing_compiler_is_named_with_the_remedy(tmp_path):
    run = subprocess.run(
        ["cmake", "-S", ROOT, "-B", tmp_path],
        env={**os.environ, "CXX": "/nowhere/c++"},
        capture_output=True,
        text=True,
    )
    assert run.returncode != 0
    said = " ".join(run.stderr.split())
    assert "found no C++20 compiler" in said
    assert "apt install g++" in said
    assert "pip install --config-settings=wheel.cmake=false" in said


@pytest.fixture
def no_compiler(tmp_path):
    """An environment in which no compiler is found."""
    for tool in ("find", "sh"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    return {"PATH": str(tmp_path)}


def make(*options, env):
    return subprocess.run([shutil.which("make"), *options], cwd=ROOT, env=env, capture_output=True, text=True)


def test_the_demo_is_built_without_the_kernel_where_no_compiler_is(no_compiler):
    said = make("--dry-run", "--always-make", "demo", env=no_compiler).stdout
    assert "building without the kernel" in said
    assert "pip wheel --quiet --no-deps --config-settings=wheel.cmake=false" in said
    with_one = make("--dry-run", "--always-make", "demo", env=no_compiler | {"CXX": "sh"}).stdout
    assert "without the kernel" not in with_one
    assert "wheel.cmake=false" not in with_one


@pytest.mark.parametrize("verb", ["test", "bench", "sanitize"])
def test_what_needs_the_kernel_says_so_before_anything_is_installed(verb, no_compiler):
    run = make(verb, env=no_compiler)
    assert run.returncode == 2
    assert run.stdout == ""
    first, _ = run.stderr.splitlines()
    assert first.startswith("error: this needs the kernel, and there is no C++20 compiler here (Debian")


@pytest.mark.parametrize("module", ["rule", "dialects", "recipes", "horizon", "reference"])
def test_the_core_knows_nothing_of_the_layers_above(module):
    code = f"import sys, rmsprop.{module}; print([name for name in sys.modules if name.startswith('rmsprop.')])"
    assert not set(eval(python(code).stdout)) & {"rmsprop.native", "rmsprop.torch", "rmsprop.lab", "rmsprop.cli"}
