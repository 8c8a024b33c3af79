"""``python -m benchmarks.gpu``: test and measure on a GPU, show it, write it down."""

from __future__ import annotations

import csv
import io
import json
import platform
import re
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, astuple, fields
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click
import torch

import rmsprop
from benchmarks.gpu import checks
from benchmarks.gpu.cases import CASES
from benchmarks.gpu.contenders import CONTENDERS
from benchmarks.gpu.summary import Summary, page, summarize
from benchmarks.gpu.timing import Sample, cache_bytes, measure
from rmsprop.files import write_atomically

ROOT = Path(__file__).parents[2]
RESULTS, QUICK_RESULTS = ROOT / "benchmarks" / "results", ROOT / "build" / "bench-gpu-quick"
NO_GPU = (
    "PyTorch finds no GPU here, so nothing was measured: run this on a machine with one and a PyTorch for it, "
    "or with --quick to see that everything runs."
)


@click.command()
@click.option("--quick", is_flag=True, help="Tiny sizes, on the CPU if need be; the numbers mean nothing.")
@click.option("--skip-compile", is_flag=True, help="Leave torch.compile out, which takes minutes to compile.")
@click.option("--case", "names", multiple=True, type=click.Choice([case.name for case in CASES]), help="Only these.")
@click.option("--results", type=click.Path(file_okay=False, path_type=Path), help="Where to write.")
def main(quick: bool, skip_compile: bool, names: Sequence[str], results: Path | None) -> None:
    """Test rmsprop on a GPU, and measure its steps against other ways to take one and against the speed of a copy."""
    if not torch.cuda.is_available() and not quick:
        raise click.ClickException(NO_GPU)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    if device == "cpu":
        torch.set_num_threads(1)
    about = _environment(device)
    contenders = [contender for contender in CONTENDERS if not (contender.compiled and skip_compile)]
    cases = [case.quick() if quick else case for case in CASES if case.name in (names or [c.name for c in CASES])]
    samples, summaries = list[Sample](), list[Summary]()
    machine = re.sub(r"[^a-z0-9]+", "-", str(about["gpu"]).lower()).strip("-")
    folder = results or (QUICK_RESULTS if quick else RESULTS / f"{datetime.now(UTC):%Y-%m-%d}-{machine}")
    folder.mkdir(parents=True, exist_ok=True)
    passed = True
    if not quick:
        click.echo("the tests that need a GPU", err=True)
        passed, about["tests"] = checks.run_tests(folder)
    for case in cases:
        timings, once = measure(case, contenders, device, lambda text: click.echo(text, err=True))
        samples += timings
        summaries.append(summarize(case, timings, once, cache_bytes(device)))
        for name, content in _files(samples, summaries, about).items():  # after each case, lest a later one fail
            write_atomically(folder / name, content)
    click.echo(page(summaries, about))
    click.echo(f"written to {folder}")
    if not passed:
        raise click.ClickException(f"tests failed on this GPU; {folder / checks.LOG} says which.")


def _files(samples: Sequence[Sample], summaries: Sequence[Summary], about: dict[str, Any]) -> dict[str, bytes]:
    log = io.StringIO()
    writer = csv.writer(log, lineterminator="\n")
    writer.writerow([field.name for field in fields(Sample)])
    writer.writerows(map(astuple, samples))
    quick = any(summary.case.tiny for summary in summaries)
    cases = {
        summary.case.name: {
            "title": summary.case.title,
            "bytes_per_step": summary.case.bytes_per_step,
            "copy": summary.copy,
            "of_copy": summary.of_copy,
            "rows": [asdict(row) for row in summary.rows],
            "once": {name: asdict(once) for name, once in summary.once.items()},
            "goals": [asdict(goal) | {"verdict": goal.verdict} for goal in summary.goals],
        }
        for summary in summaries
    }
    return {
        "timings.csv": log.getvalue().encode(),
        "results.json": (json.dumps({"quick": quick, "environment": about, "cases": cases}, indent=2) + "\n").encode(),
        "summary.md": page(summaries, about).encode(),
    }


def _environment(device: str) -> dict[str, Any]:
    about: dict[str, Any] = {"gpu": "none, on the CPU"}
    if device == "cuda":
        gpu = torch.cuda.get_device_properties(device)
        about = {
            "gpu": gpu.name,
            "multiprocessors": gpu.multi_processor_count,
            "memory": f"{gpu.total_memory / 1e9:.0f} GB",
            "L2 cache": f"{gpu.L2_cache_size / 1e6:.0f} MB",
            "CUDA or ROCm": torch.version.cuda or torch.version.hip,
        }
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return {
        **about,
        **{name: _version(name) for name in ("torch", "triton", "bitsandbytes")},
        "python": platform.python_version(),
        "rmsprop": rmsprop.__version__,
        "commit": found.stdout.strip() or "unknown",
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    main()
