"""Programs that others train with, and this package's optimizers in them: one file each, to read and to copy.

- `measuring`: what an example returns, and how its steps are timed.
- ``python -m examples.in_lightning`` and so on: run one, and print what it measured.
- ``python -m examples``: run all, and write docs/clients.md from what they measured.
"""
