"""Published settings as rows: what a paper or a reference implementation trained with, and where it says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from rmsprop.dialects import get_dialect
from rmsprop.rule import Rule


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """The RMSProp settings of a published result.

    Args:
        dialect: Whose RMSProp it was trained with, a key of `rmsprop.DIALECTS`.
        lr: The learning rate that the schedule starts from, or peaks at.
        settings: The fields of `Rule` in which it differs from the dialect's defaults.
        schedule: How the learning rate changes, in words.
        around: What belongs to the recipe beside the optimizer: batch size, clipping, averaging of weights.
        source: The paper, or the file and version, that the numbers were read from.

    Examples:
        >>> RECIPES["efficientnet"].rule.eps
        0.001
    """

    dialect: str
    lr: float
    settings: Mapping[str, float | bool] = field(default_factory=dict)
    schedule: str
    around: str
    source: str

    @property
    def rule(self) -> Rule:
        """The rule with all its settings."""
        return get_dialect(self.dialect).rule_with(**self.settings)


RECIPES: Mapping[str, Recipe] = MappingProxyType(
    {
        "efficientnet": Recipe(
            dialect="tensorflow1",
            lr=0.256,
            settings={"decay": 0.9, "momentum": 0.9, "eps": 1e-3},
            schedule="5 epochs of linear warm-up, then × 0.97 every 2.4 epochs (staircase)",
            around="batch 4096, L2 weight decay 1e-5, exponential average of weights 0.9999",
            source="Tan and Le, EfficientNet, arXiv 1905.11946, section 5.2; "
            "models/official/efficientnet/main.py of tensorflow/tpu",
        ),
    }
)


def get_recipe(name: str) -> Recipe:
    """Return a recipe by its name.

    Args:
        name: A key of `RECIPES`.

    Returns:
        The recipe.

    Raises:
        ValueError: If there is no such recipe.

    Examples:
        >>> get_recipe("efficientnet").dialect
        'tensorflow1'
    """
    if name not in RECIPES:
        raise ValueError(f"Unknown recipe {name!r} (known: {', '.join(sorted(RECIPES))})")
    return RECIPES[name]
