"""Where a hyperparameter is searched."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Range:
    """Where one hyperparameter is searched.

    Args:
        low: The least value, above 0 if ``log``.
        high: The greatest value.
        log: Search evenly in the logarithm. Default True.
        complement: Search 1 − value between ``low`` and ``high``: a decay of 0.9 to 0.999 is 0.001 to 0.1.
            Default False.

    Examples:
        >>> Range(low=1e-4, high=1.0).at(0.5)
        0.01
        >>> Range(low=1e-3, high=1e-1, complement=True).at(0.5)
        0.99
    """

    low: float
    high: float
    log: bool = True
    complement: bool = False

    def at(self, u: float) -> float:
        """Return the value at a point of the range.

        Args:
            u: 0 for ``low``, 1 for ``high``.

        Returns:
            The value, to 12 significant digits, so that it prints as it is.
        """
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        value = low + u * (high - low)
        value = math.exp(value) if self.log else value
        return float(f"{1.0 - value if self.complement else value:.12g}")

    def where(self, value: float) -> float:
        """Return the point of the range at which a value lies: the inverse of `at`.

        Args:
            value: The hyperparameter.

        Returns:
            0 for ``low``, 1 for ``high``; outside the range below 0 or above 1.

        Examples:
            >>> round(Range(low=1e-4, high=1.0).where(0.01), 12)
            0.5
        """
        value = 1.0 - value if self.complement else value
        if not self.log:
            return (value - self.low) / (self.high - self.low)
        return math.log(value / self.low) / math.log(self.high / self.low)

    def beyond(self, u: float) -> Range:
        """Return the stretch that widens the range by half of its width, at the end that a point is nearer to.

        Args:
            u: The point, 0 for ``low`` and 1 for ``high``.

        Returns:
            The stretch alone. The complement of a decay stays at or below 1.

        Examples:
            >>> Range(low=1e-4, high=1.0).beyond(0.95)
            Range(low=1.0, high=100.0, log=True, complement=False)
        """
        more = math.sqrt(self.high / self.low) if self.log else (self.high - self.low) / 2
        if u < 0.5:
            low = self.low / more if self.log else self.low - more
            return Range(low=low, high=self.low, log=self.log, complement=self.complement)
        high = self.high * more if self.log else self.high + more
        high = min(high, 1.0) if self.complement else high
        return Range(low=self.high, high=high, log=self.log, complement=self.complement)
