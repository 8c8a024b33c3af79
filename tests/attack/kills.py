"""Commands and loops that are killed at any moment, stopped by Ctrl-C, or run out of disk: what they leave, and after.

Run as ``python -m attack.kills KILLS SEED [WORK ...]`` in tests/; prints a line of JSON per work. Each is forked from a
process that has imported everything, so that moments fall on the work and not on imports.
"""

import contextlib
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from attack.readers import _state, _table

PNG_END = b"IEND\xaeB`\x82"
FULL = 20_000  # bytes that a file may have on the disk that is full


@dataclass(frozen=True)
class Work:
    """Something that writes files.

    Args:
        prepare: Writes what it needs into a folder.
        begin: Does it, in that folder.
        go_on: Does it again after a kill.
        check: Looks at what a finished one left: returns what must be equal however often it was killed.
        replaced: Files that were whole before, by name: they stay so, or are the new ones.
    """

    prepare: Any
    begin: Any
    go_on: Any
    check: Any
    replaced: tuple[str, ...] = ()


def command(*arguments):
    """Return a function that runs `rmsprop` with arguments."""

    def run():
        from rmsprop.cli.group import rmsprop

        rmsprop.main(list(arguments))

    return run


def _people(folder):
    _table(folder)


TRAIN = ("train", "people.csv", "--target", "churn", "--epochs", "4", "--hidden", "8", "--out", "run")


def _trained(folder):
    _people(folder)
    done = forked(command(*TRAIN), folder)
    assert done == 0, (folder / "output").read_text()


def _history(folder):
    assert json.loads((folder / "run" / "result.json").read_text())
    return (folder / "run" / "history.csv").read_bytes(), (folder / "run" / "model.safetensors").read_bytes()


def _predictions(folder):
    return (folder / "out.csv").read_bytes()


def _model(folder):
    """A trained run, and predictions of an earlier table."""
    shutil.copytree(_once("trained", _trained), folder, dirs_exist_ok=True)
    (folder / "out.csv").write_text("prediction\nyes\n")


def _checkpoint(folder):
    torch.save(_state(), folder / "run.pt")
    (folder / "out.npz").write_bytes(b"an earlier one")


COMPARE = ("compare", "people.csv", "--target", "churn", "--epochs", "1", "--hidden", "4", "--budget", "quick")
COMPARE += ("--optimizers", "sgd,rmsprop", "--seeds", "2", "--out", "compared")
TUNE = ("tune", "people.csv", "--target", "churn", "--epochs", "1", "--hidden", "4", "--budget", "quick")
TUNE += ("--seeds", "2", "--out", "tuned")


def _compared(folder):
    result = json.loads((folder / "compared" / "result.json").read_text())
    return [run["curve"]["train"] for run in result["runs"]]


def _tuned(folder):
    return json.loads((folder / "tuned" / "result.json").read_text())


def _loop():
    """Train with a recorder, which takes up the file that is there."""
    from rmsprop.lab import Recorder
    from rmsprop.torch import RMSprop

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    optimizer = RMSprop(model.parameters(), lr=0.01)
    with Recorder(optimizer, "record.jsonl", model=model, every=5, existing="continue") as recorder:
        for _ in range(200):
            loss = model(torch.ones(2, 3)).square().mean()
            recorder.loss(loss)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def _recorded(folder):
    from rmsprop.lab.recorder.file import read

    assert read(folder / "record.jsonl").last_step >= 200
    return None


WORKS = {
    "train": Work(_people, command(*TRAIN), command(*TRAIN, "--resume"), _history),
    "train over a run": Work(_model, command(*TRAIN, "--force"), command(*TRAIN, "--force"), _history),
    "predict": Work(
        _model,
        *[command("predict", "run", "people.csv", "--out", "out.csv")] * 2,
        _predictions,
        ("out.csv",),
    ),
    "convert": Work(
        _checkpoint,
        *[command("convert", "run.pt", "out.npz", "--to", "numpy", "--force")] * 2,
        lambda folder: (folder / "out.npz").stat().st_size,
        ("out.npz",),
    ),
    "compare": Work(_people, command(*COMPARE), command(*COMPARE), _compared),
    "tune": Work(_people, command(*TUNE), command(*TUNE), _tuned),
    "Recorder": Work(lambda folder: None, _loop, _loop, _recorded),
}
_PREPARED = {}


def _once(name, prepare):
    """Return a folder that was prepared once."""
    if name not in _PREPARED:
        _PREPARED[name] = Path(tempfile.mkdtemp())
        prepare(_PREPARED[name])
    return _PREPARED[name]


