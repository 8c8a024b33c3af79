"""What the recorders share: run a framework over its cases and write what came out.

Each recorder runs in an environment of its own that holds its framework and NumPy; rmsprop is not needed:

    cd tests && python -m dialects.recorders.chainer
"""

import datetime
import importlib.metadata
import json
import platform
from pathlib import Path

import numpy as np
from dialects.trajectories import CASES, FRAMEWORK_CASES, gradients

RECORDED = Path(__file__).resolve().parent.parent / "recorded"


def inputs(case):
    """Return what a case is run on, in the form in which it is recorded."""
    return {
        "settings": dict(case.settings),
        "learning_rates": case.learning_rates(),
        "start": case.start,
        "still": case.still,
    }


def record(framework, package, run, make):
    """Write the trajectories of a framework to ``recorded/<framework>.json``.

    Args:
        framework: A key of `FRAMEWORK_CASES`.
        package: The package whose version counts.
        run: Takes a case; returns the parameter after every step and the final state under the framework's names.
        make: Takes nothing and makes the optimizer with no argument but its parameters, if the framework allows that.
    """
    versions = {name: importlib.metadata.version(name) for name in (package, "numpy")}
    recording = {
        "framework": framework,
        "versions": {**versions, "python": platform.python_version()},
        "recorded": datetime.date.today().isoformat(),
        "needs_learning_rate": _refuses(make),
        "gradients": gradients().tolist(),
        "cases": {name: _outputs(CASES[name], run) for name in FRAMEWORK_CASES[framework]},
    }
    path = RECORDED / f"{framework}.json"
    path.write_text(_one_row_per_line(recording), encoding="utf-8")
    print(f"{path.name}: {len(recording['cases'])} cases, {path.stat().st_size} bytes")


def _refuses(make):
    try:
        make()
    except TypeError:
        return True
    return False


def _outputs(case, run):
    params, state = run(case)
    params = np.array(params)
    assert params.dtype == np.float64, "these frameworks can all compute in float64"
    assert np.isfinite(params).all()
    return {
        **inputs(case),
        "params": params.tolist(),
        "state": {name: np.asarray(value, np.float64).tolist() for name, value in state.items()},
    }


def _one_row_per_line(value, indent=""):
    """Return JSON in which the innermost lists are not broken up."""
    inner = indent + " "
    if isinstance(value, dict) and value:
        items = (f"{inner}{json.dumps(key)}: {_one_row_per_line(item, inner)}" for key, item in value.items())
        return "{\n" + ",\n".join(items) + f"\n{indent}}}"
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "[\n" + ",\n".join(inner + json.dumps(row) for row in value) + f"\n{indent}]"
    return json.dumps(value)
