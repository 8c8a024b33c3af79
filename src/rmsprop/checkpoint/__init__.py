"""Optimizer state that moves between frameworks: `load` it, `convert` it, `save` it.

- `neutral`: the common form, `Checkpoint`.
- `formats`: each format as a row of data, `FORMATS`.
- `detect`, `contents`: whose a checkpoint is, and what kind of file.
- `matching`, `translate`: which parameter is which, and what happens to its arrays.
- `torch`, `optax`, `keras`, `tensorflow`, `numpy`: one module per kind of format, imported when it is needed.
- `distributed` with `distributed_metadata`, `distributed_trees` and `plain_pickles`: folders of many ranks.
- `torch_files` with `unpickling`, `orbax`, `keras_files`, `archive`: what is read of a file or a folder.
- `arguments`: what messages call them, in Python and on the command line.

No code in a file is run, and nothing is guessed: what a checkpoint doesn't say is asked for.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from rmsprop.checkpoint.arguments import called
from rmsprop.checkpoint.detect import module_of
from rmsprop.checkpoint.files import check_is_file, is_distributed, writing
from rmsprop.checkpoint.formats import FORMATS, Format, get_format
from rmsprop.checkpoint.matching import Names, Transpose
from rmsprop.checkpoint.neutral import Checkpoint, CheckpointError, ConversionWarning, Group, Parameter, not_finite
from rmsprop.checkpoint.translate import Stated, Target, translate
from rmsprop.files import obstacle
from rmsprop.rule import Rule

# Formats whose files never hold several optimizers.
_ONE_EACH = ("numpy", "optax")
_INSTALLS = {
    "torch": "'rmsprop[torch]'",
    "jax": "'rmsprop[jax]'",
    "optax": "'rmsprop[jax]'",
    "keras": "'rmsprop[keras]'",
    "h5py": "'rmsprop[keras]'",
    "safetensors": "safetensors",
    "orbax": "orbax-checkpoint",
    "tensorflow": "tensorflow",
}

__all__ = [
    "FORMATS",
    "Checkpoint",
    "CheckpointError",
    "ConversionWarning",
    "Format",
    "Group",
    "Parameter",
    "convert",
    "load",
    "save",
]


@contextmanager
def _packages() -> Iterator[None]:
    """Say what to install where a format needs a package that is not there."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        wanted = _INSTALLS.get(package)
        if wanted is None:
            raise
        raise ImportError(f"this checkpoint needs {package}: pip install {wanted}") from error


@_packages()
def load(source: Any, format: str | None = None, *, key: str | None = None, **settings: Any) -> Checkpoint:
    """Read the state of an RMSProp optimizer, from memory or from a file.

    Args:
        source: A file (.pt, .pth, .ckpt, .bin, .zip, .keras, .h5, .npz, .safetensors), a folder of Orbax or of
            ``torch.distributed.checkpoint``, or the prefix of a TensorFlow checkpoint; a live optimizer of PyTorch,
            Keras or `rmsprop.numpy`; a torch state dict, or a checkpoint that contains one; an Optax state. It is left
            as it is.
        format: Whose it is, a key of `FORMATS`. Default: told from ``source``; an error where it can't be.
        key: Which optimizer, if there are several: the key of a state dict in a torch checkpoint, with dots between
            levels (``"optimizer"``, ``"optimizers.0"``), or the name of an optimizer in a TensorFlow checkpoint or in a
            Keras file (``"optimizer"``, ``"generator_optimizer"``).
        **settings: What ``source`` doesn't say about its rule, by the names of `rmsprop.Rule`: ``momentum`` and
            ``centered`` for a Keras weights file, say. They win over what it says.

    Returns:
        The state in its common form.

    Raises:
        CheckpointError: If it can't be read, is damaged, or isn't an RMSProp's.
        ImportError: If a format needs a package that is not installed.
        TypeError: If a setting is unknown.
        ValueError: If one is out of range.

    Examples:
        >>> import numpy as np
        >>> from rmsprop.numpy import RMSprop
        >>> optimizer = RMSprop({"w": np.ones(2)}, lr=0.1, momentum=0.9)
        >>> optimizer.step({"w": np.ones(2)})
        >>> state = load(optimizer)
        >>> state.format, state.parameters[0].name, state.parameters[0].step
        ('numpy', 'w', 1)
    """
    stated = Stated(settings=settings)
    source = _path_or_object(source)
    module = _module(format) if format is not None else module_of(source)
    _check_is_there(source, module)
    if module in _ONE_EACH or (module == "keras" and not isinstance(source, Path)):
        _check_no_key(key)

    def read() -> Checkpoint:
        loaded = stated.put_over(_import(module).read(source, format, key, settings))
        _check_values(loaded, settings)
        return replace(loaded, notes=(*loaded.notes, *not_finite(loaded)))

    loaded: Checkpoint = _in_file(source, read)
    return loaded


