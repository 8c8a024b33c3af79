"""Which of a Keras optimizer's variables is what: in a live one, and by their numbers in a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rmsprop.checkpoint.arguments import called
from rmsprop.checkpoint.formats import FIELDS
from rmsprop.checkpoint.keras_files import Stored
from rmsprop.checkpoint.neutral import CheckpointError
from rmsprop.keywords import KERAS

# Keras' order, which is also that of rmsprop.keras; the variance takes the velocity's place there.
_SLOTS = ("square_avg", "momentum_buffer", "grad_avg")


@dataclass(frozen=True, kw_only=True, slots=True)
class Variables:
    """An optimizer's variables, live or by their number in a file.

    Args:
        form: ``"keras"`` or ``"rmsprop.keras"``.
        settings: What it says about its rule.
        names: The parameters' names.
        slots: Name of state -> a variable, or a number, per parameter.
        iteration: That of the iteration.
        lr: That of the learning rate, or None if there is none, as under a schedule.
        lr_in_config: The learning rate where the configuration says it instead (tf_keras).
        every: How many gradients make one update.
        collected: The variables, or numbers, of the gradients collected for the next one.
        has_ema: Whether it also averages the weights.
    """

    form: str
    settings: Mapping[str, Any]
    names: Sequence[str]
    slots: Mapping[str, Sequence[Any]]
    iteration: Any
    lr: Any
    lr_in_config: float | None = None
    every: int = 1
    collected: Sequence[Any] = ()
    has_ema: bool = False


def of_optimizer(optimizer: Any) -> Variables:
    """Return a live optimizer's variables.

    Raises:
        CheckpointError: If it is not an RMSProp, or has none yet.
    """
    ours = hasattr(optimizer, "rule")
    if not ours and not hasattr(optimizer, "rho"):
        around = {"inner_optimizer": ": give its inner_optimizer", "optimizers": ": give one of its optimizers"}
        remedy = next((words for name, words in around.items() if hasattr(optimizer, name)), "")
        raise CheckpointError(f"a {type(optimizer).__name__} is not an RMSProp of Keras{remedy}")
    if not hasattr(optimizer, "built"):
        raise CheckpointError(
            "a live optimizer of tf_keras is not read: save its model as .keras or .h5, or a legacy one with "
            "tf.train.Checkpoint, and give the file"
        )
    if not optimizer.built:
        raise CheckpointError(
            "the Keras optimizer has no variables yet: call optimizer.build(model.trainable_variables) first"
        )
    if ours:
        settings = {field: getattr(optimizer.rule, field) for field in FIELDS if field != "maximize"}
        slots = dict(optimizer._state)
    else:
        settings = _of_config({"weight_decay": optimizer.weight_decay, **vars(optimizer)})
        kept = (optimizer._velocities, optimizer._momentums, optimizer._average_gradients)
        slots = {name: members for name, members in zip(_SLOTS, kept, strict=True) if members}
    which = [number for number, variable in enumerate(next(iter(slots.values()))) if variable is not None]
    paths = [optimizer._trainable_variables[number].path for number in which]
    own = optimizer._learning_rate
    return Variables(
        form="rmsprop.keras" if ours else "keras",
        settings=settings,
        names=paths if len(set(paths)) == len(paths) else [str(number) for number in range(len(paths))],
        slots={name: [members[number] for number in which] for name, members in slots.items()},
        iteration=optimizer._iterations,
        lr=own if hasattr(own, "assign") else None,
        every=optimizer.gradient_accumulation_steps or 1,
        collected=optimizer._accumulated_gradients if optimizer.gradient_accumulation_steps else (),
        has_ema=optimizer.use_ema,
    )


def _of_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule's fields from the keywords of an optimizer."""
    settings = {field: config[KERAS.get(field, field)] for field in FIELDS if KERAS.get(field, field) in config}
    return settings | {"weight_decay": config.get("weight_decay") or 0.0}


