"""What happens to one parameter's arrays on their way: what is kept, rescaled, started anew, or can't go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from rmsprop.checkpoint import averages
from rmsprop.checkpoint.arguments import called
from rmsprop.checkpoint.formats import FORMATS
from rmsprop.checkpoint.neutral import Array, CheckpointError, Group, Parameter, depends_on_step

_IN_OR_OUT = "lr_in_momentum=True or False"


class Move:
    """From a source's group to a target's.

    Args:
        source: The source's group.
        target: The target's, with all that is known of its rule.
        origin: The source's format.
        goal: The target's format.
        keeps: The arrays that the target has room for, or None if that depends on its rule.
        notes: Receives what the caller must know, each once.
    """

    def __init__(
        self, source: Group, target: Group, origin: str, goal: str, keeps: frozenset[str] | None, notes: list[str]
    ) -> None:
        self._source, self._target, self._notes = source, target, notes
        self._from, self._to = FORMATS[origin].program, FORMATS[goal].program
        self._keeps = keeps
        self._leaves_out_unstepped = FORMATS[goal].module == "torch"
        self._makes_room_for_momentum = FORMATS[goal].module == "optax"
        self._can_have = FORMATS[goal].choices

    def parameter(self, parameter: Parameter) -> Parameter:
        """Return a parameter's state as the target keeps it."""
        if not parameter.arrays:
            return self._unstepped(parameter)
        arrays = {"square_avg": parameter.arrays["square_avg"]}
        keeps = self._arrays_kept(parameter)
        if "grad_avg" in keeps:
            arrays |= self._centered(parameter)
        elif "grad_avg" in parameter.arrays and self._source.settings.get("centered") is not False:
            raise CheckpointError(
                f"the checkpoint is centered (it has an average gradient for {parameter.name!r}), but the target has "
                f"no place for one: {self._unless('centered', 'make the target centered')}pass "
                f"{called('centered', False)} to go on without"
            )
        self._check_step(parameter)
        arrays = self._uncorrected(parameter, arrays)
        return replace(parameter, arrays=arrays | self._momentum(parameter, keeps))

    def _arrays_kept(self, parameter: Parameter) -> frozenset[str]:
        if self._keeps is not None:
            return self._keeps
        settings = self._target.settings
        centered = settings.get("centered", "grad_avg" in parameter.arrays)
        momentum = settings.get("momentum", "momentum_buffer" in parameter.arrays)
        return frozenset(
            {"square_avg"} | ({"grad_avg"} if centered else set()) | ({"momentum_buffer"} if momentum else set())
        )

    def _centered(self, parameter: Parameter) -> dict[str, Array]:
        if "grad_avg" not in parameter.arrays:
            raise CheckpointError(
                f"the target is centered, but the checkpoint has no average gradient for {parameter.name!r}, which "
                "can't be found from the rest: go on with a target that isn't centered"
            )
        return {name: parameter.arrays[name] for name in ("grad_avg", "grad_var") if name in parameter.arrays}

    def _check_step(self, parameter: Parameter) -> None:
        """Check that the number of updates is known where the target's update depends on it."""
        settings = self._target.settings
        if parameter.step is None and depends_on_step(settings):
            why = (
                "corrects for the bias of its averages"
                if settings.get("bias_correction")
                else "does another thing at its first update"
            )
            raise CheckpointError(
                f"the target {why}, which takes the number of updates, but the {self._from} checkpoint doesn't say it "
                f"for {parameter.name!r}: pass {called('step')}"
            )

    def _uncorrected(self, parameter: Parameter, arrays: dict[str, Array]) -> dict[str, Array]:
        """Return the averages without v₀'s share if the target corrects for the bias, because it counts on 0."""
        if not self._target.settings.get("bias_correction"):
            return arrays
        if self._source.settings.get("init_from_gradient") and not self._source.settings.get("bias_correction"):
            raise CheckpointError(
                f"the target corrects for the bias of its averages, but that of {parameter.name!r} started from a "
                "gradient, which the checkpoint doesn't keep: go on without bias correction"
            )
        start = (
            0.0
            if self._source.settings.get("bias_correction")
            else self._source.settings.get("initial_square_avg", 0.0)
        )
        if not start or "decay" not in self._source.settings:
            return arrays
        decay = self._source.settings["decay"]
        left = start * (1.0 - averages.share(decay, parameter.step or 0))
        if np.iscomplexobj(arrays["square_avg"]):
            left = left * (1 + 1j)
        return arrays | {"square_avg": arrays["square_avg"].astype(np.result_type(np.float64, left)) - left}

    def _momentum(self, parameter: Parameter, keeps: frozenset[str]) -> dict[str, Array]:
        buffer = parameter.arrays.get("momentum_buffer")
        if self._source.settings.get("momentum") == 0:
            buffer = None
        if "momentum_buffer" not in keeps:
            if buffer is not None:
                raise CheckpointError(
                    f"the checkpoint has a momentum buffer for {parameter.name!r}, but the target has no place for "
                    f"one: {self._unless('momentum', 'give the target momentum')}pass {called('momentum', 0)} to go on "
                    "without"
                )
            return {}
        if buffer is None:
            # Optax has a place for it under momentum only, whatever the source says of its own.
            if self._target.settings.get("momentum", True) or self._makes_room_for_momentum:
                self._note("the checkpoint has no momentum buffer: the target's starts from 0")
            return {"momentum_buffer": np.zeros_like(parameter.arrays["square_avg"])}
        return {"momentum_buffer": self._averaged(self._rescaled(buffer), parameter)}

    def _averaged(self, buffer: Array, parameter: Parameter) -> Array:
        """Return the buffer as the average or the sum that it is in the target."""
        source, target = (
            averages.buffer_share(group.settings, parameter.step, parameter.name)
            for group in (self._source, self._target)
        )
        if source == target or not buffer.any():
            return buffer
        moved: Array = buffer.astype(np.result_type(buffer.dtype, np.float64)) * (target / source)
        return moved

    def _rescaled(self, buffer: Array) -> Array:
        """Return the buffer with the learning rate where the target has it."""
        inside, wanted = (group.settings.get("lr_in_momentum") for group in (self._source, self._target))
        if inside is None or wanted is None:
            lr_in, rule = called("lr_in_momentum", python=_IN_OR_OUT), called("rule", python="its rule")
            raise CheckpointError(
                f"{self._from if inside is None else self._to} doesn't say whether the learning rate is inside its "
                f"momentum buffer: pass {lr_in if inside is None else rule}"
            )
        if inside == wanted or not buffer.any():
            return buffer
        lr = self._target.lr if self._source.lr is None else self._source.lr
        if lr is None:
            raise CheckpointError(
                f"the learning rate is {'inside' if inside else 'outside'} {self._from}'s momentum buffer and "
                f"{'inside' if wanted else 'outside'} {self._to}'s, and the checkpoint doesn't say what it is: "
                f"pass {called('lr')}"
            )
        if not lr:
            raise CheckpointError(
                f"the learning rate is {'inside' if inside else 'outside'} {self._from}'s momentum buffer and "
                f"{'inside' if wanted else 'outside'} {self._to}'s, and can't be taken out or put in at lr=0: pass the "
                f"{called('lr')} that the run goes on with"
            )
        done, before, after = ("divided", "inside", "outside") if inside else ("multiplied", "outside", "inside")
        self._note(
            f"the momentum buffer was {done} by the learning rate {lr:g}, which {self._from} keeps {before} it and "
            f"{self._to} {after}: the run continues exactly while the learning rate stays there"
        )
        wide = buffer.astype(np.result_type(buffer.dtype, np.float64))
        moved: Array = wide / lr if inside else wide * lr
        return moved

    def _unstepped(self, parameter: Parameter) -> Parameter:
        """Return the state of a parameter that was never stepped: the source's v₀, unless the target's is the same."""
        source, target = self._source.settings, self._target.settings
        start, own = (_start(settings) for settings in (source, target))
        if target.get("bias_correction") or target.get("init_from_gradient"):
            start = 0.0  # which is what the correction counts on; or it is set at the first update
        if self._leaves_out_unstepped and start == own:
            return parameter
        if start is None or parameter.shape is None:
            raise CheckpointError(
                f"parameter {parameter.name!r} was never stepped and starts from the checkpoint's v₀ ({start}; the "
                f"target's is {own}), but its shape isn't known: give the optimizer that is to go on with "
                f"{called('like')}"
            )
        dtype = np.dtype(parameter.dtype)
        first = complex(start, start) if dtype.kind == "c" else start
        arrays = {"square_avg": np.full(parameter.shape, first, dtype)}
        keeps = self._arrays_kept(replace(parameter, arrays=arrays))
        arrays |= {name: np.zeros(parameter.shape, dtype) for name in ("grad_avg", "momentum_buffer") if name in keeps}
        return replace(parameter, arrays=arrays, step=0)

    def _unless(self, field: str, remedy: str) -> str:
        """Return a remedy, as one of two, where the target can have the setting at all."""
        return f"{remedy}, or " if field in self._can_have else ""

    def _note(self, note: str) -> None:
        if note not in self._notes:
            self._notes.append(note)


def _start(settings: Mapping[str, Any]) -> float | None:
    """Return what the average of squared gradients starts from, or None if that isn't known."""
    if settings.get("bias_correction") or settings.get("init_from_gradient"):
        return 0.0
    return settings.get("initial_square_avg")
