"""State dicts of PyTorch optimizers: torch's own RMSprop and those that share its form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rmsprop.checkpoint import averages, bitsandbytes
from rmsprop.checkpoint.arguments import called
from rmsprop.checkpoint.bitsandbytes import flat
from rmsprop.checkpoint.formats import FORMATS
from rmsprop.checkpoint.matching import Place
from rmsprop.checkpoint.neutral import ARRAYS, Array, Checkpoint, CheckpointError, Group, Parameter, narrowed, quoted
from rmsprop.checkpoint.packed import unpacked_state
from rmsprop.checkpoint.torch_files import Content, StateDict, content_of, find
from rmsprop.checkpoint.translate import Target
from rmsprop.checkpoint.unpickling import shortened
from rmsprop.files import replacing
from rmsprop.rule import FLAGS
from rmsprop.storage import FLOAT32_IS_FULL, NARROW_DTYPES, working_dtype
from rmsprop.torch.foreign import timms_choices
from rmsprop.torch.groups import EXTRA, KEYS
from rmsprop.torch.state.packing import CODES

# Class of a live optimizer, as module and name -> format.
_CLASSES = {
    ("torch.optim", "RMSprop"): "torch",
    ("timm", "RMSpropTF"): "timm",
    ("stable_baselines3", "RMSpropTFLike"): "sb3",
    ("bitsandbytes", "RMSprop"): "bitsandbytes",
    ("bitsandbytes", "RMSprop32bit"): "bitsandbytes",
    ("bitsandbytes", "RMSprop8bit"): "bitsandbytes",
    ("rmsprop.torch", "RMSprop"): "rmsprop.torch",
}
# Field of `rmsprop.Rule` -> key of a group, for those that torch's own optimizer has.
_TORCHS_KEYS = {field: key for field, key in KEYS.items() if key not in EXTRA}
# Keys of groups of other methods -> whose they are.
_OTHERS = {
    "betas": "one of Adam or its kin",
    "lr_decay": "one of Adagrad",
    "rho": "one of Adadelta",
    "dampening": "one of SGD",
}
_OTHERS_SUFFIXES = (".npz", ".npy", ".safetensors", ".keras", ".h5", ".json", ".csv", ".index")
# What a new group holds beside the rule, as the framework itself writes it.
_EXTRAS: Mapping[str, Mapping[str, Any]] = {
    "torch": {"capturable": False, "foreach": None, "differentiable": False},
    "timm": {"foreach": None},
    "sb3": {},
    "rmsprop.torch": {"capturable": False, "foreach": None, "differentiable": False, "fused": None},
}


def read(source: Any, form: str | None, key: str | None, stated: Mapping[str, Any]) -> Checkpoint:
    """Read an optimizer, a state dict, or a file that holds one.

    Args:
        source: A live optimizer, a state dict, a checkpoint that contains one, or the path of a file.
        form: Whose it is, a key of `FORMATS`, or None to tell from what is in it.
        key: Where in the checkpoint it is, with dots between the levels, if there are several.
        stated: Not needed: torch writes its settings down.

    Returns:
        The checkpoint.

    Raises:
        CheckpointError: If there is no RMSProp's state in it, or it can't be told whose it is.
    """
    content = content_of(source)
    state_dict = find(source, content, key)
    _check_not_averaged(state_dict)
    _check_not_rowwise(state_dict)
    found = _of_class(source) if isinstance(source, torch.optim.Optimizer) else _recognised(state_dict) or content.form
    form = _agreed(form, found)
    if form == "bitsandbytes" and isinstance(source, torch.optim.Optimizer):
        bitsandbytes.check_optimizer(source)
    groups = tuple(_group(form, group) for group in state_dict["param_groups"])
    parameters = tuple(_parameters(form, state_dict, groups))
    notes = (*_left_out(content), *_notes(form, state_dict))
    return Checkpoint(format=form, parameters=parameters, groups=groups, ordered=True, notes=notes)


def _check_not_averaged(state_dict: StateDict) -> None:
    if any(group.keys() >= {"beta", "weight_sum"} for group in state_dict["param_groups"]):
        raise CheckpointError(
            "the state dict is one of ScheduleFreeRMSprop, whose weights are averages of an iterate that no other "
            "RMSProp has: go on with ScheduleFreeRMSprop itself, which loads it"
        )


def _check_not_rowwise(state_dict: StateDict) -> None:
    if any("row_square_avg" in flat(state) for state in state_dict["state"].values()):
        raise CheckpointError(
            "the state dict has one average of squares per row (sparse='rowwise'), which doesn't tell those of single "
            "numbers that every other RMSProp has: go on with rmsprop.torch.RMSprop itself, which loads it"
        )


def _of_class(optimizer: torch.optim.Optimizer) -> str | None:
    """Return the format of a live optimizer, or None for a class that isn't known."""
    for cls in type(optimizer).__mro__:
        for (module, name), form in _CLASSES.items():
            if cls.__name__ == name and (cls.__module__ + ".").startswith(module + "."):
                return form
    return None