@_packages()
def convert(
    state: Any,
    to: str,
    *,
    format: str | None = None,
    like: Any = None,
    names: Names = None,
    transpose: Transpose = (),
    key: str | None = None,
    lr: float | None = None,
    step: int | None = None,
    rule: Rule | None = None,
    notes: list[str] | None = None,
    **settings: Any,
) -> Any:
    """Return optimizer state in another framework's form, with which the run goes on as if it had never moved.

    Where the learning rate lives inside one momentum buffer and outside the other, the buffer is multiplied or
    divided by it; that is exact while the learning rate stays as it is. Where ``state`` doesn't say something that
    ``to`` needs, it is asked for.

    Args:
        state: What `load` returned, or anything that `load` takes.
        to: A key of `FORMATS`.
        format: Whose ``state`` is, as for `load`.
        like: What is to go on, or a file of it, which says the parameters, their shapes and the rule: a torch
            optimizer or state dict, an Optax state (``tx.init(params)``), a built Keras optimizer, a TensorFlow
            checkpoint. Needed for Optax and Keras.
        names: Which parameter is which: a mapping from ``state``'s names to the target's, a list of the target's
            names in ``state``'s order, or ``"order"`` if both have the same order. Default: their names are equal. A
            parameter that is only counted is called ``"0"``, ``"1"``, ...
        transpose: The names (in ``state``) of matrices to transpose, or a mapping from names to new orders of axes.
            Keras' Dense kernel is the transpose of torch's Linear weight. Default: none.
        key: Which optimizer in ``state``, as for `load`.
        lr: The learning rate that the run goes on with. Default: the one in ``state``.
        step: How many updates the parameters have had. Default: what ``state`` says.
        rule: The rule that the run goes on with, where ``like`` doesn't say it: Optax, rmsprop.jax and TensorFlow keep
            none with their state. Default: the rule of ``state``, as far as ``to`` can have it.
        notes: Receives what you should know, in sentences. Default None: each is a `ConversionWarning`.
        **settings: What ``state`` doesn't say about its rule, or hyperparameters that are to be different from now
            on, by the names of `rmsprop.Rule`.

    Returns:
        For torch, timm, sb3 and rmsprop.torch a dict for ``load_state_dict``; for Optax and rmsprop.jax a new state
        like ``like``; for Keras and rmsprop.keras ``like`` itself, with its variables set; for TensorFlow a mapping
        from names to arrays; for numpy a dict for `rmsprop.numpy.RMSprop.load_state_dict`.

    Raises:
        CheckpointError: If it can't be converted; the message says why. Nothing has been changed then.
        ImportError: If a format needs a package that is not installed.
        TypeError: If a setting is unknown.
        ValueError: If one is out of range.

    Examples:
        >>> import numpy as np
        >>> from rmsprop.numpy import RMSprop
        >>> optimizer = RMSprop([np.ones(2)], lr=0.1)
        >>> optimizer.step([np.ones(2)])
        >>> convert(optimizer, to="torch")["param_groups"][0]["alpha"]
        0.99
    """
    get_format(to)
    like = _path_or_object(like)
    if like is None and to in ("optax", "rmsprop.jax"):
        raise CheckpointError(f"{FORMATS[to].program} needs the state that is to be filled: give like=tx.init(params)")
    stated = Stated(settings=settings, lr=lr, step=step)
    return _converted(state, to, format, like, names, transpose, key, stated, rule, notes)


