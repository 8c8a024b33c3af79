"""The optimizers of PyTorch, timm and Stable-Baselines3, run on a case."""

import numpy as np
import torch
from dialects.timm_optimizers import RMSpropTF
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike

KEYWORDS = {
    "decay": "alpha",
    "eps": "eps",
    "momentum": "momentum",
    "centered": "centered",
    "weight_decay": "weight_decay",
    "lr_in_momentum": "lr_in_momentum",
    "weight_decay_mode": "weight_decay_mode",
}


def train(optimizer_class, case, rates, **keywords):
    """Return the parameter after every step and the final state of any optimizer with torch's interface."""
    param = torch.tensor(case.parameter(), requires_grad=True)
    optimizer = optimizer_class([param], **keywords)
    params = []
    for step, grad in enumerate(case.gradients()):
        if rates is not None:
            optimizer.param_groups[0]["lr"] = rates[step]
        param.grad = torch.from_numpy(grad)
        optimizer.step()
        params.append(param.detach().numpy().copy())
    state = optimizer.state_dict()["state"][0]
    return np.array(params), {name: np.asarray(value) for name, value in state.items()}


def _keywords(case):
    return {KEYWORDS[name]: value for name, value in case.settings.items()}


def torch_for_loop(case):
    return train(torch.optim.RMSprop, case, case.learning_rates(), foreach=False, **_keywords(case))


def torch_foreach(case):
    return train(torch.optim.RMSprop, case, case.learning_rates(), foreach=True, **_keywords(case))


def sb3(case):
    return train(RMSpropTFLike, case, case.learning_rates(), **_keywords(case))


def timm(case, foreach=False):
    keywords = _keywords(case)
    if mode := keywords.pop("weight_decay_mode", None):
        keywords["decoupled_decay"] = mode == "decoupled"
    return train(RMSpropTF, case, case.learning_rates(), foreach=foreach, **keywords)


def timm_foreach(case):
    return timm(case, foreach=True)
