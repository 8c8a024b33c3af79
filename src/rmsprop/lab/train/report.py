"""The report of a run: one HTML file with everything in it, safe to mail."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from rmsprop.files import write_atomically
from rmsprop.horizon import half_life, mass_window
from rmsprop.lab.train import figures
from rmsprop.lab.train.settings import option, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from rmsprop.lab.train.runs import Result


@dataclass(frozen=True)
class Picture:
    """A figure of the report.

    Args:
        name: A word for it, unique in the report.
        title: What it shows, as a heading.
        caption: What is drawn and with which settings.
        paint: Paints it on axes.
    """

    name: str
    title: str
    caption: str
    paint: Callable[[Axes], None]

    def svg(self) -> str:
        """Return it as an SVG element whose ids belong to it alone."""
        text = figures.draw(self.paint, "svg").decode()
        text = text[text.index("<svg") :]
        text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{self.name}-", text)
        return text.replace("<svg ", f'<svg role="img" aria-label="{self.title}" ', 1)


def write_report(result: Result, figure: Path, report: Path) -> None:
    """Write the loss curve as a picture, and the report.

    Args:
        result: The run.
        figure: The PNG file.
        report: The HTML file.
    """
    pictures = _pictures(result)
    write_atomically(figure, figures.draw(pictures[0].paint, "png", f"{result.problem.name}: {_summary(result)}"))
    write_atomically(report, _html(result, pictures).encode())


def _pictures(result: Result) -> list[Picture]:
    settings, record, metric = result.settings, result.record, result.problem.metric
    rows = f"{len(result.problem.train)} training and {len(result.problem.validation)} validation rows"
    pictures = [
        Picture(
            "loss",
            "Loss",
            f"Mean loss after each epoch on {rows}; epoch 0 is before the first step. {_summary(result)}",
            partial(figures.loss_curve, record, result.problem.loss_name),
        )
    ]
    if record.epochs:
        pictures += [
            Picture(
                "metric",
                metric.name.capitalize() if metric.name != "rmse" else "Root mean square error",
                f"After each epoch, on {rows}; {'higher' if metric.higher_is_better else 'lower'} is better.",
                partial(figures.metric_curve, record, metric),
            ),
            Picture(
                "lr",
                "Learning rate",
                f"That of each epoch's last step: {_schedule(result)}. RMSProp doesn't lower its own step.",
                partial(figures.learning_rate_curve, record.epochs),
            ),
            Picture(
                "step",
                "Effective step",
                "How far a parameter moves per unit of its gradient: the learning rate over √v with its ε, after each "
                "epoch. Line: median over the layer's parameters; band: 10 % to 90 % quantile.",
                partial(figures.effective_step_curves, record.epochs),
            ),
        ]
    if 0.0 < settings.decay < 1.0:
        pictures.append(
            Picture("window", "Decay window", _window(result), partial(figures.decay_window, settings.decay))
        )
    return pictures


def _summary(result: Result) -> str:
    s = result.settings
    return f"RMSProp ({s.dialect}), lr {show(s.lr)}, decay {show(s.decay)}, batch size {s.batch_size}, seed {s.seed}."


def _schedule(result: Result) -> str:
    s = result.settings
    warmup = f" after {s.warmup:g} epochs of warm-up" if s.warmup else ""
    return f"{s.schedule} schedule{warmup}, at most {show(s.lr)}"


def _window(result: Result) -> str:
    decay, per_epoch = result.settings.decay, result.record.steps_per_epoch
    epochs = float(f"{mass_window(decay) / per_epoch:.2g}")
    return (
        f"At decay {show(decay)} a squared gradient has lost half its weight in v after {half_life(decay):.3g} steps, "
        f"and the last {mass_window(decay):.3g} steps hold 95 %: "
        f"{epochs:g} epochs of {per_epoch} steps."
    )


def _html(result: Result, pictures: list[Picture]) -> str:
    from jinja2 import Environment, StrictUndefined

    template = files("rmsprop.lab.train").joinpath("report.html.j2").read_text(encoding="utf-8")
    settings = {name: value for name, value in result.settings.as_dict().items() if name != "problem"}
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(
        result=result,
        dataset=result.problem.dataset,
        metric=result.problem.metric,
        pictures=pictures,
        settings={option(name): show(value) for name, value in settings.items() if value not in (None, ())},
    )
