"""No damage to a file has a reader do more than return or refuse: a few hundred inputs each; `make attack`: more."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from attack.readers import CATEGORIES

# Inputs per reader that is cheap: seconds in all, once libraries are imported.
INPUTS = {"checkpoints": 150, "histories": 150, "tables": 300}
TESTS = Path(__file__).parents[1]


def results(category, inputs, seed, kept):
    """Attack the readers of a category in a process of its own; return what each did."""
    command = [sys.executable, "-m", "attack.fuzz", category, str(inputs), str(seed), str(kept)]
    done = subprocess.run(command, cwd=TESTS, capture_output=True, text=True)
    assert done.returncode == 0, f"ended by {done.returncode} at {kept / 'last'}: {done.stderr[-2000:]}"
    return {result["reader"]: result for result in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("category", CATEGORIES)
def test_readers_return_or_refuse(category, tmp_path):
    found = results(category, INPUTS[category], 0, tmp_path)
    assert found.keys() == CATEGORIES[category].keys()
    for name, result in found.items():
        assert not result["found"], (name, result["found"][:3])
        assert result["inputs"] == result.get("returned", 0) + result.get("refused", 0)
        assert "refused" in result or name == "cache of compare", name  # which counts what is damaged, and goes on
