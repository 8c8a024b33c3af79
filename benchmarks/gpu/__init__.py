"""Benchmarks on a GPU: ``python -m benchmarks.gpu``, or ``make bench-gpu``.

The steps of rmsprop's one kernel against torch's own, and against the speed at which the same GPU, in the same run,
copies memory. A case is a row of `cases.CASES`, a contender one of `contenders.CONTENDERS`. Before that the tests that
need a GPU run, if pytest is there. Only PyTorch, Triton and click must be, so that it also runs where nothing else is
installed.
"""
