"""The exceptions of the lab: for what a person gave and it can't use, and for workers that ended before their time."""


class InputError(ValueError):
    """An input that can't be used; its message is one line: what was given, what is allowed, what to do.

    Examples:
        >>> str(InputError("data.csv is empty: give a table with a header and rows"))
        'data.csv is empty: give a table with a header and rows'
    """

    def __init__(self, message: str) -> None:
        """Put what quotes lines of somebody's file into one line."""
        super().__init__(" ".join(message.splitlines()))


class LostWorkerError(RuntimeError):
    """A process that trains ended before its time, perhaps because the system took it for want of memory."""