def _recognised(state_dict: StateDict) -> str | None:
    """Return whose state dict it is, where its groups or states tell."""
    keys = {key for group in state_dict["param_groups"] for key in group}
    names = {name for state in state_dict["state"].values() for name in flat(state)}
    if "state1" in names:
        bitsandbytes.check_method(names, state_dict["param_groups"])
        return "bitsandbytes"
    if "lambd" in keys:
        raise CheckpointError("the state dict is not an RMSProp's, but one of ASGD, whose alpha means something else")
    if "decoupled_decay" in keys:
        return "timm"
    if "alpha" in keys and (keys & EXTRA.keys() or "grad_var" in names or names & {*CODES.values()}):
        return "rmsprop.torch"
    if "alpha" in keys and keys & {"maximize", "capturable", "differentiable"}:
        return "torch"
    if "alpha" not in keys and (names or "dampening" in keys):  # SGD may have no state
        raise CheckpointError(f"the state dict is not an RMSProp's{_other(keys)}: its parameter groups have no alpha")
    return None


def _other(keys: Set[str]) -> str:
    """Return whose it is instead, by the keys of its groups."""
    return next((f", but {program}" for key, program in _OTHERS.items() if key in keys), "")


def _agreed(form: str | None, found: str | None) -> str:
    """Return the format that the caller named and that the content allows."""
    if form is None and found is None:
        raise CheckpointError(
            "it can't be told whose RMSProp this is, because torch before 1.12 and Stable-Baselines3 use the same "
            f"names for different rules: give its {called('format')}, such as 'torch' or 'sb3'"
        )
    # torch keeps what else is in the groups it loads; our groups that mean what torch does look like its own
    both = {form, found} == {"torch", "rmsprop.torch"}
    if form is not None and found not in (None, form) and not both:
        raise CheckpointError(f"it is given as {form!r}, but it is of {FORMATS[str(found)].program} ({found!r})")
    return str(form or found)


def _group(form: str, group: Mapping[str, Any]) -> Group:
    """Return what a parameter group says."""
    known = _TORCHS_KEYS
    if form == "rmsprop.torch":
        group, known = {**EXTRA, **group}, KEYS  # what is missing of these means what torch does
    elif form == "timm":
        known = known | {"lr_in_momentum": "lr_in_momentum"}
    if missing := [key for key in ("lr", *known.values()) if key not in group and form != "bitsandbytes"]:
        raise CheckpointError(
            f"a parameter group has no {quoted(missing)}, so this is not a state dict of {FORMATS[form].program}"
        )
    settings = {field: _plain(group[key]) for field, key in known.items() if key in group}
    if form == "timm":
        settings |= timms_choices(group)
    if form == "bitsandbytes":
        settings = bitsandbytes.settings_of(group)
    settings["maximize"] = bool(group.get("maximize", False))
    for flag in FLAGS:
        if flag in settings:
            settings[flag] = bool(settings[flag])
    return Group(settings={**FORMATS[form].constants(settings), **settings}, lr=float(_plain(group["lr"])))


def _left_out(content: Content) -> Iterator[str]:
    if content.left_out:
        yield (
            f"objects of {shortened(list(content.left_out))} beside the state were left out: only running code would "
            "bring them back, and nothing of them is needed"
        )


