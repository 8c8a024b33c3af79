"""One example in a process of its own: ``python -m examples.running in_lightning`` prints what it measured."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from examples.measuring import Measured

FOLDER = Path(__file__).parent
TIMEOUT = 600
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("in_*.py")))


def run(name: str) -> Measured:
    """Return what an example measured, run in a process of its own: clients set up what belongs to a whole process.

    Args:
        name: One of `NAMES`.

    Raises:
        RuntimeError: If it fails, with the end of what it printed.
    """
    command = [sys.executable, "-m", "examples.running", name]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    found = subprocess.run(
        command, cwd=FOLDER.parent, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT
    )
    if found.returncode:
        raise RuntimeError(f"the example {name} failed: exit code {found.returncode}\n{found.stderr[-3000:]}")
    return Measured(**json.loads(found.stdout.splitlines()[-1]))


def _bring_together() -> Any:
    """Make clients that are installed beside others importable.

    Triton after TensorFlow is a segmentation fault. A torchvision that was built for another torch lacks two operators,
    which clients import and no example calls.
    """
    with contextlib.suppress(ImportError):
        import triton  # noqa: F401
    import torch

    try:
        import torchvision  # noqa: F401
    except ImportError:
        return None
    except RuntimeError:  # operator torchvision::nms does not exist
        library = torch.library.Library("torchvision", "FRAGMENT")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return library
    return None


if __name__ == "__main__":
    _library = _bring_together()
    print(import_module(f"examples.{sys.argv[1]}").main().as_json())
