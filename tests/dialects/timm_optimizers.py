"""timm's optimizers, imported in spite of torchvision.

Importing timm imports torchvision, whose compiled part does not load with every build of PyTorch; its Python part then
fails on two operators that it expects to be declared. They are declared here, and never called. Where the compiled part
loads it declares them itself, and a second declaration would end the process.
"""

import torch

try:
    import torchvision  # noqa: F401
except RuntimeError:  # operator torchvision::nms does not exist
    _DECLARED = torch.library.Library("torchvision", "FRAGMENT")
    for _operator in ("nms", "qnms"):
        _DECLARED.define(f"{_operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from timm.optim.adopt import Adopt
from timm.optim.laprop import LaProp
from timm.optim.rmsprop_tf import RMSpropTF

__all__ = ["Adopt", "LaProp", "RMSpropTF"]
