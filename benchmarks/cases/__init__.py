"""What is measured: each case is a row, in a module per library."""

from __future__ import annotations

from benchmarks.cases import jax, keras, numpy, torch, unusual
from benchmarks.cases.case import LIBRARIES, Case, Limit, Shapes
from benchmarks.cases.shapes import resnet50

CASES = (*torch.CASES, *unusual.CASES, *numpy.CASES, *jax.CASES, *keras.CASES)

__all__ = ["CASES", "LIBRARIES", "Case", "Limit", "Shapes", "resnet50"]
