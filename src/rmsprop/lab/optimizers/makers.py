"""The makers of optimizers: each imports its framework when it is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def sgd(params: Any, **options: Any) -> torch.optim.Optimizer:
    """Return torch's SGD."""
    from torch.optim import SGD

    return SGD(params, **options)


def nesterov(params: Any, **options: Any) -> torch.optim.Optimizer:
    """Return torch's SGD with Nesterov's momentum."""
    return sgd(params, nesterov=True, **options)


def adagrad(params: Any, **options: Any) -> torch.optim.Optimizer:
    """Return torch's Adagrad."""
    from torch.optim import Adagrad

    return Adagrad(params, **options)


def adadelta(params: Any, **options: Any) -> torch.optim.Optimizer:
    """Return torch's Adadelta."""
    from torch.optim import Adadelta

    return Adadelta(params, **options)


def adam(params: Any, *, beta1: float, beta2: float, **options: Any) -> torch.optim.Optimizer:
    """Return torch's Adam, whose two decays are options of their own here."""
    from torch.optim import Adam

    return Adam(params, betas=(beta1, beta2), **options)


def sparse_adam(params: Any, *, beta1: float, beta2: float, **options: Any) -> torch.optim.Optimizer:
    """Return torch's Adam of the rows that a gradient holds, whose two decays are options of their own here."""
    from torch.optim import SparseAdam

    return SparseAdam(params, betas=(beta1, beta2), **options)


def rmsprop(dialect: str, **fixed: Any) -> Callable[..., torch.optim.Optimizer]:
    """Return what makes `rmsprop.torch.RMSprop` of a dialect, with fields of the rule that aren't searched."""

    def make(params: Any, **options: Any) -> torch.optim.Optimizer:
        from rmsprop.torch import RMSprop

        return RMSprop(params, dialect=dialect, **fixed, **options)

    return make


def schedule_free(params: Any, **options: Any) -> torch.optim.Optimizer:
    """Return `rmsprop.torch.ScheduleFreeRMSprop`."""
    from rmsprop.torch import ScheduleFreeRMSprop

    return ScheduleFreeRMSprop(params, **options)


def hypergradient_descent(params: Any, **options: Any) -> torch.optim.Optimizer:
    """Return `rmsprop.torch.RMSprop` under hypergradient descent."""
    from rmsprop.torch import HypergradientDescent, RMSprop

    return HypergradientDescent(RMSprop(params, **options)).optimizer


def marthe(params: Any, **options: Any) -> torch.optim.Optimizer:
    """Return `rmsprop.torch.RMSprop` under MARTHE."""
    from rmsprop.torch import Marthe, RMSprop

    return Marthe(RMSprop(params, **options)).optimizer
