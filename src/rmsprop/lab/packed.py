"""Problems as bytes, for other processes."""

from __future__ import annotations

from rmsprop.lab.problems.problem import Problem


def packed(problem: Problem) -> bytes:
    """Return a problem as bytes; unlike pickle, cloudpickle takes lambdas and what was defined in a notebook.

    Args:
        problem: The problem.

    Returns:
        What `pickle.loads` makes it of again.
    """
    import cloudpickle

    content: bytes = cloudpickle.dumps(problem)
    return content
