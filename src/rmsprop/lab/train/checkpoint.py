"""A training's state in one safetensors file: written whole, nothing in it is unpickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from rmsprop.files import write_atomically
from rmsprop.lab.errors import InputError
from rmsprop.lab.train.best import Best
from rmsprop.lab.train.training import Training

# One entry, because safetensors writes several in no fixed order, and equal states are to give equal files.
_ENTRY = "rmsprop"


def save_tensors(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write tensors, and plain values beside them.

    Args:
        path: The file.
        tensors: The tensors by name.
        facts: Plain values for JSON.
    """
    own = {name: tensor.detach().clone() for name, tensor in tensors.items()}  # shared memory is refused
    write_atomically(path, save(own, {_ENTRY: json.dumps(facts)}))


def save_checkpoint(path: Path, training: Training) -> None:
    """Write everything that decides how a training goes on.

    Args:
        path: The file.
        training: The training, between two epochs.
    """
    state = training.optimizer.state_dict()
    tensors = {f"model.{name}": tensor for name, tensor in training.model.state_dict().items()}
    for index, arrays in state["state"].items():
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in arrays.items()}
    if best := training.best:
        tensors |= {f"best.{name}": tensor for name, tensor in best.weights.items()}
    if average := training.average:
        tensors |= {f"average.{name}": tensor for name, tensor in average.averaged.state_dict().items()}
    arrays, rate = training.steps.state_dict()
    tensors |= {f"rate.{name}": tensor for name, tensor in arrays.items()}
    facts = {
        "epoch": training.epoch,
        "step": training.step,
        "groups": state["param_groups"],
        "schedule": training.schedule.state_dict(),
        "rate": rate,
        "best": {"epoch": best.epoch, "loss": best.loss} if best and best.epoch else None,
    }
    save_tensors(path, tensors, facts)


def load_checkpoint(path: Path, training: Training) -> None:
    """Take up a training where `save_checkpoint` left it.

    Args:
        path: The file.
        training: A training of the same problem and settings, without an epoch run yet.

    Raises:
        InputError: If the file is damaged, or of another model.
    """
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()[_ENTRY])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        _restore(training, facts, tensors)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} is damaged or of another model: start over with --force") from error


def _restore(training: Training, facts: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    weights: dict[str, dict[str, Tensor]] = {"model": {}, "best": {}, "average": {}, "rate": {}}
    for name, tensor in tensors.items():
        kind, rest = name.split(".", 1)
        if kind in weights:
            weights[kind][rest] = tensor
        else:
            index, slot = rest.split(".")
            state.setdefault(int(index), {})[slot] = tensor
    training.model.load_state_dict(weights["model"])
    training.optimizer.load_state_dict({"state": state, "param_groups": facts["groups"]})
    training.steps.load_state_dict(weights["rate"], facts.get("rate", {}))
    if training.average:
        training.average.averaged.load_state_dict(weights["average"])
    training.schedule.load_state_dict(facts["schedule"])
    training.epoch, training.step = int(facts["epoch"]), int(facts["step"])
    if training.best and facts["best"]:
        training.best = Best(int(facts["best"]["epoch"]), float(facts["best"]["loss"]), weights["best"])
