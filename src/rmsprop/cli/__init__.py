"""The command `rmsprop`: parsing and printing only; what it prints comes from `rmsprop.lab`."""

from __future__ import annotations

import _thread
import io
import sys
import threading
import warnings
from typing import TextIO


def main() -> None:
    """Run the command; without the ``lab`` extra, say how to install it."""
    try:
        from rmsprop.cli.group import rmsprop
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        print("error: the command rmsprop needs more packages: pip install 'rmsprop[lab]'", file=sys.stderr)
        sys.exit(2)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a column's name need not exist in the terminal's encoding
            stream.reconfigure(errors="backslashreplace")
    warnings.showwarning = _show
    sys.unraisablehook = _interrupt_again
    rmsprop(prog_name="rmsprop")


def _interrupt_again(caught: sys.UnraisableHookArgs) -> None:
    """Interrupt the command that Ctrl-C was meant for, where it hit code that can't raise, such as a finalizer."""
    if caught.exc_type is KeyboardInterrupt:
        again = threading.Timer(0.01, _thread.interrupt_main)  # by then that code has ended
        again.daemon = True
        again.start()
    else:
        sys.__unraisablehook__(caught)


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning as one line: where in the code it was raised tells a person nothing."""
    print(f"warning: {message}", file=sys.stderr)
