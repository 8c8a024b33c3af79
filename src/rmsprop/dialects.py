"""Each framework's RMSProp as one row of data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Unpack

from rmsprop.hyperparameters import Traced
from rmsprop.rule import Rule, RuleOptions, register_dialects


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """What a framework means by RMSProp.

    Args:
        rule: Its choices and default hyperparameters.
        lr: Its default learning rate, or None where it has none and the caller must choose.
        source: The paper, or the file and version, that the row was read from.
        notes: What to know before comparing it with another.
        when: Defaults that depend on another choice: field -> the defaults that hold once that field is switched on.
            Default: none do.

    Examples:
        >>> DIALECTS["keras"].lr
        0.001
    """

    rule: Rule
    lr: float | None
    source: str
    notes: str
    when: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make the conditional defaults read-only."""
        when = {switch: MappingProxyType(dict(defaults)) for switch, defaults in self.when.items()}
        object.__setattr__(self, "when", MappingProxyType(when))

    def rule_with(self, **overrides: Unpack[RuleOptions]) -> Rule:
        """Return the dialect's rule with explicit choices put over its defaults.

        Args:
            **overrides: Fields of `Rule`; None stands for the dialect's default.

        Returns:
            The rule.

        Raises:
            TypeError: If a field is unknown or of the wrong type.
            ValueError: If a value is out of range.

        Examples:
            >>> DIALECTS["torch"].rule_with(decay=0.9, eps=None).eps
            1e-08
            >>> DIALECTS["keras_legacy"].rule_with(momentum=0.9).eps_inside_sqrt
            True
        """
        known = {field.name for field in fields(Rule)}
        if unknown := sorted(overrides.keys() - known):
            raise TypeError(f"Unknown hyperparameter {unknown[0]!r} (known: {', '.join(sorted(known))})")
        given = {name: value for name, value in overrides.items() if value is not None}
        return Rule(**{**self.defaults(given), **given})  # type: ignore[arg-type]

    def defaults(self, given: Mapping[str, object]) -> dict[str, object]:
        """Return the dialect's default of every field of `Rule`, in the light of some explicit choices.

        Args:
            given: Field -> explicit choice.

        Returns:
            Field -> default.

        Examples:
            >>> DIALECTS["mxnet"].defaults({"centered": True})["momentum"]
            0.9
        """
        values = {field.name: getattr(self.rule, field.name) for field in fields(Rule)}
        for switch, defaults in self.when.items():
            choice = given.get(switch, values[switch])
            if isinstance(choice, Traced) or choice:
                values |= defaults
        return values


DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        "hinton": Dialect(
            rule=Rule(decay=0.9, eps=1e-8),
            lr=None,
            source="Tieleman and Hinton, COURSERA Neural Networks for Machine Learning, lecture 6e, 2012",
            notes="The lecture divides by √v alone; ε = 1e-8 is added here, against a division by zero.",
        ),
        "graves": Dialect(
            rule=Rule(decay=0.95, eps=1e-4, eps_inside_sqrt=True, centered=True, momentum=0.9, lr_in_momentum=True),
            lr=1e-4,
            source="Graves, Generating Sequences With Recurrent Neural Networks, arXiv 1308.0850, eq. 38 to 45, 2013",
            notes="The first centered RMSProp. The learning rate is inside the momentum buffer.",
        ),
        "dqn": Dialect(
            rule=Rule(decay=0.95, eps=0.01, eps_inside_sqrt=True, centered=True),
            lr=2.5e-4,
            source="Mnih et al., Human-level control through deep reinforcement learning, Nature 518, 2015; "
            "dqn/NeuralQLearner.lua of its code",
            notes="ε = 0.01 is the paper's minimum squared gradient. Its gradient momentum of 0.95 is the decay of the "
            "mean, not a heavy ball.",
        ),
        "torch": Dialect(
            rule=Rule(decay=0.99, eps=1e-8),
            lr=1e-2,
            source="torch/optim/rmsprop.py, PyTorch 2.13.0",
            notes="The learning rate stays outside the momentum buffer. Calls the decay alpha.",
        ),
        "tensorflow1": Dialect(
            rule=Rule(decay=0.9, eps=1e-10, eps_inside_sqrt=True, initial_square_avg=1.0, lr_in_momentum=True),
            lr=None,
            source="tf.compat.v1.train.RMSPropOptimizer, ops ApplyRMSProp and ApplyCenteredRMSProp, TensorFlow 2.21",
            notes="v starts from 1, which damps the first steps: several times 1/(1 − ρ) of them where gradients are "
            "small. The learning rate is inside the momentum buffer. The framework rounds lr, ρ, μ and ε through "
            "float32.",
        ),
        "keras": Dialect(
            rule=Rule(decay=0.9, eps=1e-7, eps_inside_sqrt=True, lr_in_momentum=True, weight_decay_mode="decoupled"),
            lr=1e-3,
            source="keras/src/optimizers/rmsprop.py, Keras 3.15.1",
            notes="Calls the decay rho. Weight decay is decoupled and applied before the update. The framework "
            "rounds lr through float32.",
        ),
        "keras_legacy": Dialect(
            rule=Rule(decay=0.9, eps=1e-7, lr_in_momentum=True),
            when={"momentum": {"eps_inside_sqrt": True}},
            lr=1e-3,
            source="tf_keras.optimizers.legacy.RMSprop, tf_keras 2.21",
            notes="Without momentum ε stands outside the root, with momentum inside. Calls the decay rho. The "
            "framework rounds lr, ρ and μ through float32.",
        ),
        "optax": Dialect(
            rule=Rule(decay=0.9, eps=1e-8, eps_inside_sqrt=True, lr_in_momentum=True),
            lr=None,
            source="optax.rmsprop, Optax 0.2.8",
            notes="The only one with Nesterov momentum and bias correction; its initial_scale is v₀. Used "
            "together with bias correction, Optax leaves v₀·ρᵗ/(1 − ρᵗ) in the average; here it is removed.",
        ),
        "timm": Dialect(
            rule=Rule(decay=0.9, eps=1e-10, eps_inside_sqrt=True, initial_square_avg=1.0, lr_in_momentum=True),
            lr=1e-2,
            source="timm/optim/rmsprop_tf.py, timm 1.0.31",
            notes="TensorFlow 1's update for PyTorch, with a learning rate of its own and L2 decay. Its "
            "corrected_weight_decay=True is weight_decay_max_lr here, set to the first learning rate. Squares complex "
            "gradients without conjugating; here |g|² is taken, part by part.",
        ),
        "sb3": Dialect(
            rule=Rule(decay=0.99, eps=1e-8, eps_inside_sqrt=True, initial_square_avg=1.0),
            lr=1e-2,
            source="stable_baselines3/common/sb2_compat/rmsprop_tf_like.py, Stable-Baselines3 2.9.2",
            notes="TensorFlow 1's placement of ε and its v₀, but torch's defaults and torch's momentum, with the "
            "learning rate outside.",
        ),
        "d2l": Dialect(
            rule=Rule(decay=0.9, eps=1e-6, eps_inside_sqrt=True),
            lr=1e-2,
            source="Zhang et al., Dive into Deep Learning, section 12.8, implementation from scratch",
            notes="Its concise version hands over to a framework, whose ε differs, in PyTorch its place too.",
        ),
        "paddle": Dialect(
            rule=Rule(decay=0.95, eps=1e-6, eps_inside_sqrt=True, lr_in_momentum=True),
            lr=None,
            source="paddle.optimizer.RMSProp, PaddlePaddle 3.3.1",
            notes="Calls the decay rho. Its documentation speaks of Nesterov momentum; the code is a heavy ball. "
            "The framework rounds ρ, μ and ε through float32.",
        ),
        "mxnet": Dialect(
            rule=Rule(decay=0.9, eps=1e-8, eps_inside_sqrt=True, lr_in_momentum=True),
            when={"centered": {"momentum": 0.9}},
            lr=1e-3,
            source="mxnet.optimizer.RMSProp, MXNet 1.9.1",
            notes="Has momentum (gamma2) only when centered, and then 0.9. Calls the decay gamma1. Adds L2 decay "
            "before it clips. MXNet 2 is another dialect: ε outside the root unless centered. The framework "
            "rounds every hyperparameter through float32.",
        ),
        "chainer": Dialect(
            rule=Rule(decay=0.99, eps=1e-8),
            lr=1e-2,
            source="chainer/optimizers/rmsprop.py, Chainer 7.8.1",
            notes="Calls the decay alpha. Has no momentum; its RMSpropGraves is the dialect graves.",
        ),
        "mlx": Dialect(
            rule=Rule(decay=0.99, eps=1e-8),
            lr=None,
            source="mlx.optimizers.RMSprop, MLX 0.32.4",
            notes="Calls the decay alpha. Has no momentum and no centered form. The framework rounds lr "
            "through float32.",
        ),
    }
)


def get_dialect(name: str) -> Dialect:
    """Return a dialect by its name.

    Args:
        name: A key of `DIALECTS`.

    Returns:
        The dialect.

    Raises:
        ValueError: If there is no such dialect.

    Examples:
        >>> get_dialect("torch").rule.decay
        0.99
    """
    if name not in DIALECTS:
        raise ValueError(f"Unknown dialect {name!r} (known: {', '.join(sorted(DIALECTS))})")
    return DIALECTS[name]


def learning_rate(dialect: str, lr: object) -> object:
    """Return the learning rate to use: the one given, else the dialect's default.

    Args:
        dialect: A key of `DIALECTS`.
        lr: What the caller gave, or None.

    Returns:
        ``lr`` as it was given, or the dialect's default.

    Raises:
        ValueError: If none was given and the dialect has no default.

    Examples:
        >>> learning_rate("keras", None)
        0.001
    """
    default = get_dialect(dialect).lr
    if lr is None and default is None:
        raise ValueError(f"dialect {dialect!r} has no default learning rate: pass one, such as 1e-3")
    return default if lr is None else lr


def _rule_of(name: str, **overrides: Unpack[RuleOptions]) -> Rule:
    return get_dialect(name).rule_with(**overrides)


register_dialects(_rule_of)
