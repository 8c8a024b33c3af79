"""Each framework's RMSProp as one row of data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType

from rmsprop.rule import Rule


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """What a framework means by RMSProp.

    Args:
        rule: Its choices and default hyperparameters.
        lr: Its default learning rate, or None where it has none and the caller must choose.
        source: The paper, or the file and version, that the row was read from.
        notes: What to know before comparing it with another.

    Examples:
        >>> DIALECTS["keras"].lr
        0.001
    """

    rule: Rule
    lr: float | None
    source: str
    notes: str

    def rule_with(self, **overrides: object) -> Rule:
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
        """
        known = {field.name for field in fields(Rule)}
        if unknown := sorted(overrides.keys() - known):
            raise TypeError(f"Unknown hyperparameter {unknown[0]!r} (known: {', '.join(sorted(known))})")
        given = {name: value for name, value in overrides.items() if value is not None}
        return replace(self.rule, **given)  # type: ignore[arg-type]


DIALECTS: Mapping[str, Dialect] = MappingProxyType(
    {
        "hinton": Dialect(
            rule=Rule(decay=0.9, eps=1e-8),
            lr=None,
            source="Tieleman and Hinton, COURSERA Neural Networks for Machine Learning, lecture 6e, 2012",
            notes="The lecture divides by √v alone; ε = 1e-8 is added here, against a division by zero.",
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
            notes="v starts from 1, which damps the first 1/(1 − ρ) steps. The learning rate is inside the momentum "
            "buffer. The framework rounds lr, ρ, μ and ε through float32.",
        ),
        "keras": Dialect(
            rule=Rule(decay=0.9, eps=1e-7, eps_inside_sqrt=True, lr_in_momentum=True, weight_decay_mode="decoupled"),
            lr=1e-3,
            source="keras/src/optimizers/rmsprop.py, Keras 3.15.1",
            notes="Calls the decay rho. Weight decay is decoupled and applied before the update. The framework "
            "rounds lr through float32.",
        ),
        "optax": Dialect(
            rule=Rule(decay=0.9, eps=1e-8, eps_inside_sqrt=True, lr_in_momentum=True),
            lr=None,
            source="optax.rmsprop, Optax 0.2.8",
            notes="The only one with Nesterov momentum and bias correction; its initial_scale is v₀.",
        ),
        "d2l": Dialect(
            rule=Rule(decay=0.9, eps=1e-6, eps_inside_sqrt=True),
            lr=1e-2,
            source="Zhang et al., Dive into Deep Learning, section 12.8, implementation from scratch",
            notes="Its concise version hands over to a framework, whose ε and placement differ.",
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
        >>> get_dialect("pytorch")
        Traceback (most recent call last):
        ValueError: Unknown dialect 'pytorch' (known: d2l, hinton, keras, optax, tensorflow1, torch)
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
        raise ValueError(f"dialect {dialect!r} has no default learning rate: pass one, such as lr=1e-3")
    return default if lr is None else lr
