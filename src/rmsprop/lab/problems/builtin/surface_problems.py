"""The surfaces as problems: a model that holds two coordinates, and inputs that are the noise on their gradient."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from rmsprop.lab.problems.builtin.surfaces import SURFACES, Surface
from rmsprop.lab.problems.problem import Data, Metric, Problem

# The noisy bowl's gradient is 1.1 long at the start along x: noise of the same size is what a small batch has.
_NOISE, _NOISY_ROWS = 1.0, 32


class Point(nn.Module):
    """Two coordinates on a surface; their names are ``x`` and ``y``.

    Args:
        surface: The surface.

    Examples:
        >>> Point(SURFACES["bowl"])(torch.zeros(1, 2)).tolist()
        [[10.5, -5.0, -2.0]]
    """

    def __init__(self, surface: Surface) -> None:
        """See the class."""
        super().__init__()
        self.f = surface.f
        self.x = nn.Parameter(torch.tensor(surface.start[0], dtype=torch.float64))
        self.y = nn.Parameter(torch.tensor(surface.start[1], dtype=torch.float64))

    def forward(self, noise: Tensor) -> Tensor:
        """Return for each row its height, which is noisy, and the two coordinates.

        Args:
            noise: For each row what is added to the gradient, two numbers.

        Returns:
            Rows by 3.
        """
        height = self.f(self.x, self.y) + noise[:, 0] * self.x + noise[:, 1] * self.y
        return torch.stack([height, self.x.expand_as(height), self.y.expand_as(height)], dim=-1)


def on_surface(name: str) -> Problem:
    """Return the problem of descending a surface: one row, so an epoch is one step.

    Args:
        name: A key of `rmsprop.lab.problems.builtin.surfaces.SURFACES`.

    Returns:
        The problem. Every model starts at the same point, and the training row is all there is.

    Examples:
        >>> on_surface("saddle").optimum
        0.0
    """
    surface = SURFACES[name]
    row = Data(torch.zeros(1, 2, dtype=torch.float64), torch.zeros(1))
    return Problem(
        name=name,
        make_model=lambda: Point(surface),
        loss=_mean_height,
        loss_name="height of the surface",
        metric=_distance(surface),
        train=row,
        validation=row,
        test=row,
        optimum=surface.least,
    )


def noisy_bowl() -> Problem:
    """Return the bowl with noise on its gradient, which vanishes in the mean of all rows.

    Returns:
        The problem.
    """
    noise = torch.randn(_NOISY_ROWS, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = _NOISE * (noise - noise.mean(dim=0))
    rows = Data(noise, torch.zeros(_NOISY_ROWS))
    return replace(on_surface("bowl"), name="bowl-noisy", train=rows, validation=rows, test=rows)


def _mean_height(outputs: Tensor, _: Tensor) -> Tensor:
    return outputs[..., 0].mean()


def _distance(surface: Surface) -> Metric:
    minima = torch.tensor(surface.minima, dtype=torch.float64)

    def of(outputs: Tensor, _: Tensor) -> Tensor:
        return (outputs[0, 1:] - minima).square().sum(dim=-1).amin().sqrt()

    return Metric("distance", "units of x and y", higher_is_better=False, of=of)
