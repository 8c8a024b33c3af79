"""The report of a diagnosis: one HTML file, and the loss as a picture."""

from __future__ import annotations

from pathlib import Path

import rmsprop
from rmsprop.files import write_atomically
from rmsprop.lab.diagnose.finding import Diagnosis
from rmsprop.lab.diagnose.pictures import pictures
from rmsprop.lab.drawing import draw_figure
from rmsprop.lab.folders import DIAGNOSIS
from rmsprop.lab.page import render

REPORT, FIGURE = DIAGNOSIS.files


def write_report(diagnosis: Diagnosis, folder: Path) -> list[Path]:
    """Write the report and the picture of the loss.

    Args:
        diagnosis: The diagnosis.
        folder: Where to; made if there is none.

    Returns:
        The two files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shown = pictures(diagnosis)
    title = f"{diagnosis.history.name}: " + "; ".join(
        f"{number} {finding.headline}" for number, finding in enumerate(diagnosis.findings, start=1)
    )
    write_atomically(folder / FIGURE, draw_figure(shown[0].paint, "png", title))
    page = render(
        "rmsprop.lab.diagnose",
        "report.html.j2",
        diagnosis=diagnosis,
        history=diagnosis.history,
        pictures=shown,
        versions={"rmsprop": rmsprop.__version__},
    )
    write_atomically(folder / REPORT, page.encode())
    return [folder / REPORT, folder / FIGURE]
