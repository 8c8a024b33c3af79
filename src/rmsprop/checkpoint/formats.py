"""Each format as one row of data: whose RMSProp it holds, and which of its choices a user of it can make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any

from rmsprop.checkpoint.neutral import CheckpointError
from rmsprop.dialects import get_dialect
from rmsprop.rule import Rule

# A checkpoint can also say that it ascends, which is not part of a rule.
FIELDS = (*(each.name for each in fields(Rule)), "maximize")


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """A form that checkpoints come in.

    Args:
        module: The module under `rmsprop.checkpoint` that reads and writes it.
        dialect: The dialect whose constants hold in it, a key of `rmsprop.DIALECTS`.
        choices: The fields of `rmsprop.Rule` that its user can choose; the others are the dialect's.
        holds_settings: Whether the hyperparameters are part of it, as in torch's parameter groups.
        program: What a message calls it.
        instead: Field -> what its user has in the place of a value that it doesn't know. Default: it knows all.

    Examples:
        >>> FORMATS["keras"].program
        'Keras'
    """

    module: str
    dialect: str
    choices: frozenset[str]
    holds_settings: bool
    program: str
    instead: Mapping[str, Mapping[Any, Any]] = field(default_factory=dict)

    def constants(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields that a user of this format can't choose.

        Args:
            settings: What is known of the rest, on which a constant may depend.

        Returns:
            Field -> value.

        Examples:
            >>> FORMATS["sb3"].constants({})["lr_in_momentum"]
            False
        """
        values = {"maximize": False, **get_dialect(self.dialect).defaults(settings)}
        own = {name: others[settings[name]] for name, others in self.instead.items() if settings.get(name) in others}
        return {name: value for name, value in values.items() if name not in self.choices} | own


def _choices(*names: str) -> frozenset[str]:
    return frozenset({"decay", "eps", "momentum", "centered", *names})


_ALL = frozenset(FIELDS)
_OPTAX = _choices("eps_inside_sqrt", "initial_square_avg", "nesterov", "bias_correction")

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "torch": Format(
            module="torch",
            dialect="torch",
            choices=_choices("weight_decay", "maximize"),
            holds_settings=True,
            program="torch.optim.RMSprop",
        ),
        "timm": Format(
            module="torch",
            dialect="timm",
            choices=_choices("weight_decay", "weight_decay_mode", "weight_decay_max_lr", "lr_in_momentum", "caution"),
            holds_settings=True,
            program="timm's RMSpropTF",
            instead={"weight_decay_mode": {"cautious": "decoupled"}},
        ),
        "sb3": Format(
            module="torch",
            dialect="sb3",
            choices=_choices("weight_decay"),
            holds_settings=True,
            program="Stable-Baselines3's RMSpropTFLike",
        ),
        "bitsandbytes": Format(
            module="torch",
            dialect="torch",
            choices=frozenset({"decay", "eps", "weight_decay"}),
            holds_settings=True,
            program="bitsandbytes",
        ),
        "rmsprop.torch": Format(
            module="torch", dialect="torch", choices=_ALL, holds_settings=True, program="rmsprop.torch"
        ),
        "optax": Format(module="optax", dialect="optax", choices=_OPTAX, holds_settings=False, program="Optax"),
        "rmsprop.jax": Format(
            module="optax", dialect="optax", choices=_ALL - {"maximize"}, holds_settings=False, program="rmsprop.jax"
        ),
        "keras": Format(
            module="keras", dialect="keras", choices=_choices("weight_decay"), holds_settings=False, program="Keras"
        ),
        "rmsprop.keras": Format(
            module="keras", dialect="keras", choices=_ALL - {"maximize"}, holds_settings=False, program="rmsprop.keras"
        ),
        "tensorflow1": Format(
            module="tensorflow", dialect="tensorflow1", choices=_choices(), holds_settings=False, program="TensorFlow 1"
        ),
        "keras_legacy": Format(
            module="tensorflow",
            dialect="keras_legacy",
            choices=_choices(),
            holds_settings=False,
            program="tf_keras.optimizers.legacy",
        ),
        "numpy": Format(module="numpy", dialect="torch", choices=_ALL, holds_settings=True, program="rmsprop.numpy"),
    }
)


def get_format(name: str) -> Format:
    """Return a format by its name.

    Args:
        name: A key of `FORMATS`.

    Returns:
        The format.

    Raises:
        CheckpointError: If there is no such format.

    Examples:
        >>> get_format("timm").dialect
        'timm'
    """
    if name not in FORMATS:
        raise CheckpointError(f"there is no checkpoint format {name!r}: choose one of {', '.join(FORMATS)}")
    return FORMATS[name]
