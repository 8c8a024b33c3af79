"""The picture of several paths on one surface: small panels on the same scale, with the same contours."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rmsprop.lab.drawing import BLUE, DARK, ORANGE, SIZE, draw_figure
from rmsprop.lab.format import short
from rmsprop.lab.optimizers import Choice
from rmsprop.lab.problems.builtin.surfaces import Surface
from rmsprop.lab.surfaces.paths import Walk, dialect_of, rule_of
from rmsprop.rule import Rule

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Contours through these shares of the window's points: their areas, so a bowl's are evenly spaced.
LEVELS = tuple((i / 12) ** 2 for i in range(2, 12))
_GRID = 301
# Dots at every step are of use as long as they stay apart.
_MOST_DOTS = 100
# Two columns have letters that are still readable at half the width of a page. More panels than this, a picture for a
# screen of its own, would stand taller than the screen.
_MOST_IN_TWO_COLUMNS = 8
# A unit of x is as long as one of y, unless panels became flatter or taller than these shares of their width.
_FLATTEST, _TALLEST = 0.45, 1.5
_LETTERS = 9.5  # points
# An average in which the oldest square still has this share of the newest one's weight is nearly a sum.
_UNFORGOTTEN = 0.6


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """What a picture or a film shows.

    Args:
        name: The surface's name.
        surface: The surface.
        walks: The paths on it.
        searched: The names of those whose learning rate was looked for.
    """

    name: str
    surface: Surface
    walks: Sequence[Walk]
    searched: frozenset[str] = frozenset()

    @property
    def window(self) -> tuple[float, float, float, float]:
        """The least and greatest x, then y, that hold the surface's window and all points that can be shown."""
        low_x, high_x, low_y, high_y = self.surface.window
        points = np.concatenate([walk.shown for walk in self.walks])
        spaces = []
        for low, high, values in ((low_x, high_x, points[:, 0]), (low_y, high_y, points[:, 1])):
            margin = 0.03 * (max(high, values.max()) - min(low, values.min()))
            spaces += [min(low, values.min() - margin), max(high, values.max() + margin)]
        return tuple(map(float, spaces))  # type: ignore[return-value]


def draw(scene: Scene, kind: str) -> bytes:
    """Draw the paths.

    Args:
        scene: What to show.
        kind: ``"png"`` or ``"svg"``.

    Returns:
        The file's content: the same for the same scene.
    """

    def whole(figure: Figure) -> None:
        paint(figure, scene)

    return draw_figure(whole, kind, size=Layout.of(scene).size)


def paint(figure: Figure, scene: Scene, *, walking: bool = False) -> list[Axes]:
    """Paint a panel per path and the settings below.

    Args:
        figure: Where to paint; of the size of the scene's `Layout`.
        scene: What to show.
        walking: Leave the paths out, for a film. Default False.

    Returns:
        The axes of the panels, in the order of the paths.
    """
    figure.set_layout_engine("none")  # the panels have places of their own
    layout = Layout.of(scene)
    ground = _Ground.of(scene.surface, scene.window)
    panels = [figure.add_axes(layout.place(index)) for index in range(len(scene.walks))]
    for index, (axes, walk) in enumerate(zip(panels, scene.walks, strict=True)):
        _paint_ground(axes, scene, ground)
        axes.set_title(walk.choice.label, fontsize=12, loc="left", pad=30, fontweight="bold")
        _write_above(axes, 17, settings_of(scene, walk))
        if not walking:
            paint_walk(axes, walk, walk.steps)
        left, lowest = index % layout.columns == 0, index + layout.columns >= len(panels)
        axes.tick_params(labelleft=left, labelbottom=lowest)
        for axis in (axes.xaxis, axes.yaxis):  # by itself, matplotlib writes a factor into the words above
            axis.set_major_formatter(lambda value, _: short(value, 4).replace("-", "−"))
        axes.set_ylabel("y" if left else "")
        axes.set_xlabel("x" if lowest else "")
    margin = 0.1 / layout.size[0], 0.08 / layout.size[1]
    figure.text(*margin, "\n".join(layout.caption), fontsize=_LETTERS, color=DARK, va="bottom", parse_math=False)
    return panels


def caption(scene: Scene, width: int) -> list[str]:
    """Return the settings in words, for below the picture.

    Args:
        scene: What is shown.
        width: The most letters in a line.

    Returns:
        The lines.
    """
    texts = [_what_is_drawn(scene), *unforgetting(scene.walks), dialects(scene.walks)]
    if scene.searched:
        texts.append("* The learning rate with the lowest end, of 16 from 0.001 to 100.")
    return [line for text in texts for line in textwrap.wrap(text, width)]


