"""The names that optimizers are asked for by: a row's key, perhaps with the average of its weights."""

from __future__ import annotations

from difflib import get_close_matches

from rmsprop.lab.averages import Average
from rmsprop.lab.errors import InputError
from rmsprop.lab.optimizers.rows import OPTIMIZERS, Row

# What people call RMSProp with averaged weights; after a name, +swa and +ema average those of any optimizer.
SHORT = {"swa": "rmsprop+swa", "ema": "rmsprop+ema"}


def full_name(name: str) -> str:
    """Return the name of an optimizer that a short one stands for.

    Args:
        name: Any name.

    Returns:
        The same, unless it is a key of `SHORT`.

    Examples:
        >>> full_name("swa"), full_name("adam+swa")
        ('rmsprop+swa', 'adam+swa')
    """
    return SHORT.get(name, name)


def bare(name: str) -> str:
    """Return the name of an optimizer without the average of its weights.

    Args:
        name: A key of `OPTIMIZERS`, perhaps followed by ``+swa`` or ``+ema``.

    Returns:
        The key.

    Examples:
        >>> bare("adam+ema"), bare("adam")
        ('adam', 'adam')
    """
    return name if average_of(name) == "none" else name.rpartition("+")[0]


def average_of(name: str) -> Average:
    """Return the average of the weights that a name asks for.

    Args:
        name: As for `bare`.

    Returns:
        The average.

    Examples:
        >>> average_of("adam+ema"), average_of("adam")
        ('ema', 'none')
    """
    if name.endswith("+swa"):
        return "swa"
    return "ema" if name.endswith("+ema") else "none"


def row(name: str) -> Row:
    """Return the row of an optimizer.

    Args:
        name: A key of `OPTIMIZERS`, perhaps followed by ``+swa`` or ``+ema``, or one of `SHORT`.

    Returns:
        Its row; an average makes no difference to it.

    Raises:
        InputError: If there is no such optimizer.

    Examples:
        >>> row("adam").lr
        0.001
        >>> row("adm")
        Traceback (most recent call last):
        rmsprop.lab.errors.InputError: there is no optimizer 'adm' (did you mean adam?): choose from ...
    """
    found = OPTIMIZERS.get(bare(full_name(name)))
    if found is None:
        close = get_close_matches(name.lower(), OPTIMIZERS, 1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise InputError(
            f"there is no optimizer {name!r}{hint}: choose from {', '.join(OPTIMIZERS)}; +swa or +ema may follow each, "
            "and swa and ema alone are RMSProp's"
        )
    if found.averages and (average := average_of(full_name(name))) != "none":
        raise InputError(f"{name} would average weights twice: leave out +{average}, or use rmsprop+{average}")
    return found
