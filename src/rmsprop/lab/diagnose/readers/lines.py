"""What programs print while they train: lines of names and numbers, each as its author liked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from rmsprop.lab.diagnose.readers.log import Log
from rmsprop.lab.diagnose.readers.names import EPOCHS, HELD_OUT, STEPS, TRAINED, is_loss, last_word, words

# A word or two, what stands between, a number: loss=0.5, 'loss': '0.5', train loss 0.5, Epoch: [3], training's l2: 0.5.
_WORD = r"[A-Za-z_][\w/.-]*"
_NUMBER = r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|nan|NaN|inf|Infinity)"
_PAIR = re.compile(rf"(?<![\w/.])({_WORD})(?:'s)?(?: ({_WORD}))?['\"]? *[:=]? *[\[('\"]? *({_NUMBER})(?![A-Za-z_]*\d)")
_COLOURS = re.compile(r"\x1b\[[\d;]*m")
_FEWEST = 2


def parse(text: str, where: str, name: str) -> Log | None:
    r"""Read what a program printed.

    Args:
        text: The text.
        where: What it is, for an error.
        name: What to call the run.

    Returns:
        The log: a row for each line that names a loss or a time; None if no two lines name a loss.

    Examples:
        >>> log = parse("iter 0: loss 2.5, time 3ms\nsaved\niter 10: loss 2.25, time 3ms", "out.log", "out")
        >>> log.columns["iter"], log.columns["loss"]
        (['0', '10'], ['2.5', '2.25'])
    """
    lines = _COLOURS.sub("", text).splitlines()
    if not lines or _is_json(next(filter(str.strip, lines), "")):
        return None
    found = [(number, dict(reversed(list(_pairs(line))))) for number, line in enumerate(lines, start=1)]
    rows = [(number, row) for number, row in found if any(is_loss(each) or _is_time(each) for each in row)]
    if sum(any(map(is_loss, row)) for _, row in rows) < _FEWEST:
        return None
    names = dict.fromkeys(each for _, row in rows for each in reversed(row))
    note = f"names and numbers are read from {len(rows)} of {len(lines)} lines of text"
    return Log(
        where=where,
        name=name,
        source="lines of text",
        columns={each: [row.get(each) for _, row in rows] for each in names},
        rows=[number for number, _ in rows],
        notes=(note,),
    )


def _is_json(line: str) -> bool:
    """Tell whether a line is an object, of lines of which one may be damaged: that is another's to say."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _pairs(line: str) -> Iterator[tuple[str, str]]:
    """Return the names in a line with their numbers; a loss after "Test set:" is one of the test set."""
    place = ""
    for n, pair in enumerate(_PAIR.finditer(line)):
        if n == 0:
            place = next(iter(sorted(words(line[: pair.start()]) & HELD_OUT)), "")
        named = [word.rstrip(".-") for word in pair.group(1, 2) if word]
        if _is_time(named[-1]):
            yield named[-1], pair[3]
            continue
        own = " ".join(named)
        yield own if not place or words(own) & (HELD_OUT | TRAINED) else f"{place} {own}", pair[3]


def _is_time(name: str) -> bool:
    return last_word(name) in (*STEPS, *EPOCHS)
