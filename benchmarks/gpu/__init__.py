"""Benchmarks on a GPU: ``python -m benchmarks.gpu``, or ``make bench-gpu``.

The steps of rmsprop's one kernel against torch's own, and against the speed at which the same GPU, in the same run,
copies memory. A case is a row of `cases.CASES`, a contender one of `contenders.CONTENDERS`. Only PyTorch, Triton and
click are needed, so that it also runs where nothing else is installed.
"""
