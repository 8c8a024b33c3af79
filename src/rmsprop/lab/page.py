"""What all reports share: figures in the page, and one look. A report is one HTML file that loads nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from rmsprop.lab.drawing import SIZE, draw_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A figure of a report.

    Args:
        name: A word for it, unique in the report.
        title: What it shows, as a heading.
        caption: What is drawn and with which settings.
        paint: Paints it; `rmsprop.lab.drawing.single` makes this from a painter of axes.
        size: Width and height in inches. Default 6.4 by 3.8.
    """

    name: str
    title: str
    caption: str
    paint: Callable[[Figure], None]
    size: tuple[float, float] = SIZE

    def svg(self) -> str:
        """Return it as an SVG element whose ids belong to it alone."""
        text = draw_figure(self.paint, "svg", size=self.size, letters="text").decode()
        text = text[text.index("<svg") :]
        text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{self.name}-", text)
        named = f'<svg role="img" aria-labelledby="{self.name}-title" aria-describedby="{self.name}-desc" '
        told = f'<title id="{self.name}-title">{escape(self.title)}</title>'
        told += f'<desc id="{self.name}-desc">{escape(self.caption)}</desc>'
        return text.replace("<svg ", named, 1).replace(">", f">{told}", 1)


def render(package: str, template: str, **content: Any) -> str:
    """Fill in a report's template.

    Args:
        package: The package that holds it, such as ``"rmsprop.lab.train"``.
        template: Its file name. It may extend ``page.html.j2``, which has the look.
        **content: What it refers to; a name that isn't given is an error.

    Returns:
        The page.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    loader = ChoiceLoader([PackageLoader(package, ""), PackageLoader("rmsprop.lab", "")])
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=loader
    )
    return environment.get_template(template).render(**content)