@_packages()
def save(
    state: Any,
    path: str | os.PathLike[str],
    format: str,
    *,
    like: Any = None,
    names: Names = None,
    transpose: Transpose = (),
    key: str | None = None,
    lr: float | None = None,
    step: int | None = None,
    rule: Rule | None = None,
    force: bool = False,
    notes: list[str] | None = None,
    **settings: Any,
) -> None:
    """Write optimizer state to a file in a framework's form, whole or not at all.

    Args:
        state: What `load` returned, or anything that `load` takes.
        path: The file: .pt for torch and its like; .npz or .safetensors for Optax; .keras or .h5 for Keras (a copy of
            the file ``like`` with the optimizer's variables replaced); .npz for numpy; a prefix for TensorFlow.
        format: A key of `FORMATS`.
        like: As for `convert`; not needed for Optax.
        names: As for `convert`.
        transpose: As for `convert`.
        key: As for `convert`.
        lr: As for `convert`.
        step: As for `convert`.
        rule: As for `convert`.
        force: Replace a file that is there. Default False.
        notes: As for `convert`.
        **settings: As for `convert`.

    Raises:
        CheckpointError: If it can't be converted, or there is a file already. No file has been touched then.
        OSError: If it can't be written.

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> from rmsprop.numpy import RMSprop
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(RMSprop([np.ones(2)], lr=0.1), f"{folder}/run.npz", "numpy")
        ...     load(f"{folder}/run.npz").groups[0].lr
        0.1
    """
    get_format(format)
    out: Path = _path_or_object(path)
    like = _path_or_object(like)
    _check_free(out, format, force)
    stated = Stated(settings=settings, lr=lr, step=step)
    content = _converted(state, format, None, like, names, transpose, key, stated, rule, notes)
    with writing(out):
        _import(_module(format)).write(content, out, like)


def _converted(
    state: Any,
    to: str,
    format: str | None,
    like: Any,
    names: Names,
    transpose: Transpose,
    key: str | None,
    stated: Stated,
    rule: Rule | None,
    notes: list[str] | None,
) -> Any:
    if isinstance(state, Checkpoint):
        _check_no_key(key)
    checkpoint = state if isinstance(state, Checkpoint) else load(state, format, key=key, **stated.settings)
    target = _import(_module(to))
    told = list(checkpoint.notes)
    _check_is_there(like, _module(to))

    def described() -> Target:
        found: Target = target.target(to, like, stated.settings)
        for group in found.groups or ():
            Stated(settings=group.settings, lr=group.lr)  # checks them
        return found

    goal = replace(_in_file(like, described), rule=rule)
    moved = translate(checkpoint, goal, stated, names, transpose, told)
    content = target.build(moved, like, told)
    if notes is not None:
        notes.extend(told)
    else:
        for note in told:
            warnings.warn(note, ConversionWarning, stacklevel=4)
    return content


def _in_file(source: Any, work: Any) -> Any:
    """Do the work on a source; an error that doesn't name its file gets the name."""
    try:
        return work()
    except CheckpointError as error:
        if isinstance(source, Path) and str(source) not in str(error):
            raise CheckpointError(f"{source}: {error}") from error
        raise
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(source, Path):  # whole as a file, but its content is of other types or sizes than it should be
            said = " ".join(str(error).split())
            raise CheckpointError(f"{source} doesn't hold what such a checkpoint does: {said}") from error
        raise


def _check_is_there(source: Any, module: str) -> None:
    if not isinstance(source, Path) or module == "tensorflow":
        return
    if not (module == "optax" and os.path.isdir(source)) and not (module == "torch" and is_distributed(source)):
        check_is_file(source)


def _check_values(checkpoint: Checkpoint, stated: Mapping[str, Any]) -> None:
    """Check that there are parameters, and that the rules and step counts can be an optimizer's."""
    if not checkpoint.parameters:
        raise CheckpointError("there are no parameters in it: give the checkpoint of an optimizer that has some")
    for group in checkpoint.groups:
        Stated(settings=group.settings, lr=group.lr)  # checks them
        if stated.get("nesterov") and group.settings.get("momentum") == 0.0:
            raise CheckpointError("nesterov=True needs a momentum above 0: set momentum, or leave nesterov off")
    for parameter in checkpoint.parameters:
        Stated(settings={}, step=parameter.step)


def _path_or_object(source: Any) -> Any:
    if not isinstance(source, str | os.PathLike):
        return source
    path = Path(source)
    if not path.name:  # "", "." and "/"
        raise CheckpointError(f"{os.fspath(source)!r} is not the name of a file: give one")
    return path


def _module(format: str) -> str:
    return get_format(format).module


def _import(module: str) -> Any:
    return import_module(f"rmsprop.checkpoint.{module}")


def _check_no_key(key: str | None) -> None:
    if key is not None:
        raise CheckpointError(f"there is one optimizer in it, so leave out {called('key')}")


def _check_free(path: Path, format: str, force: bool) -> None:
    module = _module(format)
    for file in _import(module).files_of(path) if module == "tensorflow" else (path,):
        if wrong := obstacle(file):
            raise CheckpointError(wrong)
        if os.path.lexists(file) and not force:
            raise CheckpointError(f"{file} exists already: give another name, or replace it with {called('force')}")
        if not file.parent.is_dir():
            raise CheckpointError(f"there is no folder {file.parent}: make it first")
