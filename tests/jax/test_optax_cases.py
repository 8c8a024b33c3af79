"""Optax's own tests of its RMSProp, which ship with it, pass with ours in its place."""

import json
import os
import subprocess
import sys
from pathlib import Path


def run_cases(*only):
    run = subprocess.run(
        [sys.executable, Path(__file__).with_name("optax_cases.py"), *only],
        capture_output=True,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
    )
    assert run.stdout, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def test_optax_own_cases_pass():
    found = run_cases()
    # Optax computes 1 − 0.999ᵗ in float32, five digits of it; its Adam and its RMSProp share that error, ours has none.
    assert found["failed"] == ["optax._src.transform_test.TransformTest.test_rms_match_adam"]
    assert found["run"] >= 60
    # Optax skips its wrapper mechanize, which takes no schedule, once per RMSProp.
    assert [reason[:24] for reason in found["skipped"]] == ["Optimizer doesn't accept"] * 2


def test_the_remaining_case_passes_where_optax_computes_its_correction_in_float64():
    assert run_cases("test_rms_match_adam") == {"run": 1, "skipped": [], "failed": []}
