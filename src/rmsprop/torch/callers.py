"""Who calls, where that alone tells what is meant."""

from __future__ import annotations

import sys

_LEVELS = 12  # hooks, wrappers and a profiler may stand between


def is_distributed_checkpoint(function: str) -> bool:
    """Whether a function of ``torch.distributed.checkpoint.state_dict`` has led here.

    Args:
        function: Its name. One that a version of PyTorch doesn't have never has.
    """
    frame = sys._getframe(1)
    for _ in range(_LEVELS):
        if frame.f_back is None:
            return False
        frame = frame.f_back
        if frame.f_code.co_name == function:
            return bool(frame.f_globals.get("__name__") == "torch.distributed.checkpoint.state_dict")
    return False
