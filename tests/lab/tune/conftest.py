"""What the tests of tuning share."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    """Dropout and loaders that shuffle draw from torch's global state: no test may depend on those before it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
