"""TensorBoard's scalars, for whoever asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rmsprop.lab.tensorboard import without_tensorflow


class Scalars:
    """Writes numbers by name and step to a folder that TensorBoard shows.

    Args:
        folder: The folder.

    Raises:
        ImportError: If TensorBoard isn't installed.
    """

    def __init__(self, folder: str | Path) -> None:
        """See the class."""
        try:
            without_tensorflow()
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError("TensorBoard's scalars need tensorboard: pip install 'rmsprop[tensorboard]'") from error
        self._writer = SummaryWriter(str(folder))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write numbers.

        Args:
            step: The step that they belong to.
            values: The numbers by name.
        """
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left and close the files."""
        self._writer.close()
