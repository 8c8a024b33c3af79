"""Comparisons and tunings on a Dask cluster of real processes: the same bits, whoever of it is killed."""

import os
import signal
import socketserver
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from click.testing import CliRunner
from distributed import Client
from lab.compare.dask_processes import TESTS, dask, waited_for
from lab.compare.small import line
from torch import nn
from torch.nn import functional

from rmsprop.cli.group import rmsprop
from rmsprop.lab.compare import Budget, compare
from rmsprop.lab.errors import InputError, LostWorkerError
from rmsprop.lab.problems import load
from rmsprop.lab.tune import tune
from rmsprop.lab.tune.report import content

TINY = Budget(name="tiny", trials=4, studies=2, seeds=5)
NAMES = ("rmsprop", "sgd", "adam+swa")


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    with dask(tmp_path_factory.mktemp("dask") / "cluster", workers=2) as started:
        yield started


@pytest.fixture(autouse=True)
def untimed(monkeypatch):
    """How long a step takes is measured here, and takes longer than all else."""
    monkeypatch.setattr(
        "rmsprop.lab.compare.run.seconds_per_step", lambda problem, names, *_: dict.fromkeys(names, 1.0)
    )


@pytest.fixture
def batches_of_four(monkeypatch):
    """So that there are some to share out."""
    monkeypatch.setattr("rmsprop.lab.compare.workers._LEAST_AT_ONCE", 4)
    monkeypatch.setattr("rmsprop.lab.compare.workers._MOST_AT_ONCE", 4)


def slow():
    """A problem of which a batch takes a fifth of a second or more."""

    def loss(outputs, targets):
        time.sleep(0.01)
        return functional.mse_loss(outputs, targets)

    return line(loss=loss)


def found_by(problem, folder, **options):
    return compare(problem, optimizers=NAMES, budget=TINY, cache=folder, **options).as_dict()


def kept(folder):
    """The runs that are kept, and when they were written."""
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*.json")}


def once(phase, then):
    """Return what does something when the first batch of a phase has come from a worker."""
    left = [then]

    def tell(progress):
        if left and progress.phase == phase and progress.done > progress.cached:
            left.pop()()

    return tell


@pytest.mark.usefixtures("batches_of_four")
def test_a_cluster_gives_the_same_and_fills_the_same_cache(processes, tmp_path):
    there = found_by(line(), tmp_path / "there", cluster=processes.address)
    assert there == found_by(line(), tmp_path / "here")
    assert set(kept(tmp_path / "there")) == set(kept(tmp_path / "here"))
    before = kept(tmp_path / "there")
    assert found_by(line(), tmp_path / "there", cluster=processes.address) == there
    assert kept(tmp_path / "there") == before
    assert found_by(line(), tmp_path / "there", cluster=processes.address, fresh=True) == there
    assert min(kept(tmp_path / "there").values()) > max(before.values())
    assert not list((tmp_path / "there").glob(".problem-*"))


def test_a_tuning_is_the_same_to_the_bit(processes, tmp_path):
    problem = replace(load("linear"), epochs=3)

    def tuned(folder, **options):
        told = []
        options["on_progress"] = lambda stage, done, total: told.append((stage, done == total))
        found = tune(problem, budget="quick", seeds=2, decay=0.9, eps=1e-8, cache=folder, **options)
        return content(found), {stage for stage, whole in told if whole}, (found.runs, found.cached)

    there, here = tuned(tmp_path / "there", cluster=processes.address), tuned(tmp_path / "here")
    assert there == here
    assert set(kept(tmp_path / "there")) == set(kept(tmp_path / "here"))
    again = tuned(tmp_path / "there", cluster=processes.address)
    assert again[:2] == here[:2]
    assert again[2][0] == again[2][1]


@pytest.mark.usefixtures("batches_of_four")
def test_what_a_killed_worker_had_another_does(processes, tmp_path):
    (doomed,) = processes.add()
    there = found_by(slow(), tmp_path / "there", cluster=processes.address, on_progress=once("tuning", doomed.kill))
    assert doomed.wait(60) == -signal.SIGKILL
    assert there == found_by(slow(), tmp_path / "here")


@pytest.mark.usefixtures("batches_of_four")
def test_after_a_killed_scheduler_the_same_command_goes_on(tmp_path):
    folder = tmp_path / "there"
    with dask(tmp_path / "first", workers=1) as first:
        kill = once("reporting", first.scheduler.kill)
        with pytest.raises(LostWorkerError) as said:
            found_by(slow(), folder, cluster=first.address, on_progress=kill)
        assert str(said.value) == (
            f"the scheduler at {first.address} has ended: start it again with its workers, and give the same command; "
            "what was done is in the cache"
        )
        first.workers[0].wait(60)  # it ends as its scheduler has, and first keeps what it is at
    before, told = kept(folder), []
    with dask(tmp_path / "second", workers=1) as second:
        there = found_by(slow(), folder, cluster=second.address, on_progress=told.append)
    assert next(progress for progress in told if progress.phase == "tuning").cached == 24
    assert len(before) > 24
    assert before.items() < kept(folder).items()
    assert there == found_by(slow(), tmp_path / "here")


