"""The next character of real English, for a recurrent network: the kind of problem that RMSProp became known for."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmsprop.lab.problems.answers import Answers
from rmsprop.lab.problems.problem import Baseline, Data, Problem
from rmsprop.lab.problems.table.tabular import accuracy, entropy, shares

# Characters that are rarer than the 40 most frequent ones are read as one more.
_LETTERS, _OTHER = 40, "\N{REPLACEMENT CHARACTER}"
_LENGTH, _ROWS = 32, 1600
_WIDTH = 64


class CharacterNetwork(nn.Module):
    """Elman's recurrent network, written from plain operations, because `torch.vmap` can't take `torch.nn.RNN`.

    Args:
        letters: The size of the alphabet.
        width: The number of hidden units. Default 64.

    References:
        Elman, Finding structure in time, Cognitive Science 14 (1990).
    """

    def __init__(self, letters: int, width: int = _WIDTH) -> None:
        """See the class."""
        super().__init__()
        self.input = nn.Embedding(letters, width)
        self.recurrent = nn.Linear(width, width)
        self.output = nn.Linear(width, letters)

    def forward(self, text: Tensor) -> Tensor:
        """Return the logits of the next letter at each place.

        Args:
            text: Rows by length, indices of letters.

        Returns:
            Rows by length by letters.
        """
        inputs = self.input(text)
        hidden = torch.zeros_like(inputs[:, 0])
        states = []
        for place in range(text.shape[1]):
            hidden = torch.tanh(inputs[:, place] + self.recurrent(hidden))
            states.append(hidden)
        return self.output(torch.stack(states, dim=1))  # type: ignore[no-any-return]


def english() -> Problem:
    """Return the problem of guessing each next character of the help pages that come with Python.

    Returns:
        The problem: the beginning of the pages, in lower case, cut into rows of 32 characters; the last fifths validate
        and test. The pages differ a little from one version of Python to the next.

    Examples:
        >>> english().train.x.shape
        torch.Size([960, 32])
    """
    letters, rows = _rows()
    names = [*letters, _OTHER]
    train, validation, test = (Data(part[:, :-1], part[:, 1:]) for part in torch.split(rows, _sizes()))
    always = shares(train.y, names)
    return Problem(
        name="english",
        make_model=lambda: CharacterNetwork(len(names)),
        loss=_cross_entropy,
        loss_name="cross-entropy per character (nats)",
        metric=accuracy(),
        train=train,
        validation=validation,
        test=test,
        constant_loss=entropy(train.y.flatten()),
        answers=Answers(classes=tuple(names)),
        baseline=Baseline(always.name, always.output.expand(_LENGTH, len(names))),
    )


def help_pages() -> str:
    """Return the help pages that come with Python as one line, without paragraphs that stood there before.

    Returns:
        Some 350,000 characters; they differ a little from one version of Python to the next.
    """
    from pydoc_data.topics import topics

    paragraphs = [" ".join(part.split()) for name in sorted(topics) for part in topics[name].split("\n\n")]
    return " ".join(dict.fromkeys(paragraphs))  # pages repeat each other, and what is tested on is not to be trained on


def _rows() -> tuple[list[str], Tensor]:
    """Return the alphabet, and rows in which each character is an index into it or, for others, the next number."""
    text = help_pages().lower()[: _ROWS * (_LENGTH + 1)]
    common = [letter for letter, _ in Counter(text).most_common(_LETTERS)]
    letters = sorted(common)
    index = {letter: place for place, letter in enumerate(letters)}
    numbers = torch.tensor([index.get(letter, len(index)) for letter in text])
    return letters, numbers.reshape(_ROWS, _LENGTH + 1)


def _sizes() -> list[int]:
    held_out = _ROWS // 5
    return [_ROWS - 2 * held_out, held_out, held_out]


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())
