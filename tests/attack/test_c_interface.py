"""Descriptions of arrays that no framework gives neither end the process nor are bound."""

import json
import subprocess
import sys
from pathlib import Path


def test_binding_refuses_what_is_no_array():
    command = [sys.executable, "-m", "attack.c_interface", "5000", "0"]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert min(found["bound"], found["refused"]) > 500
