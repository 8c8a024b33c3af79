"""The one exception for what a person gave and the lab can't use."""


class InputError(ValueError):
    """An input that can't be used; its message is one line: what was given, what is allowed, what to do.

    Examples:
        >>> str(InputError("data.csv is empty: give a table with a header and rows"))
        'data.csv is empty: give a table with a header and rows'
    """

    def __init__(self, message: str) -> None:
        """Put what quotes lines of somebody's file into one line."""
        super().__init__(" ".join(message.splitlines()))
