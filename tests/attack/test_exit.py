"""A program may end while other threads are in a step."""

import subprocess
import sys

import pytest

STEPPING = """
import sys, threading, time
import numpy as np
{imports}
def forever(seed):
    {make}
    while True:
        {step}
for seed in range(3):
    threading.Thread(target=forever, args=(seed,), daemon=True).start()
time.sleep(0.3)
sys.stdout.write("ends")
"""
PARTS = {
    "numpy": (
        "from rmsprop.numpy import RMSprop",
        "array, grad = np.ones(600_000, np.float32), np.ones(600_000, np.float32); o = RMSprop([array], threads=2)",
        "o.step([grad])",
    ),
    "torch": (
        "import torch; from rmsprop.torch import RMSprop",
        "p = torch.ones(600_000, requires_grad=True); p.grad = torch.ones(600_000); o = RMSprop([p])",
        "o.step()",
    ),
}


@pytest.mark.parametrize("name", PARTS)
def test_a_program_ends_during_a_step(name):
    imports, make, step = PARTS[name]
    code = STEPPING.format(imports=imports, make=make, step=step)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ends", "")
