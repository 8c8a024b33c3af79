"""The documentation's page of a survey's answers: ``python -m docs.generate.question docs``.

It is made of two of the files that ``rmsprop compare all`` leaves, as committed in the newest
``benchmarks/results/*-compare-all``: the table of runs, and the facts beside it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rmsprop.files import write_atomically
from rmsprop.lab.compare.survey import files, report

PAGE = "adam-sgd-rmsprop.md"
RESULTS = Path(__file__).parent.parent.parent / "benchmarks" / "results"

_INTRODUCTION = """\
<!-- Made by docs.generate.question from benchmarks/results/{FOLDER}. -->

# Adam, SGD, RMSProp, SWA or AdaTune?

One command asks it of several problems at once, under the protocol of [comparing optimizers](compare.md):

```sh
rmsprop compare all --jobs 2
```

SWA is [RMSProp with averaged weights](averaging.md), [schedule-free](schedule-free.md) averages from the first step on,
and AdaTune is [learning rates from gradients](learning-rates-from-gradients.md): hypergradient descent (HD) and MARTHE.
The learning rate is constant for everyone else. Below is what it found, word for word; every run is in `all-runs.csv`
in `benchmarks/results/{FOLDER}`, from which this page is computed. The problems:

{PROBLEMS}

"""


def data() -> Path:
    """Return the folder of the newest survey."""
    return max(RESULTS.glob("*-compare-all"))


def page(folder: Path) -> str:
    """Return the page in Markdown.

    Args:
        folder: What holds the facts and the runs of a survey.
    """
    facts, runs = ((folder / name).read_text(encoding="utf-8") for name in (report.FACTS, report.RUNS))
    found = files.read(facts, runs)
    introduction = _INTRODUCTION.replace("{FOLDER}", folder.name)
    about = "\n".join(f"- `{problem.problem}`: {problem.about}" for problem in found)
    return introduction.replace("{PROBLEMS}", about) + report.markdown(found)


def main(folder: Path) -> None:
    """Write the page.

    Args:
        folder: Where to.
    """
    write_atomically(folder / PAGE, page(data()).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
