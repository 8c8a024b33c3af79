"""A Dask scheduler and workers as processes of their own on 127.0.0.1, for the tests of clusters."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

TIMEOUT = 120.0  # seconds, for a machine that does much else; each of these takes one or two
TESTS = Path(__file__).parents[2]


class Processes:
    """A scheduler and its workers, any of which may be killed."""

    def __init__(self, folder, environment):
        self.folder, self.environment = folder, environment
        self.workers = []
        file = folder / "scheduler.json"
        self.scheduler = self._start("dask_scheduler", "--host=127.0.0.1", "--port=0", f"--scheduler-file={file}")
        self.address = json.loads(waited_for(lambda: file.exists() and file.read_text()))["address"]

    def add(self, count=1, threads=1):
        """Start workers, and wait until the scheduler knows them."""
        for _ in range(count):
            options = (self.address, f"--nthreads={threads}", "--no-nanny", f"--local-directory={self.folder}")
            self.workers.append(self._start("dask_worker", *options))
        waited_for(lambda: self._log().count("Register worker") == len(self.workers))
        return self.workers[-count:]

    def _log(self):
        return (self.folder / "0.log").read_text()

    def _start(self, program, *options):
        log = self.folder / f"{len(self.workers) if program == 'dask_scheduler' else 1 + len(self.workers)}.log"
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path]), **self.environment}
        command = [sys.executable, "-m", f"distributed.cli.{program}", "--no-dashboard", *options]
        with log.open("wb") as out:
            return subprocess.Popen(command, env=environment, stdout=out, stderr=out, cwd=self.folder)

    def end(self):
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@contextmanager
def dask(folder, workers=0, **environment):
    folder.mkdir()
    processes = Processes(folder, environment)
    try:
        if workers:
            processes.add(workers)
        yield processes
    finally:
        processes.end()


def waited_for(what):
    """Return what becomes true, once it does."""
    deadline = time.monotonic() + TIMEOUT
    while not (found := what()):
        assert time.monotonic() < deadline, "it hung"
        time.sleep(0.05)
    return found