def _what_is_drawn(scene: Scene) -> str:
    first = scene.walks[0]
    formula = scene.surface.formula.replace("**2", "²").replace("**3", "³").replace("*", "·").replace("-", "−")
    x, y = first.points[0]
    steps = f"{first.steps} step{'s' * (first.steps > 1)}"
    sentences = [
        f"{scene.name}: f(x, y) = {formula}, {steps} from ({_minus(x)}, {_minus(y)}).",
        f"○\u00a0start, ■\u00a0end, ×\u00a0minimum{', a dot after each step' * _has_dots(first)}.",
    ]
    if len(scene.walks) > 1:
        sentences.append("All panels have the same contours.")
    if len({_is_rmsprop(walk) for walk in scene.walks}) > 1:
        sentences.append("Orange: RMSProp, blue: the others.")
    return " ".join(sentences)


def dialects(walks: Sequence[Walk]) -> str:
    """Say what `settings_of` leaves out of RMSProp's dialects: where ε stands, v₀ and whether they are centered.

    Args:
        walks: The optimizers' paths.

    Returns:
        A sentence for all dialects that agree on it; empty if none is RMSProp.
    """
    labels: dict[str, list[str]] = {}
    for walk in walks:
        if (rule := rule_of(walk.choice)) is not None:
            dialect = dialect_of(walk.choice.name)
            unnamed = f"the dialect {dialect}, " * (dialect not in walk.choice.name)
            labels.setdefault(unnamed + _choices(rule), []).append(walk.choice.label)
    return " ".join(f"{', '.join(named)}: {choices}." for choices, named in labels.items())


def unforgetting(walks: Sequence[Walk]) -> list[str]:
    """Say which RMSProp forgets so little of so short a walk that it is AdaGrad at another learning rate.

    From v₀ = 0, v is then nearly (1 − ρ) times AdaGrad's sum of squares.

    Args:
        walks: The optimizers' paths.

    Returns:
        A sentence for each.
    """
    return [
        f"{walk.choice.label}: with ρ {short(rule.decay, 6)} and v₀ = 0, {walk.steps} steps are nearly AdaGrad's at "
        f"{short((1.0 - rule.decay) ** -0.5, 2)} times the learning rate."
        for walk in walks
        if (rule := rule_of(walk.choice)) is not None and _sums(rule, walk.steps)
    ]


def _sums(rule: Rule, steps: int) -> bool:
    adds_up = not (rule.initial_average or rule.centered or rule.momentum or rule.depends_on_step)
    return adds_up and rule.decay < 1.0 and steps > 1 and rule.decay**steps >= _UNFORGOTTEN


def _choices(rule: Rule) -> str:
    choices = [f"ε {'inside' if rule.eps_inside_sqrt else 'outside'} the root"]
    if rule.init_from_gradient:
        choices.append("v₀ = g₁²")
    elif rule.initial_square_avg:
        choices.append(f"v₀ = {short(rule.initial_square_avg)}")
    if rule.centered:
        choices.append("centered")
    if rule.delayed:
        choices.append("delayed")
    if rule.averaged_momentum and rule.momentum:
        choices.append("averaged momentum")
    if rule.caution:
        choices.append("caution")
    return ", ".join(choices)


def settings_of(scene: Scene, walk: Walk) -> str:
    """Return an optimizer's settings in one line; a star marks a learning rate that was looked for.

    Args:
        scene: What is shown.
        walk: The optimizer's path.

    Returns:
        The settings, such as ``lr 0.4, ρ 0.9, ε 1e-6``.
    """
    star = "*" * (walk.choice.name in scene.searched)
    return ", ".join([f"lr {short(walk.choice.lr, 6)}{star}", *other_settings(walk.choice)])


def other_settings(choice: Choice) -> list[str]:
    """Return an optimizer's settings without its learning rate.

    Args:
        choice: The optimizer.

    Returns:
        The settings.

    Examples:
        >>> from rmsprop.lab.optimizers import choose
        >>> other_settings(choose("adam"))
        ['β₁ 0.9', 'β₂ 0.999', 'ε 1e-8']
    """
    signs = {"alpha": "ρ", "rho": "ρ", "eps": "ε", "momentum": "μ", "beta1": "β₁", "beta2": "β₂"}
    return [f"{signs.get(name, name)} {short(value, 6)}" for name, value in choice.options]


def outcome(walk: Walk, step: int) -> str:
    """Return where a path is after some step, in one line.

    Args:
        walk: The path.
        step: The step; the last one is the end.

    Returns:
        The point and the loss there, or when it left.
    """
    if walk.left_at is None or step < walk.left_at:
        (x, y), loss = walk.points[step], walk.losses[step]
        where = "ends at" if step == walk.steps else f"step {step}:"
        return f"{where} ({_minus(x)}, {_minus(y)}), f = {_minus(loss)}"
    x, y = walk.points[walk.left_at]
    if math.isfinite(x) and math.isfinite(y):
        return f"leaves at step {walk.left_at} to ({_minus(x, 2)}, {_minus(y, 2)})"
    return f"not finite from step {walk.left_at} on"


def _is_rmsprop(walk: Walk) -> bool:
    return walk.choice.name.startswith("rmsprop")


def _has_dots(walk: Walk) -> bool:
    return walk.steps <= _MOST_DOTS


