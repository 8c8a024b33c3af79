"""What Dask and Ray cost as engines of a sweep, and what becomes of work where a worker is killed.

    python -m benchmarks.engines > benchmarks/results/<date>-<machine>-engines/engines.txt

docs/cluster.md quotes what it prints. Each engine starts in a process of its own, by turns. Two workers are asked for;
they have started when both have done a task at the same time.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution, requires
from pathlib import Path
from statistics import median

import psutil

from benchmarks.environment import describe, machine

TURNS, WORKERS, TASKS = 2, 2, 6
Submit = Callable[[float], Callable[[], int]]


def worked(seconds: float) -> int:
    """Return the process that has worked for some seconds."""
    time.sleep(seconds)
    return os.getpid()


@contextmanager
def on_dask() -> Iterator[Submit]:
    """Start a scheduler and workers; yield what submits a task and returns what waits for its result."""
    from distributed import Client

    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder, "scheduler.json")
        programs = [("dask_scheduler", "--host=127.0.0.1", "--port=0", f"--scheduler-file={told}")]
        programs += [("dask_worker", "--no-nanny", "--nthreads=1", f"--scheduler-file={told}")] * WORKERS
        commands = [[sys.executable, "-m", f"distributed.cli.{p}", "--no-dashboard", *more] for p, *more in programs]
        started = [subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=folder) for command in commands]
        while not told.exists():
            time.sleep(0.01)
        client = Client(scheduler_file=str(told))
        yield lambda seconds: client.submit(worked, seconds, pure=False).result
        client.close()
        for process in started:
            process.kill()
            process.wait()


@contextmanager
def on_ray() -> Iterator[Submit]:
    """Start Ray here; yield what submits a task and returns what waits for its result."""
    import ray

    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    task = ray.remote(max_retries=3)(worked)

    def submit(seconds: float) -> Callable[[], int]:
        reference = task.remote(seconds)
        return lambda: ray.get(reference)

    yield submit
    ray.shutdown()


ENGINES = {"distributed": on_dask, "ray": on_ray}


def measure(engine: str) -> None:
    """Print seconds until two workers work, megabytes of all processes but this, and seconds after a killed worker."""
    begin = time.perf_counter()
    with ENGINES[engine]() as submit:
        workers: set[int] = set()
        while len(workers) < WORKERS:
            workers = {wait() for wait in [submit(0.2) for _ in range(WORKERS)]}
        started = time.perf_counter() - begin
        others = psutil.Process().children(recursive=True)
        taken = sum(process.memory_full_info().pss for process in others)
        waiting = [submit(1.0) for _ in range(TASKS)]
        time.sleep(0.5)
        begin = time.perf_counter()
        os.kill(min(workers), signal.SIGKILL)
        by = [wait() for wait in waiting]
        after = time.perf_counter() - begin
    print(started, taken / 1e6, len(others), after, len(by), file=sys.stderr)


def installed(name: str) -> dict[str, int]:
    """Return the bytes of a distribution and of all that it needs, by name."""
    found: dict[str, int] = {}
    left = [name]
    while left:
        each = re.split(r"[^\w.-]", left.pop())[0].lower().replace("_", "-")
        try:
            files = distribution(each).files or ()
        except PackageNotFoundError:  # for another system
            continue
        if each not in found:
            found[each] = sum(path.stat().st_size for file in files if (path := Path(file.locate())).is_file())
            left += [line for line in requires(each) or () if "extra ==" not in line]
    return found


def main() -> None:
    """Print a line per engine."""
    print(f"{machine()}, load {describe()['load before']}")
    present = {name for each in ("torch", "matplotlib", "click", "cloudpickle", "rich") for name in installed(each)}
    found: dict[str, list[list[float]]] = {name: [] for name in ENGINES}
    for _ in range(TURNS):
        for name in ENGINES:
            command = [sys.executable, "-m", "benchmarks.engines", name]
            told = subprocess.run(command, capture_output=True, text=True, check=True).stderr.splitlines()[-1]
            found[name].append([float(word) for word in told.split()])
    for name, turns in found.items():
        started, taken, processes, after, done = map(median, zip(*turns, strict=True))
        more = {each: size for each, size in installed(name).items() if each not in present}
        print(
            f"{name} {distribution(name).version}: {len(more)} packages more than the lab, "
            f"{sum(more.values()) / 1e6:.0f} MB installed; {WORKERS} workers after {started:.1f} s, in "
            f"{processes:.0f} processes of {taken:.0f} MB; after a killed worker {done:.0f} of {TASKS} results, "
            f"the last after {after:.1f} s"
        )


if __name__ == "__main__":
    measure(sys.argv[1]) if len(sys.argv) > 1 else main()
