"""The call that gives a rule in each front end, without the fields that have their default anyway."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

from rmsprop.dialects import Dialect, get_dialect
from rmsprop.keywords import KERAS, OPTAX, TORCH
from rmsprop.lab.dialects.formulas import number
from rmsprop.rule import Rule


@dataclass(frozen=True, kw_only=True, slots=True)
class FrontEnd:
    """How a front end is called.

    Args:
        function: What makes an optimizer.
        from_recipe: What makes the optimizer of a recipe.
        dialect: Its default dialect.
        first: What it is given first: the parameters, or nothing.
        names: ``"lr"`` or field of `Rule` -> the framework's own keyword, where that is another.
    """

    function: str
    from_recipe: str
    dialect: str
    first: str = ""
    names: Mapping[str, str] = field(default_factory=dict)


FRONT_ENDS: Mapping[str, FrontEnd] = {
    "torch": FrontEnd(
        function="rmsprop.torch.RMSprop",
        from_recipe="rmsprop.torch.RMSprop.from_recipe",
        dialect="torch",
        first="params",
        names=TORCH,
    ),
    "numpy": FrontEnd(
        function="rmsprop.numpy.RMSprop",
        from_recipe="rmsprop.numpy.RMSprop.from_recipe",
        dialect="torch",
        first="arrays",
    ),
    "jax": FrontEnd(
        function="rmsprop.jax.rmsprop",
        from_recipe="rmsprop.jax.from_recipe",
        dialect="optax",
        names=OPTAX,
    ),
    "keras": FrontEnd(
        function="rmsprop.keras.RMSprop",
        from_recipe="rmsprop.keras.RMSprop.from_recipe",
        dialect="keras",
        names=KERAS,
    ),
}


def calls(dialect: str, rule: Rule, lr: float | None = None) -> dict[str, str]:
    """Return a line of Python per front end that makes exactly this rule.

    Args:
        dialect: A key of `rmsprop.DIALECTS`, whose defaults the rule starts from.
        rule: The rule.
        lr: The learning rate, which then stands in the line. Default: the dialect's, which is left out; where it has
            none, the line says ``lr``.

    Returns:
        Front end -> the line. It speaks of ``params`` or ``arrays``.

    Examples:
        >>> calls("tensorflow1", Rule.from_dialect("tensorflow1", momentum=0.9), lr=0.1)["torch"]
        'rmsprop.torch.RMSprop(params, lr=0.1, dialect="tensorflow1", momentum=0.9)'
    """
    row = get_dialect(dialect)
    rate = {} if lr is None else {"lr": number(lr)}
    if lr is None and row.lr is None:
        rate = {"lr": "lr"}
    given = {name: _literal(value) for name, value in overrides(row, rule).items()}
    return {name: _call(end, dialect, rate, given) for name, end in FRONT_ENDS.items()}


def recipe_calls(recipe: str) -> dict[str, str]:
    """Return a line of Python per front end that makes the optimizer of a recipe.

    Args:
        recipe: A key of `rmsprop.RECIPES`.

    Returns:
        Front end -> the line.

    Examples:
        >>> recipe_calls("efficientnet")["torch"]
        'rmsprop.torch.RMSprop.from_recipe(params, "efficientnet")'
    """
    return {name: _written(end.from_recipe, end, [_literal(recipe)]) for name, end in FRONT_ENDS.items()}


def overrides(dialect: Dialect, rule: Rule) -> dict[str, object]:
    """Return the choices that lead from a dialect's defaults to a rule, and no more of them than it takes.

    Args:
        dialect: The dialect.
        rule: The rule.

    Returns:
        Field -> value, so that ``dialect.rule_with(**overrides)`` is the rule.

    Examples:
        >>> overrides(get_dialect("keras_legacy"), Rule.from_dialect("keras_legacy", momentum=0.9))
        {'momentum': 0.9}
    """
    given: dict[str, object] = {item.name: getattr(rule, item.name) for item in fields(Rule)}
    for name in list(given):
        fewer = {key: value for key, value in given.items() if key != name}
        if dialect.defaults(fewer)[name] == given[name]:
            given = fewer
    return given


def _call(end: FrontEnd, dialect: str, rate: Mapping[str, str], given: Mapping[str, str]) -> str:
    whose = {} if dialect == end.dialect else {"dialect": _literal(dialect)}
    arguments = [f"{end.names.get(name, name)}={value}" for name, value in {**rate, **whose, **given}.items()]
    return _written(end.function, end, arguments)


def _written(function: str, end: FrontEnd, arguments: list[str]) -> str:
    return f"{function}({', '.join([*([end.first] if end.first else []), *arguments])})"


def _literal(value: object) -> str:
    if isinstance(value, float):
        return number(value)
    return f'"{value}"' if isinstance(value, str) else repr(value)
