"""`rmsprop convert`: the options, and how a conversion's notes and errors are shown."""

from __future__ import annotations

import json
import os
import shlex
import signal
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

import click

from rmsprop.cli.choices import chosen_lr, rule_options
from rmsprop.cli.completion import one_of
from rmsprop.lab.errors import InputError
from rmsprop.lab.options import check_option, option, switch_off
from rmsprop.rule import NUMBERS, Rule


def _mapping(_: click.Context, param: click.Parameter, value: Path | None) -> Any:
    """Return the names in a JSON file: an object, or a list."""
    if value is None:
        return None
    try:
        names = json.loads(value.read_text(encoding="utf-8"))
    except OSError as error:
        raise click.BadParameter(f"{value} can't be read: {error.strerror or error}", param=param) from error
    except (ValueError, RecursionError) as error:
        why = "it is not text" if isinstance(error, UnicodeDecodeError) else error
        raise click.BadParameter(f"{value} can't be read as JSON: {why}", param=param) from error
    texts = names.values() if isinstance(names, dict) else names
    if not isinstance(names, dict | list) or not all(isinstance(text, str) for text in texts):
        raise click.BadParameter(f"{value} must hold a JSON object or list of names.", param=param)
    return names


# What the arguments of `rmsprop.checkpoint` are called here, where it isn't an option of their name.
_CALLED = {"format": "format with --from", "like": "--like FILE", "rule": "the options of the rule"}
_NAMES_HELP = "A JSON file: what IN's parameters are called in OUT."
_FROM_HELP = "Whose state IN is.  [default: told from IN]"
_STDERR = 2
_FLAGS = tuple(field for field, kind in get_type_hints(Rule).items() if kind is bool)


def _spelled(name: str, *value: Any) -> str:
    """Return an argument of `rmsprop.checkpoint.convert`, with a value or without, as it is typed here."""
    if name in _FLAGS:
        return " or ".join(option(name) if wanted else switch_off(name) for wanted in (value or (True, False)))
    if not value:
        return _CALLED.get(name, option(name))
    if name == "names":
        return "--in-order" if value == ("order",) else f"--names FILE (a JSON object such as {json.dumps(*value)})"
    if name == "transpose":  # another order of axes can't be typed
        return f"{name}={value[0]} of rmsprop.checkpoint.convert in Python"
    return f"{'--from' if name == 'format' else option(name)} {shlex.quote(str(*value))}"


def _interrupt(*_: Any) -> NoReturn:
    raise KeyboardInterrupt


@contextmanager
def _orderly() -> Iterator[None]:
    """Remove temporary files when the system ends the command, too, and keep what others tell off stderr."""
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        with warnings.catch_warnings(), _silent():
            warnings.simplefilter("ignore")
            yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def _silent() -> Iterator[None]:
    """Send what compiled code writes to stderr nowhere: TensorFlow's log of the machine can't be turned off."""
    try:
        own = os.dup(_STDERR)
    except OSError:  # closed by whoever started the command
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, _STDERR)
    try:
        yield
    finally:
        os.dup2(own, _STDERR)
        os.close(own)
        os.close(nowhere)


def _formats() -> Iterable[str]:
    from rmsprop.checkpoint import FORMATS

    return FORMATS


_FORMAT = one_of(_formats)


@click.command(short_help="Convert an optimizer's state for another framework.")
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option(
    "--from",
    "source_format",
    shell_complete=_FORMAT,
    metavar="FORMAT",
    help="Whose state IN is.  [default: told from IN]",
)
@click.option(
    "--to", "format", shell_complete=_FORMAT, metavar="FORMAT", required=True, help="Whose state OUT is to be."
)
@click.option("--like", type=click.Path(path_type=Path), metavar="FILE", help="A checkpoint of what is to go on.")
@click.option("--key", metavar="NAME", help="Which optimizer in IN, if there are several.")
@click.option("--names", type=click.Path(path_type=Path), callback=_mapping, metavar="FILE", help=_NAMES_HELP)
@click.option("--in-order", is_flag=True, help="The parameters of IN and --like come in the same order.")
@click.option("--transpose", metavar="NAME", multiple=True, help="A matrix of IN to transpose; may be repeated.")
@click.option("--lr", type=float, help="The learning rate that the run goes on with.  [default: that of IN]")
@click.option("--step", type=int, help="How many updates there have been.  [default: what IN says]")
@rule_options
@click.option("--force", is_flag=True, help="Replace OUT.")
def convert(
    source: Path,
    out: Path,
    source_format: str | None,
    format: str,
    like: Path | None,
    key: str | None,
    names: Any,
    in_order: bool,
    transpose: tuple[str, ...],
    lr: float | None,
    step: int | None,
    force: bool,
    **settings: Any,
) -> None:
    """Convert the optimizer state in IN into OUT, for another framework.

    Formats and their files: torch, timm, sb3, bitsandbytes and rmsprop.torch are .pt or .pth; optax and rmsprop.jax
    .npz or .safetensors; numpy .npz; keras and rmsprop.keras .keras or .h5 (as OUT with --like, a file of the model);
    tensorflow1 and keras_legacy the prefix of a TensorFlow checkpoint. IN may also be a .pth.tar, a .ckpt of Lightning,
    the optimizer.pt or optimizer.bin in a folder of Hugging Face's Trainer or Accelerate, a .zip of Stable-Baselines3,
    or a folder of Orbax or torch.distributed.checkpoint: what is in IN counts, not its name.

    The file of --names holds a JSON object from IN's names to OUT's, or a list of OUT's names in IN's order. The
    options of the rule say what IN doesn't, or which hyperparameters are to be different. What changes for the run is
    told in notes. OUT is written whole or not at all, and no code in IN is run.

    Exit codes: 0 done, 1 OUT can't be written, 2 bad input, 130 interrupted.
    """
    from rmsprop import checkpoint
    from rmsprop.checkpoint import FORMATS
    from rmsprop.checkpoint.arguments import spelled

    if in_order and names is not None:
        raise click.UsageError("--in-order and --names both say which parameter is which: give one of them")
    given = {name: value for name, value in settings.items() if value is not None}
    for name in given.keys() & NUMBERS:
        check_option(name, given[name])
    chosen_lr(lr)
    notes: list[str] = []
    try:
        with _orderly(), spelled(_spelled):
            loaded = checkpoint.load(source, source_format, key=key, **given)
            checkpoint.save(
                loaded,
                out,
                format,
                like=like,
                names="order" if in_order else names,
                transpose=transpose,
                lr=lr,
                step=step,
                force=force,
                notes=notes,
                **given,
            )
    except (ValueError, ImportError) as error:
        raise InputError(str(error)) from error
    for note in notes:
        click.echo(f"note: {note}", err=True)
    click.echo(
        f"{out}: {FORMATS[format].program}, {len(loaded.parameters)} parameters of {FORMATS[loaded.format].program}"
    )
