"""Public names of a package that are imported when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module


def lazily(package: str, modules: Mapping[str, str]) -> Callable[[str], object]:
    """Return the ``__getattr__`` of a package whose own import shall import no framework.

    Args:
        package: The package's name.
        modules: Public name -> the module that has it, counted from the package.

    Returns:
        The function.

    Examples:
        >>> lazily("rmsprop.lab", {"short": ".format"})("short").__name__
        'short'
    """

    def get(name: str) -> object:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(modules[name], package), name)

    return get
