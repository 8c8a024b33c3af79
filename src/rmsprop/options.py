"""Typed keywords that arrive as ``**options``: spelled out where a signature is read, and refused where unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import Parameter, signature
from typing import Any, TypeVar, get_type_hints

# What `rmsprop.torch.RMSprop` alone has.
ONLY_TORCH = frozenset(
    {
        "capturable",
        "differentiable",
        "foreach",
        "fused",
        "max_grad_norm",
        "max_grad_ratio",
        "max_grad_value",
        "max_update_rms",
        "rounding",
        "seed",
        "sparse",
        "staleness_decay",
        "state_dtype",
    }
)
_Function = TypeVar("_Function", bound=Callable[..., Any])


def named_options(options: Any) -> Callable[[_Function], _Function]:
    """Return a decorator that spells out the typed ``**options`` of a function in its signature.

    For ``help()`` and for programs that pass arguments by the signature, as ``optax.inject_hyperparams`` does.

    Args:
        options: The TypedDict that types them, such as `rmsprop.rule.RuleOptions`; all of them default to None.

    Returns:
        The decorator. It gives the function a signature and leaves it as it is.

    Examples:
        >>> from typing import TypedDict
        >>> Options = TypedDict("Options", {"eps": float}, total=False)
        >>> @named_options(Options)
        ... def make(lr=0.1, **options): ...
        >>> signature(make)
        <Signature (lr=0.1, *, eps: float = None)>
    """
    spelled = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in get_type_hints(options).items()
    ]

    def name(function: _Function) -> _Function:
        own = signature(function)
        named = [each for each in own.parameters.values() if each.kind is not Parameter.VAR_KEYWORD]
        function.__signature__ = own.replace(parameters=[*named, *spelled])  # type: ignore[attr-defined]
        return function

    return name


def check_options(options: Iterable[str], function: Callable[..., Any]) -> None:
    """Refuse keywords that a function doesn't know, as Python does where they don't arrive as ``**options``.

    Args:
        options: The names that arrived as such.
        function: The function, decorated with `named_options`.

    Raises:
        TypeError: If one is unknown; the message names it and the known ones.

    Examples:
        >>> def make(lr, decay): ...
        >>> check_options(["alpha"], make)
        Traceback (most recent call last):
        TypeError: make() got an unexpected keyword argument 'alpha' (known: decay, lr)
    """
    known = signature(function).parameters.keys() - {"self"}
    if unknown := sorted(set(options) - known):
        whose = ", which rmsprop.torch.RMSprop alone has" if unknown[0] in ONLY_TORCH else ""
        raise TypeError(
            f"{function.__qualname__}() got an unexpected keyword argument {unknown[0]!r}{whose} "
            f"(known: {', '.join(sorted(known))})"
        )
