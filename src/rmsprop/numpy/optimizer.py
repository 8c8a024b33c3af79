"""`RMSprop` for NumPy: what it keeps and what a step does in which order."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import is_
from typing import Any, Self, Unpack

from rmsprop.dialects import get_dialect, learning_rate
from rmsprop.hyperparameters import check_number, check_step_lr
from rmsprop.locks import lock_of
from rmsprop.numpy import saved
from rmsprop.numpy.memory import Array, Slot, named
from rmsprop.numpy.plan import ArrayPlan
from rmsprop.numpy.rows import ArrayRows, RowGradient, checked, dense, unfit
from rmsprop.options import check_options, named_options
from rmsprop.recipes import get_recipe
from rmsprop.rule import Rule, RuleOptions

Arrays = list[Array] | tuple[Array, ...] | Mapping[str, Array]
Grad = Array | tuple[Array, Array] | None
Grads = Sequence[Grad] | Mapping[str, Grad]

# An update waits for memory, which fewer threads than this exhaust. More can be asked for, up to what may be a mistake.
_ENOUGH_THREADS, _MOST_THREADS = 16, 1024


class RMSprop:
    """RMSProp in any framework's dialect, on NumPy arrays, in place.

    In the torch dialect v ← ρ·v + (1 − ρ)·g² and θ ← θ − lr·g/(√v + ε). The update of all arrays is one pass of a
    compiled kernel over memory. `rmsprop.reference.update` states the arithmetic with every option; in float32 and
    float64 the kernel has its bits. Where the kernel can't be loaded, a warning says why and NumPy's operations serve.

    Args:
        arrays: What to update: a list or tuple of arrays, or a dict of arrays by name. They are float16, bfloat16 (of
            ml_dtypes), float32, float64, complex64 or complex128 (updated as pairs of real numbers), writable, of any
            shape and any order in memory. A view with gaps in memory is updated through a dense copy, which is kept.
        lr: Learning rate, at least 0. Default: the dialect's, 1e-2 for torch. The attribute ``lr`` may be set between
            steps, to any finite number: a schedule may end below 0.
        dialect: Whose RMSProp: a key of `rmsprop.DIALECTS`. It gives the defaults; an explicit argument wins. Default
            ``"torch"``.
        maximize: Ascend instead of descend. Default False.
        threads: How many threads to use at most, at least 1; large arrays pay for more than one. The result has the
            same bits with any number. Default: as many as the process has CPUs, up to 16.
        decay: ρ, the share of the old value that the moving averages keep, from 0 to 1. Default: the dialect's, 0.99
            for torch.
        eps: ε in the denominator, at least 0. Default: the dialect's, 1e-8 for torch.
        eps_inside_sqrt: Divide by √(v + ε) instead of √v + ε. Default: the dialect's.
        initial_square_avg: What v starts from, at least 0. Default: the dialect's.
        centered: Divide by the standard deviation of the gradient instead of its root mean square. Default: the
            dialect's.
        momentum: μ, from 0 to 1. Default: the dialect's, 0 for torch.
        nesterov: Nesterov momentum. Default: the dialect's.
        lr_in_momentum: The momentum buffer collects lr·u instead of u. Default: the dialect's.
        averaged_momentum: The momentum buffer averages u instead of adding it up. Default: the dialect's.
        caution: Take no step with another sign than its gradient, and longer ones instead in the rest of the array
            (needs ``momentum``). Default: the dialect's.
        init_from_gradient: v starts from the square of the first gradient. Default: the dialect's.
        delayed: Divide by v as it was before this gradient, and limit the quotient to (t − 1)^¼, as ADOPT does.
            Default: the dialect's.
        bias_correction: Divide the averages by 1 − ρᵗ; their state then holds the corrected averages. Default: the
            dialect's.
        weight_decay: λ, at least 0. Default: the dialect's, 0 for torch.
        weight_decay_mode: ``"l2"`` (added to the gradient), ``"decoupled"`` (subtracted from the array, times
            lr) or ``"cautious"`` (that, but not where the update moves away from 0). Default: the dialect's.
        weight_decay_max_lr: The schedule's largest learning rate, by which decay that isn't L2 is corrected: times
            lr/lr_max. 0 corrects nothing. Default: the dialect's.

    Raises:
        TypeError: If an argument is of the wrong type, or an array not one that can be updated.
        ValueError: If an argument is out of range, an array is read-only or shares memory with another, or ``lr`` is
            left out for a dialect without a default.

    Examples:
        >>> import numpy as np
        >>> weights = {"w": np.ones((2, 3), np.float32), "b": np.zeros(3, np.float32)}
        >>> optimizer = RMSprop(weights, lr=0.1)
        >>> optimizer.step({"w": np.full((2, 3), 2.0, np.float32), "b": None})
        >>> weights["w"][0].round(6)
        array([0., 0., 0.], dtype=float32)
        >>> optimizer.state["w"]["step"], optimizer.state["b"]["step"]
        (1, 0)

    Source: Tieleman and Hinton, "Lecture 6.5: rmsprop", COURSERA: Neural Networks for Machine Learning, 2012;
    centered: Graves, arXiv 1308.0850, equations 38 to 45.
    """

    @named_options(RuleOptions)
    def __init__(
        self,
        arrays: Arrays,
        lr: float | None = None,
        *,
        dialect: str = "torch",
        maximize: bool = False,
        threads: int | None = None,
        **options: Unpack[RuleOptions],
    ) -> None:
        check_options(options, RMSprop.__init__)
        self._rule = get_dialect(dialect).rule_with(**options).known()
        self.lr: float = check_number("lr", learning_rate(dialect, lr))
        if not isinstance(maximize, bool):
            raise TypeError(f"Invalid maximize value: {maximize!r} (allowed: True or False)")
        self._maximize = maximize
        self._threads = _checked_threads(threads)
        self._take(arrays)

    def _take(self, arrays: Arrays) -> None:
        by_name = named(arrays)
        self._arrays = arrays
        self._updated = list(by_name.values())
        self._slots = [Slot(name, array, self._rule) for name, array in by_name.items()]
        self._plan: ArrayPlan | None = None
        self._rows: dict[str, ArrayRows] = {}  # of arrays whose averages are not all up to date
        self._has_warned = self._has_warned_of_dense = False
        self._lock = lock_of(self)

    @classmethod
    def from_recipe(cls, arrays: Arrays, name: str, **overrides: Any) -> Self:
        """Return an optimizer with the settings of a published result.

        Args:
            arrays: What to update, as for the class.
            name: A key of `rmsprop.recipes.RECIPES`.
            **overrides: Arguments of the class, which win over the recipe's; None stands for the recipe's.

        Returns:
            The optimizer. Its learning rate is the one that the recipe's schedule starts from, or peaks at. It doesn't
            clip: where the recipe names a ``max_grad_norm`` or ``max_grad_value``, clip the gradients before the step.

        Raises:
            TypeError: If an override is unknown or of the wrong type.
            ValueError: If there is no such recipe, or an override is out of range.

        Examples:
            >>> import numpy as np
            >>> RMSprop.from_recipe([np.zeros(2)], "efficientnet", lr=0.016).rule.eps
            0.001
        """
        return cls(arrays, **get_recipe(name).arguments({}, overrides))

    @property
    def arrays(self) -> Arrays:
        """What is updated: the list, tuple or dict that was given."""
        return self._arrays

    @property
    def rule(self) -> Rule:
        """What is computed."""
        return self._rule

    @property
    def state(self) -> list[dict[str, Any]] | dict[str, dict[str, Any]]:
        """The state of each array, in a list or dict like `arrays`.

        Per array ``"step"``, how many updates it has taken, and the arrays named in ``rule.state_names``, with its
        shape and in at least 32 bits. These are the arrays that the next step updates, not copies. After gradients of
        rows they are brought up to date when this is read.

        Examples:
            >>> import numpy as np
            >>> RMSprop([np.zeros(2)], momentum=0.9).state[0]
            {'step': 0, 'square_avg': array([0., 0.]), 'momentum_buffer': array([0., 0.])}
        """
        with self._lock:
            self._settle(self._rows)
            states = [{"step": slot.counter.value, **slot.shown()} for slot in self._slots]
        if isinstance(self._arrays, Mapping):
            return {slot.name: state for slot, state in zip(self._slots, states, strict=True)}
        return states

    def step(self, grads: Grads, *, grad_scale: float = 1.0) -> None:
        """Update all arrays that have a gradient.

        Everything is checked before anything is changed: after an exception arrays and state are as they were. While
        one thread takes a step, another that wants to take one, or to save or load the state, waits.

        Args:
            grads: A gradient per array, in a list or tuple, or by name if `arrays` is a mapping. Each has its array's
                shape, and its dtype or one that converts to it without loss. They are only read. One that is None
                leaves its array as it is, and the step doesn't count for that array. A tuple ``(rows, values)`` is the
                gradient of some rows, the numbers of rows along the first axis and a row of values for each. Those of
                one row are added up in their order, and other rows have gradients of zeros: the step is the dense one,
                and costs what these rows cost unless a warning says otherwise.
            grad_scale: What gradients are multiplied with first (unscaling, clipping), at least 0. Default 1.

        Raises:
            TypeError: If a gradient is not a NumPy array or of a dtype that its array can't hold, or ``lr`` was set to
                something that is not a number.
            ValueError: If a gradient is missing, unknown or of another shape, has rows that its array hasn't, or a
                number is out of range.
            MemoryError: If there is no memory for the sums of the gradients of rows.

        Examples:
            >>> import numpy as np
            >>> theta = np.array([1.0, 2.0])
            >>> optimizer = RMSprop([theta], lr=0.1, decay=0.75)
            >>> optimizer.step([np.array([3.0, -3.0])])
            >>> theta.round(6)
            array([0.8, 2.2])
            >>> table = np.ones((4, 2))
            >>> optimizer = RMSprop([table], lr=0.1, decay=0.75)
            >>> optimizer.step([(np.array([2, 2]), np.array([[1.0, -1.0], [2.0, -2.0]]))])
            >>> table.round(6)[1:3]
            array([[1. , 1. ],
                   [0.8, 1.2]])
        """
        lr = check_step_lr(self.lr)
        grad_scale = check_number("lr", grad_scale, "grad_scale")  # the same range
        with self._lock:
            given = self._in_sequence(grads)
            self._check_still_there()
            given, of_rows = self._split(given)
            plan = self._plan_for([grad is not None for grad in given])
            kept = plan.bind(given)
            for bucket in plan.buckets:
                bucket.set_numbers(lr, self._maximize, grad_scale)
            self._make_dense([slot.name for slot, grad in zip(self._slots, given, strict=True) if grad is not None])
            on_rows: list[Callable[[], Any]] = []
            for slot, grad in of_rows:
                rows = self._rows_of(slot)
                on_rows += rows.prepared(grad, lr, self._maximize, grad_scale, self._threads)
            plan.run(kept, self._threads, on_rows)

    def _split(self, given: Sequence[Any]) -> tuple[Sequence[Any], list[tuple[Slot, RowGradient]]]:
        """Return the gradients of whole arrays, None where there is none, and those of rows."""
        if tuple not in map(type, given):
            return given, []
        whole, of_rows = list(given), []
        for i, (slot, grad) in enumerate(zip(self._slots, given, strict=True)):
            if type(grad) is not tuple:
                continue
            of_these = checked(slot, grad, self._slots)
            if reason := unfit(slot, self._rule):
                whole[i] = dense(slot, of_these)
                self._warn_of_dense(slot.name, reason)
            else:
                whole[i] = None
                of_rows.append((slot, of_these))
        return whole, of_rows

    def _rows_of(self, slot: Slot) -> ArrayRows:
        if slot.name not in self._rows:
            self._rows[slot.name] = ArrayRows(slot, self._rule)
        return self._rows[slot.name]

    def _warn_of_dense(self, name: str, reason: str) -> None:
        """Say once that gradients of rows become those of whole arrays."""
        if not self._has_warned_of_dense:
            self._has_warned_of_dense = True
            warnings.warn(
                f"rmsprop makes the gradient of rows of array {name!r} dense at every step, as {reason}: the step is "
                "exact, but costs as much as one of the whole array",
                UserWarning,
                stacklevel=4,
            )

    def _settle(self, names: Iterable[str]) -> None:
        for name in names:
            self._rows[name].settle(self._threads)

    def _make_dense(self, names: Iterable[str]) -> None:
        """Bring all rows of some arrays up to date, and forget that they weren't."""
        on_rows = [name for name in names if name in self._rows]
        self._settle(on_rows)
        for name in on_rows:
            del self._rows[name]

    def _plan_for(self, present: list[bool]) -> ArrayPlan:
        if self._plan is None or self._plan.present != present:
            self._plan = None  # a new plan takes the counters away from the one before
            self._plan = ArrayPlan(self._slots, present, self._rule)
            self._warn(self._plan.reason)
        return self._plan

    def _warn(self, reason: str | None) -> None:
        """Say once that NumPy's operations update the arrays."""
        if reason and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"rmsprop updates the arrays by NumPy's operations, which are slower than its kernel: {reason}",
                UserWarning,
                stacklevel=4,
            )

    def _check_still_there(self) -> None:
        """Refuse to go on updating arrays that the caller no longer holds where they were given."""
        held = list(self._arrays.values() if isinstance(self._arrays, Mapping) else self._arrays)
        if len(held) != len(self._slots) or not all(map(is_, held, self._updated)):
            raise ValueError(
                "arrays were replaced, added or removed since the optimizer was made: assign to their elements "
                "(array[...] = values), or make another optimizer"
            )

    def _in_sequence(self, grads: Any) -> Sequence[Any]:
        """Return the gradients in the order of the arrays."""
        if isinstance(self._arrays, Mapping):
            if not isinstance(grads, Mapping):
                raise TypeError(f"grads is a {type(grads).__name__}, but arrays were given by name: pass a dict")
            names = [slot.name for slot in self._slots]
            if missing := [name for name in names if name not in grads]:
                raise ValueError(f"grads has no gradient of array {missing[0]!r}: pass one, or None to leave it out")
            if len(grads) > len(names):
                unknown = next(name for name in grads if name not in set(names))
                raise ValueError(f"grads has {unknown!r}, which is none of the arrays: {', '.join(names)}")
            return [grads[name] for name in names]
        if not isinstance(grads, (list, tuple)):
            raise TypeError(f"grads is a {type(grads).__name__}, but a list or tuple is needed, one gradient per array")
        if len(grads) != len(self._slots):
            raise ValueError(f"grads has {len(grads)} gradients, but there are {len(self._slots)} arrays")
        return grads

    def state_dict(self) -> dict[str, Array]:
        """Return the state as a flat dict of arrays, which ``np.savez(path, **optimizer.state_dict())`` stores.

        Returns:
            Copies, by key: ``"<name>/<state name>"`` and ``"<name>/step"`` per array (in a list the names are "0", "1",
            ...), ``"rule/<field>"`` per field of the rule, ``"lr"`` and ``"maximize"``. The arrays that are updated
            are not among them.

        Examples:
            >>> import numpy as np
            >>> sorted(key for key in RMSprop({"w": np.zeros(2)}).state_dict() if key.startswith("w/"))
            ['w/square_avg', 'w/step']
        """
        with self._lock:
            self._settle(self._rows)
            return saved.write(self._rule, self.lr, self._maximize, self._slots)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Load what `state_dict` returned, so that the run goes on to the same bits: state, rule and learning rate.

        Args:
            state_dict: The dict, or what ``np.load`` made of a file of it; copied.

        Raises:
            TypeError: If it is not a mapping, or a value in it is of the wrong type.
            ValueError: If it does not belong to arrays like these, or a number in it is out of range. The optimizer is
                then as it was before.

        Examples:
            >>> import numpy as np
            >>> optimizer, other = RMSprop([np.zeros(2)], lr=0.3), RMSprop([np.ones(2)])
            >>> other.load_state_dict(optimizer.state_dict())
            >>> other.lr
            0.3
        """
        with self._lock:
            rule, lr, maximize, slots = saved.read(state_dict, self._slots)
            maximize = self._maximize if maximize is None else maximize
            # All at once: a Ctrl-C comes before it or after it.
            self.__dict__.update(_rule=rule, lr=lr, _maximize=maximize, _slots=slots, _plan=None, _rows={})

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle or a copy keeps: the arrays too, so pickle the optimizer and its model together."""
        return {"arrays": self._arrays, "threads": self._threads, "state_dict": self.state_dict()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take over the arrays and the state from a pickle or a copy."""
        self._threads, self._maximize, self._rule = state["threads"], False, Rule()
        self._take(state["arrays"])
        self.load_state_dict(state["state_dict"])


def _checked_threads(threads: int | None) -> int:
    """Return how many threads to use at most."""
    if threads is None:
        available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(available, _ENOUGH_THREADS)
    allowed = f"an int from 1 to {_MOST_THREADS}"
    if isinstance(threads, bool) or not isinstance(threads, int):
        raise TypeError(f"Invalid threads value: {threads!r} is a {type(threads).__name__} (allowed: {allowed})")
    if not 1 <= threads <= _MOST_THREADS:
        raise ValueError(f"Invalid threads value: {threads} (allowed: {allowed})")
    return threads
