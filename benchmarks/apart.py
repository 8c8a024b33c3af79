"""Cases that need a process of their own: Keras chooses its backend when it is loaded, once and for all."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch

from benchmarks.cases import Case
from benchmarks.contenders import CONTENDERS
from benchmarks.entry import THREADS
from benchmarks.timing import Sample, measure


def measure_apart(case: Case) -> tuple[list[Sample], dict[str, float]]:
    """Measure a case of Keras in a fresh process.

    Args:
        case: What.

    Returns:
        What `timing.measure` does.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_measure, case).result()


def _measure(case: Case) -> tuple[list[Sample], dict[str, float]]:
    os.environ |= {"KERAS_BACKEND": case.backend or "", "TF_CPP_MIN_LOG_LEVEL": "2"}
    torch.set_num_threads(THREADS)
    return measure(case, CONTENDERS, lambda: None)
