"""The gradient of a surface, by dual numbers: the same operations in the same order for numbers and for JavaScript.

So the interactive page computes with the bits that Python has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Function = Callable[[Any, Any], Any]


def gradient(f: Function, x: Any, y: Any) -> tuple[Any, Any, Any]:
    """Return the value of a function of two variables and its two partial derivatives.

    Args:
        f: Sums, differences and products of its arguments and of constants, whole powers, and quotients by constants.
        x: Where: a number, or an array.
        y: Likewise.

    Returns:
        f(x, y), ∂f/∂x and ∂f/∂y.

    Raises:
        TypeError: If the function is made of anything else.

    Examples:
        >>> gradient(lambda x, y: 0.1 * x**2 + 2 * y**2, -5.0, -2.0)
        (10.5, -1.0, -8.0)

    Source: forward accumulation; Griewank and Walther, Evaluating Derivatives, 2nd edition, section 3.1.
    """
    found = f(_Dual(x, 1.0, None), _Dual(y, None, 1.0))
    if not isinstance(found, _Dual):
        raise TypeError(f"a surface must depend on x and y, but it is {found!r}")
    return found.value, *(0.0 * x if slope is None else slope for slope in (found.dx, found.dy))


def javascript(f: Function) -> str:
    """Return a function in JavaScript with the arithmetic of `gradient`.

    Args:
        f: As for `gradient`.

    Returns:
        The source of a function from x and y to the value and both derivatives.

    Examples:
        >>> javascript(lambda x, y: x * y)
        '(x, y) => [(x * y), y, x]'
    """
    parts = ", ".join(_text(part) for part in gradient(f, _Code("x"), _Code("y")))
    return f"(x, y) => [{parts}]"


@dataclass(frozen=True, slots=True)
class _Dual:
    """A value and its derivatives; None is a derivative that is 0 everywhere."""

    value: Any
    dx: Any
    dy: Any

    def _with(self, value: Any, change: Callable[[Any], Any]) -> _Dual:
        return _Dual(value, *(None if slope is None else change(slope) for slope in (self.dx, self.dy)))

    def __neg__(self) -> _Dual:
        return self._with(-self.value, lambda slope: -slope)

    def __add__(self, other: Any) -> _Dual:
        if not isinstance(other, _Dual):
            return _Dual(self.value + other, self.dx, self.dy)
        return _Dual(self.value + other.value, _sum(self.dx, other.dx), _sum(self.dy, other.dy))

    def __radd__(self, other: float) -> _Dual:
        return self + other

    def __sub__(self, other: Any) -> _Dual:
        negative: Any = -other
        return self.__add__(negative)

    def __rsub__(self, other: float) -> _Dual:
        return -self + other

    def __mul__(self, other: Any) -> _Dual:
        if not isinstance(other, _Dual):
            return self._with(self.value * other, lambda slope: _product(slope, other))
        here = other._with(None, lambda slope: _product(slope, self.value))
        there = self._with(None, lambda slope: _product(slope, other.value))
        return _Dual(self.value * other.value, _sum(there.dx, here.dx), _sum(there.dy, here.dy))

    def __rmul__(self, other: float) -> _Dual:
        return self * other

    def __truediv__(self, other: float) -> _Dual:
        return self._with(self.value / other, lambda slope: slope / other)

    def __pow__(self, power: int) -> _Dual:
        if power < 1 or power != int(power):
            raise TypeError(f"a surface is made of whole powers from 1, but this is {power!r}")
        below = self.value
        for _ in range(int(power) - 2):
            below = below * self.value
        if power == 1:
            return self
        return self._with(below * self.value, lambda slope: _product(power * below, slope))


class _Code:
    """A number that is known when the page runs: its JavaScript."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __neg__(self) -> _Code:
        return _Code(f"(-{self.text})")

    def _binary(sign: str, *, swapped: bool = False) -> Any:  # type: ignore[misc]  # noqa: N805
        def operate(self: _Code, other: Any) -> _Code:
            a, b = (other, self) if swapped else (self, other)
            return _Code(f"({_text(a)} {sign} {_text(b)})")

        return operate

    __add__, __radd__ = _binary("+"), _binary("+", swapped=True)
    __mul__, __rmul__ = _binary("*"), _binary("*", swapped=True)
    __truediv__ = _binary("/")


def _text(number: Any) -> str:
    return number.text if isinstance(number, _Code) else repr(float(number))


def _sum(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return b if a is None else a
    return a + b


def _product(a: Any, b: Any) -> Any:
    """Return a·b without writing a factor of 1."""
    if isinstance(a, float) and a == 1.0:
        return b
    return a if isinstance(b, float) and b == 1.0 else a * b
