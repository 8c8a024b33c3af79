"""Commands and loops stopped at a few moments leave whole files, and the next run works; `make attack`: 30 moments."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

# Those of a second or two; `make attack` has all.
SHORT = ("Recorder", "convert", "predict", "train")


@pytest.mark.skipif(sys.platform == "win32", reason="has no fork, and its kill is another")
def test_what_is_stopped_leaves_whole_files():
    command = [sys.executable, "-m", "attack.kills", "3", "0", *SHORT]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["work"] for result in results] == list(SHORT)
    for result in results:
        assert not result["found"], result