def _notes(form: str, state_dict: StateDict) -> tuple[str, ...]:
    groups = state_dict["param_groups"]
    if form == "bitsandbytes":
        return tuple(bitsandbytes.notes_of(state_dict["state"], groups))
    if form == "timm":
        return ()
    return tuple(_notes_of_storage(groups))


def _notes_of_storage(groups: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if packed := {str(group["state_dtype"]) for group in groups if group.get("state_dtype")}:
        words = " and ".join("'8bit'" if each == "8bit" else "torch.bfloat16" for each in sorted(packed))
        yield f"the run has state_dtype={words}, which doesn't move: give it again where the run goes on"
    if chosen := {group.get("rounding", "nearest") for group in groups} - {"nearest"}:
        lost = ", nor does what it took off the weights so far" if "kahan" in chosen else ""
        yield f"the run has rounding={min(chosen)!r}, which doesn't move{lost}: give it again where the run goes on"


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor | np.generic) else value


def _step(value: Any) -> int:
    if not isinstance(value, int | float) or isinstance(value, bool) or value != value // 1:
        raise ValueError(f"Invalid step: {value!r} (allowed: a whole number)")
    return int(value)


def _parameters(form: str, state_dict: StateDict, groups: Sequence[Group]) -> Iterator[Parameter]:
    states = state_dict["state"]
    for number, group in enumerate(state_dict["param_groups"]):
        names = group.get("param_names") or [str(key) for key in group["params"]]
        for key, name in zip(group["params"], names, strict=True):
            yield _parameter(form, str(name), flat(states.get(key)), number, groups[number])


def _parameter(form: str, name: str, state: Mapping[str, Any], number: int, group: Group) -> Parameter:
    state = unpacked_state(name, state)
    called = {"square_avg": "state1"} if form == "bitsandbytes" else {name: name for name in ARRAYS}
    arrays = {own: _array(state[key]) for own, key in called.items() if isinstance(state.get(key), Tensor)}
    step = _step(_plain(state["step"])) if "step" in state else None
    return averages.parameter(name, arrays, step, number, group.settings)


def _array(tensor: Tensor) -> Array:
    """Return a tensor as an array of at least 32 bits, in memory of its own."""
    tensor = tensor.detach().cpu().resolve_conj().resolve_neg()
    if (name := str(tensor.dtype).removeprefix("torch.")) in NARROW_DTYPES:
        tensor = tensor.to(getattr(torch, working_dtype(name)))
    return np.array(tensor.to_dense().numpy())


def target(form: str, like: Any, stated: Mapping[str, Any]) -> Target:
    """Return what a state dict of this format takes.

    Args:
        form: A key of `FORMATS`.
        like: None, or the optimizer (or its state dict, or a file with one) that is to go on.
        stated: Not needed.

    Returns:
        Its description.

    Raises:
        CheckpointError: If ``like`` is of another format.
    """
    if like is None:
        return Target(format=form)
    own = read(like, form, None, {})
    shapes = _shapes(like)
    places = tuple(
        Place(name=p.name, shape=shapes[number] if shapes else p.shape, group=p.group)
        for number, p in enumerate(own.parameters)
    )
    return Target(format=form, places=places, groups=own.groups)


def _shapes(like: Any) -> list[tuple[int, ...]]:
    if not isinstance(like, torch.optim.Optimizer):
        return []
    return [tuple(param.shape) for group in like.param_groups for param in group["params"]]


