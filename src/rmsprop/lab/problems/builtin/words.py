"""Words of real English as vectors, learnt by negative sampling: a few words are in most of the rows."""

from __future__ import annotations

import math
import re
from collections import Counter

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmsprop.lab.problems.builtin.text import help_pages
from rmsprop.lab.problems.problem import Baseline, Data, Problem
from rmsprop.lab.problems.table.tabular import accuracy

# Words that occur less often are left out, as in word2vec.
_LEAST, _NEGATIVES, _WIDTH = 3, 5, 16
_ROWS = 45_000
# Others are drawn in proportion to their count to this power.
_FLATTENED = 0.75


class SkipGram(nn.Module):
    """The logits that words follow a word: products of its vector with theirs, less the logarithm of the number drawn.

    Without that, words that have nothing to do with each other would need a product of −log 5.

    Args:
        words: The size of the vocabulary.
        width: The length of a vector. Default 16.

    References:
        - Mikolov, Sutskever, Chen, Corrado and Dean, Distributed representations of words and phrases and their
          compositionality, arXiv 1310.4546, 2013.
        - Levy and Goldberg, Neural word embedding as implicit matrix factorization, NeurIPS 27, 2014: the shift.
    """

    def __init__(self, words: int, width: int = _WIDTH) -> None:
        """See the class."""
        super().__init__()
        self.words, self.followers = nn.Embedding(words, width), nn.Embedding(words, width)
        nn.init.uniform_(self.words.weight, -0.5 / width, 0.5 / width)
        nn.init.zeros_(self.followers.weight)  # as in word2vec's program

    def forward(self, rows: Tensor) -> Tensor:
        """Return the logits.

        Args:
            rows: Rows by one and more: a word, and those that may follow it.

        Returns:
            Rows by words that may follow it.
        """
        word, others = self.words(rows[:, 0]), self.followers(rows[:, 1:])
        return (others * word[:, None]).sum(dim=-1) - math.log(_NEGATIVES)  # type: ignore[no-any-return]


def words() -> Problem:
    """Return the problem of telling the word that follows another in the help pages that come with Python.

    Returns:
        The problem: each word with the next one, which stands anywhere among five that were drawn by chance, once for
        all. The last fifths of the pages validate and test. Ids are ranks: 0 is the most frequent word. The pages
        differ a little from one version of Python to the next.

    Examples:
        >>> words().train.x.shape
        torch.Size([27000, 7])
    """
    text, count = _text()
    x, y = _rows(text, count)
    sizes = [_ROWS - 2 * (_ROWS // 5), _ROWS // 5, _ROWS // 5]
    train, validation, test = map(Data, torch.split(x, sizes), torch.split(y, sizes))
    return Problem(
        name="words",
        make_model=lambda: SkipGram(count),
        loss=_loss,
        loss_name="negative-sampling loss (nats)",
        metric=accuracy(),
        train=train,
        validation=validation,
        test=test,
        constant_loss=math.log(1 + _NEGATIVES) + _NEGATIVES * math.log1p(1 / _NEGATIVES),  # a share of 1 in 6
        baseline=Baseline("always 1 in 6", torch.full((1 + _NEGATIVES,), -math.log(_NEGATIVES))),
    )


def _text() -> tuple[Tensor, int]:
    """Return the beginning of the pages as ranks of words, and how many words there are."""
    found = re.findall(r"[a-z]+", help_pages().lower())
    ranked = [word for word, occurs in Counter(found).most_common() if occurs >= _LEAST]
    rank = {word: place for place, word in enumerate(ranked)}
    return torch.tensor([rank[word] for word in found if word in rank][: _ROWS + 1]), len(ranked)


def _rows(text: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return rows of a word and the next one among words of chance, and the place that it has there."""
    random = torch.Generator().manual_seed(0)
    chances = text.bincount(minlength=count).double() ** _FLATTENED
    others = torch.multinomial(chances, _ROWS * (1 + _NEGATIVES), replacement=True, generator=random)
    others = others.view(_ROWS, 1 + _NEGATIVES)
    place = torch.randint(1 + _NEGATIVES, (_ROWS,), generator=random)
    others[torch.arange(_ROWS), place] = text[1:]
    return torch.cat([text[:-1, None], others], dim=1), place


def _loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean over rows of the log-losses of all words of a row."""
    follows = (targets[:, None] == torch.arange(1 + _NEGATIVES)).to(outputs.dtype)  # vmap can't take one_hot
    return functional.binary_cross_entropy_with_logits(outputs, follows) * (1 + _NEGATIVES)