def start(function, folder, limit=None):
    """Start a function in a process of its own, in a folder; return the process's number."""
    child = os.fork()
    if child:
        return child
    code = 70
    with contextlib.suppress(BaseException):
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
        os.chdir(folder)
        os.environ["RMSPROP_CACHE"] = str(folder / "cache")
        output = os.open("output", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        try:
            function()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        except KeyboardInterrupt:  # somebody's own loop; commands say it in a line
            code = 130
        except BaseException as error:
            os.write(2, f"Traceback: {error!r}".encode())
    os._exit(code)


def ended(child):
    """Wait for a process; return its exit code, negative if a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def forked(function, folder, limit=None):
    """Run a function to its end in a process of its own."""
    return ended(start(function, folder, limit))


def broken(folder):
    """Return which files in a folder aren't whole; the temporary ones of a killed process are nobody's."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.name.endswith((".tmp", ".lock")) and path.name != "output":
            found += [] if _is_whole(path) else [str(path.relative_to(folder))]
    return found


def _is_whole(path):
    content = path.read_bytes()
    if path.suffix == ".json":
        with contextlib.suppress(ValueError):
            return bool(json.loads(content))
        return False
    if path.suffix == ".png":
        return content.endswith(PNG_END)
    if path.suffix == ".html":
        return content.rstrip().endswith(b"</html>")
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with contextlib.suppress(Exception), safe_open(path, framework="pt") as file:
            return bool(file.keys())
        return False
    return path.suffix != ".csv" or path.name == "history.csv" or content.endswith(b"\n")


def stopped(work, folder, expected, old, after, how):
    """Stop a work some time after its start; return what is wrong with what it leaves and what comes after."""
    child = start(work.begin, folder)
    time.sleep(after)
    os.kill(child, how)
    code = ended(child)
    output = (folder / "output").read_text() if (folder / "output").exists() else ""
    if how == signal.SIGINT and code not in (0, 1, 130, -signal.SIGINT):
        return f"Ctrl-C: exit code {code}: {output[-300:]}"
    if "Traceback" in output:
        return f"a traceback: {output[max(output.index('Traceback') - 300, 0) :][:900]}"
    if wrong := broken(folder):
        return f"not whole: {wrong}"
    for name in work.replaced:
        if (folder / name).read_bytes() not in (old[name], expected[name]):
            return f"{name} is neither the old nor the new file"
    code = forked(work.go_on, folder)
    if code:
        return f"the next run failed with {code}: {(folder / 'output').read_text()[-300:]}"
    left = [path.name for path in folder.rglob("*.tmp")]
    if broken(folder) or (left and work.go_on is not work.begin):
        return f"after the next run: {broken(folder)} {left}"
    return None if work.check(folder) == expected[""] else "the next run ended with something else"


def attack(work, kills, rng):
    """Return how a work took so many kills, as many Ctrl-Cs, and a full disk."""
    found = []
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place, "whole")
        whole.mkdir()
        work.prepare(whole)
        old = {name: (whole / name).read_bytes() for name in work.replaced}
        begun = time.monotonic()
        code = forked(work.begin, whole)
        assert code == 0, (whole / "output").read_text()
        seconds = time.monotonic() - begun
        expected = {"": work.check(whole), **{name: (whole / name).read_bytes() for name in work.replaced}}
        for number in range(kills):
            folder = Path(place, str(number))
            folder.mkdir()
            work.prepare(folder)
            how, after = rng.choice([signal.SIGKILL] * 3 + [signal.SIGINT]), rng.uniform(0, 1.05 * seconds)
            if wrong := stopped(work, folder, expected, old, after, how):
                found.append(f"{how.name} after {after:.3f} s of {seconds:.3f}: {wrong}")
            shutil.rmtree(folder)
        found += full_disk(work, Path(place, "full"), old)
    return {"stopped": kills, "seconds": round(seconds, 2), "found": found}


def full_disk(work, folder, old):
    """Return what is wrong with a work whose files can't grow to their ends, and with what comes after."""
    folder.mkdir()
    work.prepare(folder)
    limit = 100 if work.replaced else FULL
    code = forked(work.begin, folder, limit)
    output = (folder / "output").read_text()
    wrong = [] if code in (0, 1, 2) and "Traceback" not in output else [f"full disk: {code}, {output[-500:]}"]
    wrong += [f"full disk, not whole: {name}" for name in broken(folder)]
    wrong += [f"full disk: {name} changed" for name in work.replaced if (folder / name).read_bytes() != old[name]]
    if forked(work.go_on, folder):
        wrong.append(f"after a full disk: {(folder / 'output').read_text()[-300:]}")
    return wrong


def main(kills, seed, names):
    """Attack works, all unless some are named; print how each took it."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    import rmsprop.cli.group
    import rmsprop.lab.compare
    import rmsprop.lab.train.runs
    import rmsprop.lab.train.trained
    import rmsprop.lab.tune  # noqa: F401

    for name in names or WORKS:
        work = WORKS[name]
        print(json.dumps({"work": name, **attack(work, kills, random.Random(f"{name} {seed}"))}), flush=True)
    for folder in _PREPARED.values():
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
