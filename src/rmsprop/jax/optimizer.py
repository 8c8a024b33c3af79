"""What one calls: `rmsprop` with the keywords of ``optax.rmsprop``, `scale_by_rmsprop` and `from_recipe`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from inspect import Parameter, signature
from typing import Any, Unpack

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rmsprop.dialects import get_dialect
from rmsprop.dialects import learning_rate as learning_rate_of
from rmsprop.hyperparameters import check_number, check_step_lr
from rmsprop.jax.transformation import transformation
from rmsprop.keywords import OPTAX
from rmsprop.options import check_options, named_options
from rmsprop.recipes import get_recipe
from rmsprop.rule import NUMBERS, OwnOptions, Rule
from rmsprop.storage import working_dtype

# Optax's name -> field of `Rule`.
_FIELDS = {keyword: field for field, keyword in OPTAX.items() if field != "lr"}
Number = float | jax.typing.ArrayLike


@named_options(OwnOptions)
def rmsprop(
    learning_rate: Number | Callable[[Any], Any] | None = None,
    decay: Number | None = None,
    eps: Number | None = None,
    initial_scale: Number | None = None,
    eps_in_sqrt: bool | None = None,
    centered: bool | None = None,
    momentum: Number | None = None,
    nesterov: bool | None = None,
    bias_correction: bool | None = None,
    *,
    dialect: str = "optax",
    eps_inside_sqrt: bool | None = None,
    initial_square_avg: Number | None = None,
    weight_decay: Number | None = None,
    **options: Unpack[OwnOptions],
) -> optax.GradientTransformationExtraArgs:
    """RMSProp in any framework's dialect: takes the place of ``optax.rmsprop``.

    In the optax dialect v ← ρ·v + (1 − ρ)·|g|² and the update is −lr·g/√(v + ε). `rmsprop.reference.update` states the
    arithmetic with every option. A number may be an array, as under ``optax.inject_hyperparams``; where it is traced,
    it is not checked.

    Args:
        learning_rate: A number of at least 0, or a schedule: a function of the number of updates made so far. Default:
            the dialect's; the optax dialect has none. A schedule, or a number set between steps, may go below 0.
        decay: The decay ρ of the moving averages, from 0 to 1. Default: the dialect's, 0.9 for optax.
        eps: ε in the denominator, at least 0. Default: the dialect's, 1e-8 for optax.
        initial_scale: Optax's name of ``initial_square_avg``.
        eps_in_sqrt: Optax's name of ``eps_inside_sqrt``.
        centered: Divide by the standard deviation of the gradient instead of its root mean square. Default: the
            dialect's, False for optax.
        momentum: μ, from 0 to 1. Default: the dialect's, 0 for optax: no buffer.
        nesterov: Nesterov momentum; without momentum it has no effect, as in Optax. Default: the dialect's, False for
            optax.
        bias_correction: Divide the averages by 1 − ρᵗ; their state then holds the corrected averages. Default: the
            dialect's, False for optax.
        dialect: Whose RMSProp: a key of `rmsprop.DIALECTS`. It gives the defaults; an explicit argument wins.
            Default ``"optax"``.
        eps_inside_sqrt: Divide by √(v + ε) instead of √v + ε. Default: the dialect's, True for optax.
        initial_square_avg: What v starts from, at least 0. Default: the dialect's, 0 for optax.
        weight_decay: λ, at least 0; ``update`` then needs the parameters. Default: the dialect's, 0 for optax.
        lr_in_momentum: The momentum buffer collects lr·u instead of u. Default: the dialect's, True for optax.
        averaged_momentum: The momentum buffer averages u instead of adding it up. Default: the dialect's.
        caution: Take no step with another sign than its gradient, and longer ones instead in the rest of the array
            (needs ``momentum``). Default: the dialect's.
        init_from_gradient: v starts from the square of the first gradient. Default: the dialect's.
        delayed: Divide by v as it was before this gradient, and limit the quotient to (t − 1)^¼, as ADOPT does.
            Default: the dialect's.
        weight_decay_mode: ``"l2"`` (added to the gradient), ``"decoupled"`` (subtracted from the parameter, times
            lr) or ``"cautious"`` (that, but not where the update moves away from 0). Default: the dialect's.
        weight_decay_max_lr: The schedule's largest learning rate, by which decay that isn't L2 is corrected: times
            lr/lr_max. 0 corrects nothing. Default: the dialect's.

    Returns:
        The transformation. Its state is an `RMSpropState`.

    Raises:
        TypeError: If an argument is of the wrong type, or given under both of its names.
        ValueError: If one is out of range, or ``learning_rate`` is left out for a dialect without a default.

    Examples:
        >>> optimizer = rmsprop(0.1, decay=0.75, eps=0.0)
        >>> params = {"w": jnp.ones(2)}
        >>> state = optimizer.init(params)
        >>> updates, state = optimizer.update({"w": jnp.full(2, 2.0)}, state)
        >>> optax.apply_updates(params, updates)
        {'w': Array([0.8, 0.8], dtype=float32)}

    Source: Tieleman and Hinton, "Lecture 6.5: rmsprop", COURSERA: Neural Networks for Machine Learning, 2012;
    centered: Graves, arXiv 1308.0850, equations 38 to 45.
    """
    check_options(options, rmsprop)
    named = {
        "decay": decay,
        "eps": eps,
        "initial_scale": initial_scale,
        "initial_square_avg": initial_square_avg,
        "eps_in_sqrt": eps_in_sqrt,
        "eps_inside_sqrt": eps_inside_sqrt,
        "centered": centered,
        "momentum": momentum,
        "bias_correction": bias_correction,
        "weight_decay": weight_decay,
    }
    given = _fields({**named, **options})
    checked = {field: _number(field, value) if field in NUMBERS else value for field, value in given.items()}
    rule = get_dialect(dialect).rule_with(**checked)
    if nesterov is not None:
        without_effect = isinstance(nesterov, bool) and not rule.has_momentum
        rule = replace(rule, nesterov=False if without_effect else nesterov)
    lr = learning_rate_of(dialect, learning_rate)
    return transformation(rule, lr if callable(lr) else _number("lr", lr), -1.0)


def scale_by_rmsprop(rule: Rule) -> optax.GradientTransformationExtraArgs:
    """Return the step of a rule before the learning rate: what ``optax.scale_by_rms`` is to ``optax.rmsprop``.

    Args:
        rule: What to compute. Its momentum must not contain the learning rate.

    Returns:
        The transformation from gradients to directions; `optax.scale_by_learning_rate` makes updates of them.

    Raises:
        TypeError: If ``rule`` is not a `Rule`.
        ValueError: If the rule has momentum with ``lr_in_momentum``, or corrects weight decay by the learning rate.

    Examples:
        >>> optimizer = optax.chain(scale_by_rmsprop(Rule(decay=0.75)), optax.scale_by_learning_rate(0.1))
        >>> optimizer.update(jnp.full(1, 2.0), optimizer.init(jnp.ones(1)))[0]
        Array([-0.2], dtype=float32)
    """
    if not isinstance(rule, Rule):
        raise TypeError(f"scale_by_rmsprop got {rule!r}, but takes a Rule, such as Rule.from_dialect('optax')")
    if rule.has_momentum and rule.lr_in_momentum:
        raise ValueError(
            "scale_by_rmsprop got a rule with lr_in_momentum=True, but a learning rate applied afterwards stands "
            "outside the momentum buffer: use rmsprop(learning_rate, ...), or a rule with lr_in_momentum=False"
        )
    if rule.corrects_decay:
        raise ValueError(
            f"scale_by_rmsprop got a rule with weight_decay_max_lr={rule.weight_decay_max_lr}, which corrects weight "
            "decay by a learning rate that is only applied afterwards: use rmsprop(learning_rate, ...)"
        )
    return transformation(rule, 1.0, 1.0)


def from_recipe(name: str, **overrides: Any) -> optax.GradientTransformationExtraArgs:
    """Return a transformation with the settings of a published result.

    Args:
        name: A key of `rmsprop.RECIPES`.
        **overrides: Arguments of `rmsprop`; they win. None stands for the recipe's choice.

    Returns:
        The transformation, with the learning rate that the recipe's schedule starts from or peaks at. It doesn't clip:
        where the recipe names a ``max_grad_norm`` or ``max_grad_value``, ``optax.chain`` it after
        ``optax.clip_by_global_norm`` or ``optax.clip``.

    Raises:
        TypeError: If an override is unknown or of the wrong type.
        ValueError: If there is no such recipe, or a value is out of range.

    Examples:
        >>> optimizer = from_recipe("efficientnet", learning_rate=0.016)
        >>> optimizer.init(jnp.zeros(1)).square_avg
        Array([1.], dtype=float32)
    """
    return rmsprop(**get_recipe(name).arguments({"lr": "learning_rate"}, _fields(overrides)))


# For programs that pass arguments by the signature, as optax.inject_hyperparams does.
_OVERRIDES = [
    each.replace(kind=Parameter.KEYWORD_ONLY, default=None) for each in signature(rmsprop).parameters.values()
]
from_recipe.__signature__ = signature(from_recipe).replace(  # type: ignore[attr-defined]
    parameters=[signature(from_recipe).parameters["name"], *_OVERRIDES]
)


def _fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that were given, under the names of `Rule`'s fields."""
    explicit = {name: value for name, value in given.items() if value is not None}
    for theirs, ours in _FIELDS.items():
        if theirs in explicit and ours in explicit:
            raise TypeError(f"{theirs} and {ours} are two names of one choice: give one of them")
    return {_FIELDS.get(name, name): value for name, value in explicit.items()}


def _number(field: str, value: Any) -> Any:
    """Return a hyperparameter, checked where its value is known: a float, or JAX's scalar of at least 32 bits."""
    if not isinstance(value, (jax.Array, np.ndarray)):
        return check_number(field, value)
    if value.size != 1:
        name = "learning_rate" if field == "lr" else field
        raise ValueError(f"{name} is an array of shape {value.shape}, but a hyperparameter is one number")
    if not isinstance(value, jax.core.Tracer):
        is_of_step = field == "lr" and isinstance(value, jax.Array)  # from optax.inject_hyperparams, at every step
        number = check_step_lr(value.item()) if is_of_step else check_number(field, value.item())
        if isinstance(value, np.ndarray):
            return number
    return jnp.asarray(value, working_dtype(value.dtype.name)).reshape(())