def of_file(stored: Stored, stated: Mapping[str, Any]) -> Variables:
    """Return which number in a file is what.

    Args:
        stored: What is in the file.
        stated: Whether there are momentum and centering, which a weights file doesn't say.

    Raises:
        CheckpointError: If that can't be told, or they can't be an RMSProp's.
    """
    config = stored.config
    if config is None:
        if missing := [field for field in ("momentum", "centered") if field not in stated]:
            raise CheckpointError(
                f"{stored.path} numbers the optimizer's variables and doesn't say what they are: pass "
                f"{' and '.join(map(called, missing))} of the run ({called('momentum', 0.0)} if it had none), "
                "or give the .keras file of a "
                "model compiled with it"
            )
        config = {field: stated[field] for field in ("momentum", "centered")}
    slots = ["square_avg"] + ["momentum_buffer"] * bool(config["momentum"]) + ["grad_avg"] * bool(config["centered"])
    every = config.get("gradient_accumulation_steps") or 1
    before = bool(config.get("use_ema")) + (every > 1)
    has_lr, count = _layout(stored, config, before + len(slots))
    blocks = [[str(1 + has_lr + k * count + number) for number in range(count)] for k in range(before + len(slots))]
    numbers = dict(zip(slots, blocks[before:], strict=True))
    _check_weights_file(stored, numbers)
    if stored.is_ours and config["centered"]:
        numbers["grad_var"] = [f"{number}_variance" for number in numbers["square_avg"]]
    rate = config.get("learning_rate")
    return Variables(
        form="rmsprop.keras" if stored.is_ours else "keras",
        settings=dict(config) if stored.config is None else _of_config(config),
        names=[str(number) for number in range(count)],
        slots=numbers,
        iteration="0",
        lr="1" if has_lr else None,
        lr_in_config=None if has_lr or rate is None or isinstance(rate, Mapping) else float(rate),
        every=every,
        collected=blocks[before - 1] if every > 1 else (),
        has_ema=bool(config.get("use_ema")),
    )


def _layout(stored: Stored, config: Mapping[str, Any], blocks: int) -> tuple[bool, int]:
    """Return whether there is a variable for the learning rate, and how many parameters the optimizer has."""
    rate = config.get("learning_rate")
    is_open = rate is None or "jit_compile" in config  # a weights file doesn't say it; tf_keras mostly has none
    possible = [True, False] if is_open else [not isinstance(rate, Mapping)]
    fitting = [(has_lr, count) for has_lr in possible if (count := _count(stored.shapes, has_lr, blocks))]
    if not fitting:
        raise CheckpointError(
            f"{stored.path} has {len(stored.shapes)} optimizer variables, which are not those of an RMSProp with "
            f"momentum={config['momentum']} and centered={config['centered']}{_elsewhere(stored)}"
        )
    if len(fitting) > 1 and () in stored.model:
        raise CheckpointError(
            f"{stored.path} doesn't say whether the optimizer's variable 1 is its learning rate or the state of a "
            "parameter without axes: give the .keras file of Keras 3, or the live optimizer"
        )
    return fitting[0]


def _count(shapes: list[tuple[int, ...]], has_lr: bool, blocks: int) -> int:
    """Return how many parameters variables in so many blocks belong to, or 0 if they can't be in so many."""
    if shapes[:1] != [()] or (has_lr and shapes[1:2] != [()]):
        return 0
    own = shapes[1 + has_lr :]
    count, rest = divmod(len(own), blocks)
    return 0 if rest or any(own[k * count : (k + 1) * count] != own[:count] for k in range(blocks)) else count


def _check_weights_file(stored: Stored, numbers: Mapping[str, Sequence[str]]) -> None:
    """Check what nothing but the arrays can show in a file without a configuration."""
    if stored.config is not None:
        return
    squares = [stored.array(number) for number in numbers["square_avg"]]
    too_many = Counter(array.shape for array in squares) - Counter(stored.model)
    if too_many or any(array.dtype.kind in "iu" or (array < 0).any() for array in squares):
        raise CheckpointError(
            f"the optimizer's variables in {stored.path} can't be those of an RMSProp with these settings for this "
            f"model{_elsewhere(stored)}"
        )


def _elsewhere(stored: Stored) -> str:
    if stored.config is not None:
        return ""
    return (
        "; if momentum and centered are right, the run had an average of its weights (EMA), gradient accumulation or "
        "another optimizer, which a weights file doesn't say: give the .keras file or the live optimizer"
    )
