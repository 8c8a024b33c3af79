"""The number of updates, for targets that count those of all parameters together."""

from __future__ import annotations

from rmsprop.checkpoint.formats import FORMATS
from rmsprop.checkpoint.neutral import Checkpoint, CheckpointError, depends_on_step, quoted


def one_step(checkpoint: Checkpoint, notes: list[str]) -> int | None:
    """Return the number of updates for a target that keeps one for all parameters.

    Args:
        checkpoint: The state, translated.
        notes: Receives what the caller must know.

    Returns:
        The number, the largest if they differ and it doesn't matter, or None if it isn't known.

    Raises:
        CheckpointError: If they differ and the update depends on them.
    """
    steps = {parameter.step for parameter in checkpoint.parameters}
    if len(steps) == 1:
        return steps.pop()
    if any(depends_on_step(group.settings) for group in checkpoint.groups):
        named = quoted(f"{p.name}: {p.step}" for p in checkpoint.parameters)
        raise CheckpointError(
            f"{FORMATS[checkpoint.format].program} counts the updates of all parameters together and what they compute "
            f"depends on it, but the checkpoint's parameters have had different numbers ({named})"
        )
    known = steps - {None}
    if not known:
        return None
    largest = max(step for step in known if step is not None)
    notes.append(
        f"the parameters have had different numbers of updates: {FORMATS[checkpoint.format].program} keeps one, which "
        f"is set to {largest}; the update doesn't depend on it"
    )
    return largest