def build(checkpoint: Checkpoint, like: Any, notes: list[str]) -> StateDict:
    """Return a state dict for ``optimizer.load_state_dict``.

    Args:
        checkpoint: The state, translated for this format.
        like: What `target` was given.
        notes: Receives what the caller must know.

    Returns:
        A new state dict; tensors share no memory with the source.
    """
    old = find(like, content_of(like), None) if like is not None else None
    keys = [k for group in old["param_groups"] for k in group["params"]] if old else _positions(checkpoint)
    members = list(zip(keys, checkpoint.parameters, strict=True))
    if any(p.step is None and p.arrays for p in checkpoint.parameters):
        notes.append("the checkpoint has no step counts: step is set to 0, which nothing in the update depends on")
    stepped = sorted((member for member in members if member[1].arrays), key=lambda member: member[0])
    if checkpoint.format == "bitsandbytes":
        writer = bitsandbytes.Writer(old, like)
        state = {key: writer.state(key, p) for key, p in stepped}
        notes.extend(writer.notes())
    else:
        state = {key: _state(checkpoint.format, p, checkpoint.groups[p.group]) for key, p in stepped}
    groups = []
    for number, group in enumerate(checkpoint.groups):
        own = [(key, p.name) for key, p in members if p.group == number]
        if old:
            content = dict(old["param_groups"][number]) | ({} if group.lr is None else {"lr": group.lr})
        else:
            content = _new_group(checkpoint.format, group) | {"params": sorted(key for key, _ in own)}
            if any(not name.isdecimal() for _, name in own):
                content["param_names"] = [name for _, name in sorted(own)]
        groups.append(content)
    return {"state": state, "param_groups": groups}


def _positions(checkpoint: Checkpoint) -> list[int]:
    """Return the number that torch gives each parameter."""
    names = [parameter.name for parameter in checkpoint.parameters]
    if all(name.isdecimal() for name in names):
        positions = [int(name) for name in names]
        if sorted(positions) != list(range(len(names))):
            raise CheckpointError(
                f"torch counts parameters from 0, but they are called {quoted(names)}: give their positions "
                f"with {called('names')}"
            )
        return positions
    if not checkpoint.ordered:
        example = f"names={{{names[0]!r}: '0', ...}}"
        raise CheckpointError(
            f"torch knows parameters by their position, but these have names in no known order ({quoted(names)}): say "
            f"where each stands with {called('names', {names[0]: '0'}, python=example)}, or give the optimizer with "
            f"{called('like')}"
        )
    return list(range(len(names)))


def _new_group(form: str, group: Group) -> dict[str, Any]:
    if form == "bitsandbytes":
        return bitsandbytes.new_group(group)
    settings = group.settings
    keys = KEYS if form == "rmsprop.torch" else _TORCHS_KEYS
    content = {"lr": group.lr} | {key: settings[field] for field, key in keys.items()}
    if form == "timm":
        content["decoupled_decay"] = settings["weight_decay_mode"] == "decoupled"
        content["lr_in_momentum"] = settings["lr_in_momentum"]
        max_lr = settings["weight_decay_max_lr"]
        content |= {"caution": settings["caution"], "corrected_weight_decay": max_lr > 0.0}
        content["max_lr_snapshot"] = max_lr or group.lr
    if form in ("torch", "rmsprop.torch"):
        content["maximize"] = settings["maximize"]
    return {**content, **_EXTRAS[form]}


def _state(form: str, parameter: Parameter, group: Group) -> dict[str, Any]:
    step = parameter.step or 0
    if form == "rmsprop.torch":
        arrays = averages.own_state(parameter, group.settings)
        if "grad_var" in arrays:  # what torch would look for
            arrays["square_avg"] = averages.square_avg(arrays)
    else:
        arrays = {name: array for name, array in parameter.arrays.items() if name != "grad_var"}
    tensors = {
        name: torch.from_numpy(np.array(narrowed(array, parameter.dtype, f"{name} of {parameter.name!r}"), order="C"))
        for name, array in arrays.items()
    }
    dtype = torch.float32 if step < FLOAT32_IS_FULL else torch.float64
    return {"step": step if form == "sb3" else torch.tensor(float(step), dtype=dtype, device="cpu"), **tensors}


def write(content: StateDict, path: Path, like: Any) -> None:
    """Write a state dict to a file, whole or not at all.

    Args:
        content: What `build` returned.
        path: The file.
        like: Not needed.

    Raises:
        CheckpointError: If the path has a suffix of other files.
    """
    if path.suffix in _OTHERS_SUFFIXES:
        raise CheckpointError(f"{path} ends in {path.suffix}, but PyTorch's checkpoints end in .pt or .pth: rename it")
    with replacing(path) as temporary, temporary.open("wb") as file:  # torch would write a temporary name into it
        torch.save(content, file)
