"""The documentation's page of clients, from what their examples measured."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

from examples.measuring import Measured
from examples.running import FOLDER

_INTRODUCTION = """\
# In other programs

What trains with `torch.optim.RMSprop`, `keras.optimizers.RMSprop` or `optax.rmsprop` trains with this package's
optimizer in the same place. Each row is a program in `examples/`, which downloads nothing: the client as it is
published, trained once with this optimizer, once with the framework's own (timm's and Stable-Baselines3's where those
have one), and once more from a checkpoint of the first run. `python -m examples.running in_lightning` runs one.

"""
_HEAD = """\
| client | installed | example | loss, first and last | difference | resumed | path | step | theirs |
| --- | --- | --- | --- | ---: | --- | --- | ---: | ---: |
"""
_READING = """
- **Difference**: the largest between the losses of both runs, in parts of the largest loss. Both round, in another
  order.
- **Resumed**: how many steps (for Keras, epochs) the run made that went on from a checkpoint, and whether their losses
  have the bits of the run that was not stopped.
- **Path**: what `optimizer.paths()` says of the parameters; for Keras, that no warning said otherwise. JAX has no
  kernel of this package's: XLA compiles the update.
- **Step**: microseconds of the optimizer's own step, the shortest of 30 on one thread (XLA has its own), and how many
  times as long the framework's own takes, by turns. The models are tiny, so that this is what a call costs;
  [the benchmarks](benchmarks.md) have large ones.

"""


def page(log: Mapping[str, Any]) -> str:
    """Return the page in Markdown.

    Args:
        log: ``"environment"``, and what was measured under ``"examples"``, by the examples' names.
    """
    found = {name: Measured(**fields) for name, fields in log["examples"].items()}
    rows = "".join(_row(name, measured) for name, measured in found.items())
    about = log["environment"]
    stated = f"Measured on {about['date']}, {about['cpu']}, torch {about['torch']}, load {about['load before']}"
    told = f"{stated}.\n`make clients` runs them all and rewrites this page.\n"
    return _INTRODUCTION + _HEAD + rows + _READING + told + "".join(map(_section, found))


def _row(name: str, measured: Measured) -> str:
    first, last = measured.losses[0], measured.losses[-1]
    kept = "differs" if not measured.same else f"{measured.resumed} steps, same bits" if measured.resumed else "–"
    cells = (
        _docstring(name).partition(":")[0],
        f"{measured.client} {measured.version}",
        f"[`{name}`](#{name})",
        f"{first:.3g} → {last:.3g}",
        f"{measured.difference:.1g}" if measured.difference else "0",
        kept,
        ", ".join(measured.paths),
        f"{1e6 * measured.seconds:.0f} µs",
        f"{measured.their_seconds / measured.seconds:.1f}×",
    )
    return f"| {' | '.join(cells)} |\n"


def _section(name: str) -> str:
    return f'\n## {name}\n\n{_docstring(name)}\n\n``` {{ .py }}\n--8<-- "examples/{name}.py"\n```\n'


def _docstring(name: str) -> str:
    return ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))) or ""
