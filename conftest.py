"""The code in Markdown pages runs as tests; hypothesis repeats the same examples on every machine."""

import contextlib

from hypothesis import settings
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

# torch's compiler, which every torch optimizer loads, imports Triton: a segmentation fault if TensorFlow came first.
with contextlib.suppress(ImportError):
    import triton  # noqa: F401

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

# Chinese pages have the code of the English ones: tests/test_chinese_pages.py compares it.
pytest_collect_file = Sybil(parsers=[PythonCodeBlockParser()], patterns=["*.md"], excludes=["*.zh.md"]).pytest()