def _minus(value: float, digits: int = 3) -> str:
    text = short(value, digits)
    return (short(value, 2) if "e" in text else text).replace("-", "−")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where the panels stand, in inches: all of one size, with room for three lines above each."""

    columns: int
    rows: int
    panel: tuple[float, float]
    caption: list[str]

    LEFT, RIGHT, ABOVE, GAP, BELOW, LINE = 0.74, 0.12, 0.72, 0.24, 0.55, 0.18
    ROOM = SIZE[0] - LEFT - RIGHT

    @classmethod
    def of(cls, scene: Scene) -> Layout:
        """Return the layout for a scene."""
        columns = _columns(len(scene.walks))
        low_x, high_x, low_y, high_y = scene.window
        shape = min(_TALLEST, max(_FLATTEST, (high_y - low_y) / (high_x - low_x)))
        panel = cls.ROOM if columns == 1 else (cls.ROOM - cls.GAP) / 2
        width = columns * panel + (columns - 1) * cls.GAP
        return cls(
            columns=columns,
            rows=math.ceil(len(scene.walks) / columns),
            panel=(panel, panel * shape),
            caption=caption(scene, round(width * 15)),
        )

    @property
    def below(self) -> float:
        """What is below the lowest panels: their axis and the caption."""
        return self.BELOW + len(self.caption) * self.LINE

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the figure."""
        width, height = self.panel
        return (
            self.LEFT + self.columns * (width + self.GAP) - self.GAP + self.RIGHT,
            self.rows * (height + self.ABOVE + self.GAP) - self.GAP + self.below,
        )

    def place(self, index: int) -> tuple[float, float, float, float]:
        """Return left, bottom, width and height of a panel as shares of the figure."""
        (all_width, all_height), (width, height) = self.size, self.panel
        row, column = divmod(index, self.columns)
        left = self.LEFT + column * (width + self.GAP)
        bottom = self.below + (self.rows - 1 - row) * (height + self.ABOVE + self.GAP)
        return left / all_width, bottom / all_height, width / all_width, height / all_height


def _columns(panels: int) -> int:
    return min(panels, 2) if panels <= _MOST_IN_TWO_COLUMNS else 4


@dataclass(frozen=True, kw_only=True, eq=False)
class _Ground:
    """The surface on a grid, and the levels of its contours."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    levels: np.ndarray
    window: tuple[float, float, float, float]

    @staticmethod
    def of(surface: Surface, window: tuple[float, float, float, float]) -> _Ground:
        def heights(low_x: float, high_x: float, low_y: float, high_y: float) -> Any:
            x, y = np.linspace(low_x, high_x, _GRID), np.linspace(low_y, high_y, _GRID)
            return x, y, np.asarray(surface.f(x[None, :], y[:, None]))

        x, y, z = heights(*window)
        return _Ground(x=x, y=y, z=z, levels=np.unique(np.quantile(z, LEVELS)), window=window)


def _paint_ground(axes: Axes, scene: Scene, ground: _Ground) -> None:
    axes.grid(visible=False)
    axes.contour(ground.x, ground.y, ground.z, levels=ground.levels, colors="#868f97", linewidths=0.6)
    for x, y in scene.surface.minima:
        axes.plot([x], [y], "x", color="black", markersize=7, markeredgewidth=1.6, zorder=2)
    axes.set_xlim(ground.window[:2])
    axes.set_ylim(ground.window[2:])


def paint_walk(axes: Axes, walk: Walk, step: int) -> list[Artist]:
    """Paint a path as far as some step, with the point it has reached in words.

    Args:
        axes: Where to paint.
        walk: The path.
        step: How many steps to show.

    Returns:
        What was painted.
    """
    colour = ORANGE if _is_rmsprop(walk) else BLUE
    points = walk.shown[: step + 1]
    dots = "." if _has_dots(walk) else None
    path = axes.plot(*points.T, color=colour, linewidth=1.3, marker=dots, markersize=4.5, zorder=3)
    start = axes.plot(
        *points[:1].T, "o", color="white", markeredgecolor=colour, markersize=7.5, markeredgewidth=1.8, zorder=4
    )
    painted = [*path, *start, _write_above(axes, 4, outcome(walk, step))]
    if walk.left_at is None or step < walk.left_at:
        painted += axes.plot(*points[-1:].T, "s", color=colour, markeredgecolor="white", markersize=7.5, zorder=5)
    return painted


def _write_above(axes: Axes, points: int, text: str) -> Artist:
    above = {"xytext": (0, points), "textcoords": "offset points", "fontsize": _fitting(axes, text)}
    return axes.annotate(text, (0, 1), xycoords="axes fraction", **above, color=DARK)  # type: ignore[arg-type]


def _fitting(axes: Axes, text: str) -> float:
    """Return the size of letters with which a line is no longer than its panel is wide."""
    from matplotlib.textpath import TextPath

    inches = axes.get_position().width * axes.get_figure(root=True).get_figwidth()  # type: ignore[union-attr]
    room = 0.95 * 72 * inches  # on a film's coarse pixels, letters are a little wider than they are in print
    return _LETTERS * min(1.0, room / TextPath((0, 0), text, size=_LETTERS).get_extents().width)
