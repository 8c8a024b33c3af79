"""Benchmarks: a step of rmsprop against each library's own ways to take one, and against the floor of the memory.

``python -m benchmarks`` from the root of the repository measures everything and writes
``benchmarks/results/<date>-<machine>/``; `history` keeps the medians of every run. A case is a row of `cases.CASES`, a
contender one of `contenders.CONTENDERS`.
"""