def held(folder):
    """A problem with which workers tell that they are at it, and wait as long as there is a file."""
    own = os.getpid()

    def loss(outputs, targets):
        if os.getpid() != own:
            folder.joinpath(f"at-{os.getpid()}").touch()
            while folder.joinpath("hold").exists():
                time.sleep(0.05)
        return functional.mse_loss(outputs, targets)

    return line(loss=loss)


COMMAND = """
import sys
from pathlib import Path
from lab.compare import test_cluster
from rmsprop.lab.compare import run, workers
workers._LEAST_AT_ONCE = workers._MOST_AT_ONCE = 4
run.seconds_per_step = lambda problem, names, *_: dict.fromkeys(names, 1.0)
folder = Path(sys.argv[1])
test_cluster.found_by(test_cluster.held(folder), folder / "kept", cluster=sys.argv[2])
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_after_the_command_has_ended_workers_keep_what_they_are_at(processes, tmp_path, how):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    (tmp_path / "hold").touch()
    command = [sys.executable, "-c", COMMAND, str(tmp_path), processes.address]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as process:
        waited_for(lambda: len(list(tmp_path.glob("at-*"))) == 2 or process.poll() is not None)
        process.send_signal(how)
    assert process.returncode in (-how, 1)
    assert not kept(tmp_path / "kept")
    (tmp_path / "hold").unlink()
    waited_for(lambda: len(kept(tmp_path / "kept")) == 8)
    assert len(list((tmp_path / "kept").glob(".problem-*"))) == (how == signal.SIGKILL)


def test_a_batch_that_kills_its_workers_is_given_up(tmp_path):
    own = os.getpid()
    deadly = line(make_model=lambda: nn.Linear(3, 1) if os.getpid() == own else os._exit(1))
    once = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0"}
    said = pytest.raises(
        LostWorkerError, match=r"^1 workers ended that had the same batch, perhaps for want of memory: "
    )
    with dask(tmp_path / "dask", workers=1, **once) as processes, said:
        found_by(deadly, tmp_path, cluster=processes.address)


def test_neither_no_workers_nor_the_wrong_ones_are_waited_for_for_ever(tmp_path, monkeypatch):
    monkeypatch.setattr("rmsprop.lab.compare.cluster._WITHOUT_WORKERS", 1.0)
    with dask(tmp_path / "dask") as processes:
        with pytest.raises(LostWorkerError) as said:
            found_by(line(), tmp_path, cluster=processes.address)
        assert str(said.value).startswith(
            f"the scheduler at {processes.address} has had no workers for 1 seconds: start some, such as with "
            f"dask worker {processes.address} --nworkers -1 --nthreads 1, and"
        )
        processes.add(threads=2)
        with pytest.raises(InputError, match=r"^the worker tcp://\S+ does 2 tasks at once in one process, but"):
            found_by(line(), tmp_path, cluster=processes.address)


def other_versions(monkeypatch, tmp_path):
    monkeypatch.setattr("rmsprop.lab.compare.cluster.versions", lambda: {"torch": "1.0"})
    return line()


def another_python(monkeypatch, tmp_path):
    monkeypatch.setattr("rmsprop.lab.compare.cluster.versions", lambda: {"python": "3.9.1"})
    return line()


def other_bits(monkeypatch, tmp_path):
    from rmsprop.lab.compare.cache import identity

    monkeypatch.setattr("rmsprop.lab.compare.run.identity", lambda *given: identity(*given) | {"behaviour": "0"})
    return line()


def another_folder(monkeypatch, tmp_path):
    monkeypatch.setattr("rmsprop.lab.compare.cluster.write_atomically", lambda path, content: None)
    return line()


def another_file(monkeypatch, tmp_path):
    monkeypatch.setattr(
        "rmsprop.lab.compare.cluster.write_atomically", lambda path, content: path.write_bytes(content + b".")
    )
    return line()


def no_place_for_results(monkeypatch, tmp_path):
    for number in range(256):
        (tmp_path / f"{number:02x}").write_text("")
    return line()


def another_module(monkeypatch, tmp_path):
    (tmp_path / "only_here.py").write_text("import torch\ndef model(): return torch.nn.Linear(3, 1)\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here

    return line(make_model=only_here.model)


def without_the_package(monkeypatch, tmp_path):
    (tmp_path / "not_there.py").write_text("def perform(*given): return []\n")
    monkeypatch.syspath_prepend(tmp_path)
    import not_there

    monkeypatch.setattr("rmsprop.lab.compare.cluster.perform", not_there.perform)
    return line()


@pytest.mark.parametrize(
    ("without", "said"),
    [
        (other_versions, r"the worker tcp://\S+ has torch \S+, and 1.0 gave it work: have one version everywhere, or"),
        (
            another_python,
            r"the worker tcp://\S+ has python 3.\d+, and 3.9 gave it work: have one version everywhere, or",
        ),
        (other_bits, r"the worker tcp://\S+ computes something else for line than the machine that gave .* \(behavi"),
        (another_folder, r"the worker tcp://\S+ can't read in \S+ \(No such file or directory\), where results are ke"),
        (another_file, r"the worker tcp://\S+ found another file than was sent at \S+: give the same command again$"),
        (no_place_for_results, r"the worker tcp://\S+ can't write in \S+ \(.+\), where results are kept: let it, or"),
        (another_module, r"the worker tcp://\S+ can't load the problem \(No module named 'only_here'\): install that"),
        (without_the_package, r"a worker of tcp://\S+ can't begin \(No module named 'not_there'\): install what is i"),
    ],
)
def test_a_worker_that_is_not_as_it_should_be_is_told(processes, tmp_path, monkeypatch, without, said):
    with pytest.raises(InputError, match=f"^{said}"):
        found_by(without(monkeypatch, tmp_path), tmp_path, cluster=processes.address)


@pytest.mark.parametrize("command", ["compare", "tune"])
@pytest.mark.parametrize(
    ("address", "said"),
    [
        *(
            (address, f"there is no cluster at '{address}': give a Dask scheduler's address, such as tcp://host:8786")
            for address in (
                "nowhere",
                "",
                "tcp://h:0",
                "tcp://h:65536",
                "tcp://a..b:1",
                f"tcp://{64 * 'a'}:1",
                "tcp://h:1/",
            )
        ),
        ("127.0.0.1:1", "no Dask scheduler answers at 127.0.0.1:1: start one with dask scheduler, which prints its a"),
        ("tls://127.0.0.1:1", "Dask's configuration has no certificates for tls://127.0.0.1:1: name them there, un"),
    ],
)
def test_a_wrong_address_is_one_sentence(command, address, said, tmp_path, monkeypatch):
    monkeypatch.setattr("rmsprop.lab.compare.cluster._CONNECT", 0.5)
    assert_refused(monkeypatch, tmp_path, (command, "linear", "--cluster", address), said)


@pytest.mark.parametrize("banner", [b"", b"SSH-2.0-OpenSSH_9.6\r\n", 8 * b"\0"])
def test_a_server_that_is_not_dasks_is_not_waited_for(banner, tmp_path, monkeypatch):
    class Other(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.sendall(banner)
            while self.request.recv(4096):
                pass

    monkeypatch.setattr("rmsprop.lab.compare.cluster._CONNECT", 0.5)
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever).start()
        address = f"127.0.0.1:{server.server_address[1]}"
        try:
            assert_refused(
                monkeypatch,
                tmp_path,
                ("compare", "linear", "--cluster", address),
                f"no Dask scheduler answers at {address}: start one with dask scheduler",
            )
        finally:
            server.shutdown()


def test_a_worker_is_not_a_scheduler(processes, tmp_path, monkeypatch):
    with Client(processes.address, set_as_default=False) as client:
        address = next(iter(client.scheduler_info()["workers"]))
    said = f"no Dask scheduler answers at {address}: start one with dask scheduler, which prints its address"
    assert_refused(monkeypatch, tmp_path, ("tune", "linear", "--cluster", address), said)


def test_jobs_are_for_this_machine(tmp_path, monkeypatch):
    said = "jobs is 2, and cluster tcp://h:1: give one of them, as a cluster has its own processes"
    assert_refused(monkeypatch, tmp_path, ("compare", "linear", "--jobs", "2", "--cluster", "tcp://h:1"), said)


def test_without_dask_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    said = "a cluster needs Dask, which isn't installed: pip install 'rmsprop[cluster]'"
    assert_refused(monkeypatch, tmp_path, ("tune", "linear", "--cluster", "tcp://h:1"), said)


def assert_refused(monkeypatch, folder, command, said):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("RMSPROP_CACHE", str(folder / "cache"))
    result = CliRunner().invoke(rmsprop, command)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {said}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("folder", "said"),
    [
        (None, "a cluster keeps results in a folder that its workers share: name one as cache"),
        ("a file/folder", r"\S+/a file/folder can't be written \(Not a directory\), and a cluster keeps results there"),
    ],
)
def test_results_need_a_place(processes, tmp_path, folder, said):
    (tmp_path / "a file").write_text("")
    with pytest.raises(InputError, match=said):
        found_by(line(), folder and tmp_path / folder, cluster=processes.address)


def test_a_lost_cluster_is_one_line_and_exit_code_1(tmp_path, monkeypatch):
    def lost(*_, **__):
        raise LostWorkerError("the scheduler has ended")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rmsprop.lab.tune.tuning.tune", lost)
    result = CliRunner().invoke(rmsprop, ("tune", "linear"))
    assert (result.exit_code, result.stderr) == (1, "error: the scheduler has ended\n")
