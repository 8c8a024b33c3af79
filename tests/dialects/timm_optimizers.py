"""timm's RMSpropTF, imported in spite of torchvision.

Importing timm imports torchvision, whose compiled part does not load with every build of PyTorch; its Python part then
fails on two operators that it expects to be declared. They are declared here, and never called.
"""

import contextlib

import torch

_DECLARED = torch.library.Library("torchvision", "FRAGMENT")
for _operator in ("nms", "qnms"):
    with contextlib.suppress(RuntimeError):  # declared already: by the compiled part
        _DECLARED.define(f"{_operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from timm.optim.rmsprop_tf import RMSpropTF  # noqa: E402

__all__ = ["RMSpropTF"]
