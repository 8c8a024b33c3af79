"""``python -m rmsprop``: the command `rmsprop`, where it isn't on the path."""

from rmsprop.cli import main

if __name__ == "__main__":
    main()
