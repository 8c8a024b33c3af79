"""The documentation's page of dialects, made from `rmsprop.DIALECTS`: ``python -m docs.generate.dialects docs``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from rmsprop.dialects import DIALECTS
from rmsprop.files import write_atomically
from rmsprop.lab.dialects.calls import calls
from rmsprop.lab.dialects.formulas import formulas, number, pseudocode
from rmsprop.lab.dialects.table import COLUMNS, conditions, rows
from rmsprop.rule import Rule

PAGE, PICTURE = "dialects.md", "dialects.png"

_INTRODUCTION = """\
# Dialects

RMSProp isn't the same in all frameworks. A dialect is what one of them means by it, as a row of data,
`rmsprop.DIALECTS[name]`: a [rule](rule.md) with a default learning rate. In each front end `dialect=` names it and
gives the defaults; an explicit argument wins.

```python
import numpy as np
import rmsprop

rule = rmsprop.Rule.from_dialect("tensorflow1", momentum=0.9, eps=1e-3)
assert rule.initial_square_avg == 1.0
assert rmsprop.DIALECTS["keras"].lr == 1e-3
```

On the command line, `rmsprop dialects` prints the table below, `rmsprop explain tensorflow1 --momentum 0.9 --eps 1e-3`
writes out one rule with its numbers, its memory, its first steps and the call for each front end, and
`rmsprop diff torch keras` says how two differ and where a small run parts.
"""

_READING = """\
- **ε and the root**: √(v + ε) inside, √v + ε outside. Inside, a gradient counts as small below √ε: at ε = 1e-7 that is
  3e-4, not 1e-7.
- **v₀** is what v starts from. From 0, the first step is lr/√(1 − ρ), 3 to 10 times lr; from 1, it is about lr·g
  where g is small, and grows to lr over several windows of the average.
- **lr and buffer**: inside, b ← μ·b + lr·u and θ ← θ − b; outside, b ← μ·b + u and θ ← θ − lr·b, where u is the
  gradient over its denominator. The same while lr stays; after a change, inside still carries the old one. Where the
  framework has no momentum, the column says what this package does if you give it one.
- **decay** is ρ, the share of the old value that the average keeps; a framework may call it alpha, rho or gamma.
- **weight decay** is 0 in all of them; the column says what a value would do: l2 adds λθ to the gradient, decoupled
  takes lr·λ·θ off the parameter.
"""

_PICTURE = """\
## One problem under all of them

![Four panels of loss curves, one per group of dialects that coincide](dialects.png)

A line through eight points, learnt two points at a time in float64 from slope and offset 0, without chance. Curves that
stay within 1 % of the first loss of each other are drawn once. Everything but the settings in a panel's title is the
dialect's own; momentum 0.9 is given to all in the third panel, also where the framework has none.

- With lr and decay equal, {ALIKE} of the {ALL} are one. Those that start v from 1 begin a little slower, and the
  centered ones are faster, because gradients that agree have little variance; `graves` brings momentum of its own.
- RMSProp is meant not to care how large gradients are. At a ten-thousandth of the size only ε outside the root keeps
  that promise. Inside it, the larger ε the slower, momentum aside; and a v that starts from 1 takes more steps to come
  down than the panel shows.
- With momentum, `torch` and its like obey a lower learning rate at once, while those with lr in the buffer coast.
- At their own defaults most of the difference is the learning rate, and v₀ with the decay.
"""

_PSEUDOCODE = """\
## Each rule

Formulas and code have the dialect's default numbers filled in and leave out what is off. The code runs as it stands
once the parameters, their gradient, lr and the number of steps are given, here those of a quadratic:

```python
theta, lr, steps = np.array([1.0, -2.0]), 0.01, 100


def gradient(theta):
    return np.array([1.0, 0.1]) * theta
```

Centered code keeps the variance d instead of v: d = v − m² exactly, but nothing cancels.
"""


def page() -> str:
    """Return the page in Markdown.

    Examples:
        >>> page().splitlines()[2]
        '# Dialects'
    """
    from docs.generate.picture import PANELS, groups

    alike = str(len(groups(PANELS[0])[0].names))
    picture = _PICTURE.replace("{ALIKE}", alike).replace("{ALL}", str(len(DIALECTS)))
    table = ["| " + " | ".join(cells) + " |" for cells in (COLUMNS, ("---",) * len(COLUMNS), *map(_linked, rows()))]
    parts = ["<!-- Made by docs.generate.dialects: change that, or the table it reads. -->\n", _INTRODUCTION]
    parts += ["\n".join(table) + "\n", _READING, picture, _PSEUDOCODE, *(_section(name) for name in DIALECTS)]
    return "\n".join(parts)


def _linked(row: tuple[str, ...]) -> tuple[str, ...]:
    return f"[`{row[0]}`](#{row[0]})", *row[1:]


def _section(name: str) -> str:
    dialect = DIALECTS[name]
    lines = [f"### {name}", "", "```text", *formulas(dialect.rule), "```", ""]
    lines += ["```python", pseudocode(dialect.rule), "```", "", *_facts(name), ""]
    return "\n".join(lines)


def _facts(name: str) -> list[str]:
    dialect = DIALECTS[name]
    lr = "none" if dialect.lr is None else number(dialect.lr)
    same = [f"`{other}`" for other in DIALECTS if other != name and _semantics(other) == _semantics(name)]
    changed = [f"{heading} {said}" for heading, field in COLUMNS.items() for said in conditions(dialect, field)]
    facts = {
        "Default lr": lr,
        "But": "; ".join(changed),
        "The same rule": ", ".join(same),
        "In torch": f"`{calls(name, dialect.rule)['torch']}`",
        "Source": dialect.source,
        "Notes": dialect.notes,
    }
    return [f"- {label}: {text}" for label, text in facts.items() if text]


def _semantics(name: str) -> tuple[Rule, Mapping[str, Mapping[str, object]]]:
    return DIALECTS[name].rule, DIALECTS[name].when


def main(folder: str) -> None:
    """Write the page and its picture.

    Args:
        folder: Where to.
    """
    from docs.generate.picture import picture

    write_atomically(Path(folder, PAGE), page().encode())
    write_atomically(Path(folder, PICTURE), picture())


if __name__ == "__main__":
    main(*sys.argv[1:])
