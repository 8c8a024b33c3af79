"""Named arrays in one file: .npz, or .safetensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rmsprop.checkpoint.contents import check_contents
from rmsprop.checkpoint.files import damaged, unreadable, whole_zip
from rmsprop.checkpoint.neutral import Array, CheckpointError
from rmsprop.files import replacing

_KINDS = (".npz", ".safetensors")


def read_arrays(path: Path) -> dict[str, Array]:
    """Return all arrays of a file; nothing in it is unpickled.

    Raises:
        CheckpointError: If it is damaged, or holds something else.
    """
    check_contents(path, "optax")
    _check_kind(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.numpy import load_file

            loaded: dict[str, Array] = load_file(path)
            return loaded
        whole_zip(path)
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (CheckpointError, ImportError):
        raise
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise unreadable(
                path, "holds Python objects, which only unpickling would bring back and which can run any code"
            ) from error
        raise damaged(path, f"{path.suffix} archive") from error
    except Exception as error:  # each reader has errors of its own
        raise damaged(path, f"{path.suffix} archive") from error


def write_arrays(arrays: dict[str, Array], path: Path) -> None:
    """Write arrays to a file, whole or not at all."""
    _check_kind(path)
    with replacing(path) as temporary:
        if path.suffix == ".safetensors":
            from safetensors.numpy import save_file

            save_file({name: np.array(array, order="C") for name, array in arrays.items()}, temporary)
        else:
            with temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)


def _check_kind(path: Path) -> None:
    if path.suffix not in _KINDS:
        raise unreadable(path, f"has no suffix {' or '.join(_KINDS)}, which say what kind of file it is")
