"""The group of commands, and how they fail: in one line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from rmsprop.cli.compare import compare
from rmsprop.cli.convert import convert
from rmsprop.cli.diagnose import diagnose
from rmsprop.cli.explain import diff, explain
from rmsprop.cli.listings import dialects, recipes
from rmsprop.cli.predict import predict
from rmsprop.cli.runs import runs
from rmsprop.cli.scale import scale
from rmsprop.cli.train import train
from rmsprop.cli.trajectory import trajectory
from rmsprop.cli.tune import tune
from rmsprop.cli.window import window
from rmsprop.lab.errors import InputError

# What the `lab` extra installs, by the names under which it is imported.
_LAB = ("torch", "rich", "matplotlib", "PIL", "jinja2", "safetensors", "polars", "sklearn", "scipy", "filelock")
BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130


class OneLineGroup(click.Group):
    """A group whose errors are one line on stderr, and never a traceback for what a person did."""

    def main(self, args: Sequence[str] | None = None, *_: Any, **extra: Any) -> Any:
        """Run a command and exit: with 2 for bad input, 1 for a failed run, 130 for an interrupted one."""
        try:
            code = super().main(args, **extra | {"standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            sys.exit(BAD_INPUT)
        except click.ClickException as error:
            # click says of a word that it isn't "a valid integer range", and means the number.
            _fail(error.format_message().replace("valid integer range", "valid integer"), BAD_INPUT)
        except InputError as error:
            _fail(str(error), BAD_INPUT)
        except (click.Abort, KeyboardInterrupt):
            _fail("interrupted before it was done", INTERRUPTED)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in _LAB:
                raise
            _fail(f"this command needs {package}: pip install 'rmsprop[lab]'", BAD_INPUT)
        except OSError as error:
            _fail(f"{error.filename or 'a file'} can't be written or read: {error.strerror or error}", FAILED)
        sys.exit(code or 0)


def _fail(message: str, code: int) -> NoReturn:
    # What isn't printable, such as a terminal's control sequence in the name of a class, is shown and not obeyed.
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(message.split()))
    click.echo(f"error: {shown}", err=True)
    sys.exit(code)


@click.group(cls=OneLineGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="rmsprop")
def rmsprop() -> None:
    """RMSProp in every framework's dialect: train with it, and see that it works."""


_COMMANDS = (
    *(train, predict, runs, compare, tune, diagnose),
    *(convert, dialects, explain, diff, recipes, scale, trajectory, window),
)
for command in _COMMANDS:
    rmsprop.add_command(command)
