"""Readers under damaged files, in a process of their own: what each did, a line of JSON per reader.

Run as ``python -m attack.fuzz CATEGORY INPUTS SEED FOLDER`` in tests/. A reader returns, or raises its own error in one
line, in `SECONDS` and `BYTES` at most. It changes no file, starts no program, opens no connection, unpickles nothing.
"""

import collections
import contextlib
import io
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

from attack.damage import damaged
from attack.readers import CATEGORIES

SECONDS = 10
BYTES = 2**29
_ADDRESSES = 2**33  # of memory that a process may have mapped beside what it has when it is warm
_FORBIDDEN = (
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "pickle.find_class"),
)
_WRITING = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.symlink", "os.link", "os.chmod", "os.truncate")


class TooLong(BaseException):
    """A reader that took too long; no reader catches it."""


class Watch:
    """What the interpreter tells of while a reader is at work.

    Args:
        folder: Where readers may write: a resumed run writes to its own folder.
    """

    def __init__(self, folder):
        self.folder, self.on, self.seen = str(folder), False, []
        sys.addaudithook(self._heard)

    def _heard(self, event, arguments):
        if not self.on:
            return
        if event in _FORBIDDEN or (event in _WRITING and self._is_elsewhere(arguments[0])):
            self.seen.append(f"{event}{arguments}")
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path, mode, flags = arguments
            writes = flags & (os.O_WRONLY | os.O_RDWR) if isinstance(flags, int) else set(mode or "r") & set("wax+")
            if writes and self._is_elsewhere(path):
                self.seen.append(f"open{arguments}")

    def _is_elsewhere(self, path):
        if isinstance(path, int):
            return False
        path = os.path.abspath(os.fsdecode(path))
        return not path.startswith((self.folder, "/dev/null", "/dev/shm", "/proc/self"))


@contextlib.contextmanager
def limited(watch):
    """Watch a reader, and end it when it works too long; what other programs take of the machine doesn't count."""

    def end(*_):
        raise TooLong

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    watch.on = True
    try:
        yield
    finally:
        watch.on = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def outcome(reader, folder, path, watch):
    """Return what a reader did with a folder: ``returned``, ``refused``, or what is wrong."""
    watch.seen.clear()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    try:
        with limited(watch), contextlib.redirect_stderr(io.StringIO()):
            reader.read(folder, path)
        result = "returned"
    except reader.error as error:
        said = str(error)
        result = "refused" if said.strip() and "\n" not in said else f"an error of several lines: {said!r}"
        if type(error) is not reader.error:
            result = f"another class of errors: {error!r}"
    except TooLong:
        return f"over {SECONDS} s\n{traceback.format_exc(limit=-3)}"
    except BaseException:
        return traceback.format_exc(limit=-6)
    if watch.seen:
        return f"did what no reader does: {watch.seen[:3]}"
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    if grown > BYTES:
        return f"took {grown:,} bytes of memory"
    _SLOWEST[0] = max(_SLOWEST[0], time.process_time() - start)
    return result


_SLOWEST = [0.0]


def attack(name, reader, inputs, seed, kept):
    """Return what a reader did with so many inputs.

    Args:
        name: What it is called.
        reader: The reader.
        inputs: How many.
        seed: Decides the damage.
        kept: Where inputs that found something are kept; the last one, should the process die.

    Returns:
        Counts, and what was found.
    """
    rng = random.Random(f"{name} {seed}")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        reader.make(folder)
        files = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
        watch = Watch(folder)
        for path in files:  # imports, and what libraries write once
            reader.read(folder, path)
        _SLOWEST[0] = 0.0
        counts, found = collections.Counter(), []
        for number in range(inputs):
            path = rng.choice(list(files))
            content = reader.seal(path.name, damaged(rng, files[path]))
            (kept / "last").write_bytes(content)
            path.write_bytes(content)
            names = sorted(folder.rglob("*"))
            result = outcome(reader, folder, path, watch)
            if sorted(folder.rglob("*")) != names and result in ("returned", "refused"):
                result = "left other files than there were"
            path.write_bytes(files[path])
            counts[result if result in ("returned", "refused") else "failed"] += 1
            if result not in ("returned", "refused"):
                input_file = kept / f"{name.replace(' ', '_').replace('/', '_')}-{seed}-{number}-{path.name}"
                input_file.write_bytes(content)
                found.append({"input": str(input_file), "what": result})
    return {"reader": name, "inputs": inputs, **counts, "slowest": round(_SLOWEST[0], 2), "found": found}


def main(category, inputs, seed, kept):
    """Attack the readers of a category; print what each did."""
    sys.dont_write_bytecode = True
    kept.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    torch_threads()
    for name, reader in CATEGORIES[category].items():
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + 2 * _ADDRESSES, resource.RLIM_INFINITY))
        print(json.dumps(attack(name, reader, max(1, inputs // reader.cost), seed, kept)), flush=True)


def torch_threads():
    """Keep the machine to one thread: the files are tiny."""
    import torch

    torch.set_num_threads(1)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
