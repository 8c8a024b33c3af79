"""The command `rmsprop`: parsing and printing only; what it prints comes from `rmsprop.lab`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command; without the ``lab`` extra, say how to install it."""
    try:
        from rmsprop.cli.group import rmsprop
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        print("error: the command rmsprop needs more packages: pip install 'rmsprop[lab]'", file=sys.stderr)
        sys.exit(2)
    rmsprop(prog_name="rmsprop")
