"""Stars that users give to items, made by chance: popular ids in most of the rows, and many ids in a few each."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmsprop.lab.problems.problem import Baseline, Data, Metric, Problem
from rmsprop.lab.problems.table.tabular import MEAN

USERS, ITEMS = 500, 1000
_ROWS, _FACTORS = 15_000, 4
# The id of rank r is drawn in proportion to r to the power of minus this: 1 is Zipf's law.
_SKEW_OF_USERS, _SKEW_OF_ITEMS = 0.6, 1.0
# Standard deviations, in stars: of what users and items add, of what they have in common, and of chance.
_OF_USERS, _OF_ITEMS, _IN_COMMON, _NOISE, _MEAN = 0.4, 0.5, 0.6, 0.6, 3.5
# The weight of the squared factors and biases of a row's user and item.
_PENALTY = 0.05


class Factors(nn.Module):
    """A rating as a user's and an item's bias and the product of their factors, with the penalty of the textbook.

    Args:
        users: How many users there are.
        items: How many items.
        width: The number of factors. Default 4.

    References:
        Koren, Bell and Volinsky, Matrix factorization techniques for recommender systems, Computer 42 (2009).
    """

    def __init__(self, users: int, items: int, width: int = _FACTORS) -> None:
        """See the class."""
        super().__init__()
        self.users, self.items = nn.Embedding(users, width + 1), nn.Embedding(items, width + 1)  # the bias is the last
        for table in (self.users, self.items):
            nn.init.normal_(table.weight, std=0.1)
            nn.init.zeros_(table.weight[:, -1])

    def forward(self, pairs: Tensor) -> Tensor:
        """Return ratings, less the mean, and squares.

        Args:
            pairs: Rows by two: a user and an item.

        Returns:
            Rows by two: the rating, and the sum of what belongs to the user and to the item, squared.
        """
        user, item = self.users(pairs[:, 0]), self.items(pairs[:, 1])
        rating = (user[:, :-1] * item[:, :-1]).sum(dim=-1) + user[:, -1] + item[:, -1]
        return torch.stack([rating, user.square().sum(dim=-1) + item.square().sum(dim=-1)], dim=1)


def ratings() -> Problem:
    """Return the problem of guessing how many stars, from 1 to 5, a user gives to an item.

    Returns:
        The problem. Ids are ranks: 0 is the most popular. A fifth of the rows validates, and a fifth tests. The loss
        has a penalty of the embeddings that a row looks up, and not of all, so that gradients stay sparse.

    Examples:
        >>> ratings().train.x.shape
        torch.Size([9000, 2])
    """
    pairs, stars = _rows()
    held_out = _ROWS // 5
    ends = (0, _ROWS - 2 * held_out, _ROWS - held_out, _ROWS)
    mean = stars[: ends[1]].mean()
    train, validation, test = (Data(pairs[low:high], stars[low:high] - mean) for low, high in pairwise(ends))
    return Problem(
        name="ratings",
        make_model=lambda: Factors(USERS, ITEMS),
        loss=_loss,
        loss_name="squared error with penalty (stars²)",
        metric=Metric("rmse", "stars", higher_is_better=False, of=_rmse),
        train=train,
        validation=validation,
        test=test,
        constant_loss=train.y.var(correction=0).item(),
        baseline=Baseline(MEAN, torch.zeros(2)),
    )


def _loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.mse_loss(outputs[:, 0], targets) + _PENALTY * outputs[:, 1].mean()


def _rmse(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.mse_loss(outputs[:, 0].double(), targets.double()).sqrt()


def _rows() -> tuple[Tensor, Tensor]:
    """Return pairs of user and item, none of them twice, and their stars, in an order of chance."""
    random = torch.Generator().manual_seed(0)
    pairs = _pairs(random)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    users, items = normal(USERS, _FACTORS)[pairs[:, 0]], normal(ITEMS, _FACTORS)[pairs[:, 1]]
    alone = _OF_USERS * normal(USERS)[pairs[:, 0]] + _OF_ITEMS * normal(ITEMS)[pairs[:, 1]]
    in_common = _IN_COMMON / _FACTORS**0.5 * (users * items).sum(dim=-1)
    stars = _MEAN + alone + in_common + _NOISE * normal(_ROWS)
    return pairs, stars.round().clamp(1.0, 5.0)


def _pairs(random: torch.Generator) -> Tensor:
    """Return the first pairs that are drawn, each once."""
    drawn = 3 * _ROWS  # of which more than half are pairs that were drawn before
    users, items = (
        torch.multinomial(torch.arange(1, count + 1) ** -skew, drawn, replacement=True, generator=random)
        for count, skew in ((USERS, _SKEW_OF_USERS), (ITEMS, _SKEW_OF_ITEMS))
    )
    different = dict.fromkeys(zip(users.tolist(), items.tolist(), strict=True))
    return torch.tensor(list(different)[:_ROWS])
