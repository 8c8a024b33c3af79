"""Training on the workers of a Dask cluster, which keep what comes of it in a folder that all of them share.

Dask moves work and results, and gives what a killed worker had to another. Nothing else depends on it: each result is a
file in the cache before it is sent, so that a scheduler, a worker or this process may be killed at any time, and the
same command goes on from what is done.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import pickle
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmsprop.files import write_atomically
from rmsprop.lab.batched import Curve, Job
from rmsprop.lab.compare.cache import versions
from rmsprop.lab.compare.cluster_worker import Work, perform
from rmsprop.lab.errors import InputError, LostWorkerError
from rmsprop.lab.packed import packed
from rmsprop.lab.problems.problem import Problem

# Seconds: how often to look whether something is done, how long to wait for a scheduler, and for a first or new worker,
# which a batch system may take its time to start.
_TICK, _CONNECT, _WITHOUT_WORKERS = 0.1, 10.0, 60.0
_ADDRESS = re.compile(r"((tcp|tls|ws|wss)://)?(?P<host>[\w.-]+|\[[0-9a-fA-F:]+\]):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, kw_only=True)
class RunKind:
    """What all runs of a stage have in common.

    Args:
        common: What `rmsprop.lab.compare.cache.identity` returned.
        epochs: How often the training rows are gone through.
        batch_size: Rows per step.
        test: Judge them on the test rows.
        together: Keep a batch as a whole, and not its runs one by one.
    """

    common: Mapping[str, Any]
    epochs: int
    batch_size: int
    test: bool
    together: bool


class _Sent:
    """Work on its way, which is done where it is unpickled.

    A scheduler unpickles the function that it is given. This way that is one of Python's own, so that it needs neither
    this package nor torch, and a worker that has other versions says so itself.
    """

    def __init__(self, work: Work) -> None:
        self._work = work

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return perform, (versions(), pickle.dumps(self._work))


class Cluster:
    """The workers of a scheduler, as `cluster` finds them.

    Args:
        client: The connection to the scheduler.
        address: The scheduler's address.
        problem: The file of the pickled problem.
        digest: Its SHA-256.
        fresh: Train what is kept already, too.
    """

    def __init__(self, client: Any, address: str, problem: Path, digest: str, *, fresh: bool) -> None:
        """See the class."""
        self._client, self._address, self._fresh = client, address, fresh
        self._problem, self._digest = problem, digest
        self._seen = time.monotonic()  # when a worker was last known to be there

    def train(self, batches: Sequence[list[Job]], kind: RunKind) -> Iterator[tuple[int, list[Curve]]]:
        """Train batches, and keep what comes of them.

        Args:
            batches: Who is trained together.
            kind: What they have in common.

        Yields:
            The place of a batch and the curves of its runs, as they are done.

        Raises:
            InputError: If a worker refuses the work.
            LostWorkerError: If the scheduler ends, or there are no workers, or some die of the same batch.
        """
        self._seen = time.monotonic()
        running = {self._submit(batch, kind): place for place, batch in enumerate(batches)}
        while running:
            done = [future for future in running if future.done()]
            for future in sorted(done, key=lambda future: future.status != "finished"):  # first take what is whole
                yield running.pop(future), self._result(future)
            if not done:
                time.sleep(_TICK)
                self._look_for_workers()

    def _submit(self, batch: Sequence[Job], kind: RunKind) -> Any:
        work = Work(
            problem=self._problem,
            digest=self._digest,
            folder=self._problem.parent,
            common=kind.common,
            fresh=self._fresh,
            batch=batch,
            epochs=kind.epochs,
            batch_size=kind.batch_size,
            test=kind.test,
            together=kind.together,
        )
        return self._client.submit(pickle.loads, pickle.dumps(_Sent(work)), pure=False)

    def _result(self, future: Any) -> list[Curve]:
        from distributed.scheduler import KilledWorker

        if future.status in ("cancelled", "lost"):
            raise LostWorkerError(
                f"the scheduler at {self._address} has ended: start it again with its workers, and give the same "
                "command; what was done is in the cache"
            )
        try:
            curves: list[Curve] = future.result()
        except KilledWorker as error:
            raise LostWorkerError(
                f"{error.allowed_failures + 1} workers ended that had the same batch, perhaps for want of memory: "
                "start workers with more, and give the same command; what was done is in the cache"
            ) from error
        except ImportError as error:
            raise InputError(
                f"a worker of {self._address} can't begin ({error}): install what is installed here, "
                f"pip install 'rmsprop[cluster]=={versions()['rmsprop']}'"
            ) from error
        return curves

    def _look_for_workers(self) -> None:
        if time.monotonic() - self._seen < 1.0:
            return
        with suppress(OSError, TimeoutError):  # a scheduler that has ended cancels its futures
            if self._client.nthreads():
                self._seen = time.monotonic()
        if time.monotonic() - self._seen > _WITHOUT_WORKERS:
            raise LostWorkerError(
                f"the scheduler at {self._address} has had no workers for {_WITHOUT_WORKERS:.0f} seconds: start some, "
                f"such as with dask worker {self._address} --nworkers -1 --nthreads 1, and give the same command; what "
                "was done is in the cache"
            )


@contextmanager
def cluster(address: str | None, problem: Problem, folder: Path | None, *, fresh: bool) -> Iterator[Cluster | None]:
    """Connect to a cluster.

    Args:
        address: Its scheduler's, such as ``tcp://host:8786``. None stands for no cluster.
        problem: What is to be learnt. It is written to the folder for as long as the context lasts.
        folder: Where results are kept: a folder that the workers have under the same path.
        fresh: Train what is kept already, too.

    Yields:
        Its workers, or None. When the context ends, runs that haven't begun are given up, and the others kept.

    Raises:
        InputError: If Dask isn't installed, there is no such scheduler, or nothing can be kept in the folder.
    """
    if address is None:
        yield None
        return
    if folder is None:
        raise InputError("a cluster keeps results in a folder that its workers share: name one as cache")
    with _quiet(), _connected(address) as client, _written(problem, folder.resolve()) as (file, digest):
        yield Cluster(client, address, file, digest, fresh=fresh)


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    try:
        from distributed import Security
    except ImportError:
        raise InputError("a cluster needs Dask, which isn't installed: pip install 'rmsprop[cluster]'") from None
    if not _is_address(address):
        raise InputError(
            f"there is no cluster at {address!r}: give a Dask scheduler's address, such as tcp://host:8786"
        )
    if address.startswith(("tls:", "wss:")) and Security().get_connection_args("client")["ssl_context"] is None:
        raise InputError(
            f"Dask's configuration has no certificates for {address}: name them there, under distributed.comm.tls"
        )
    client = _reached(address)
    try:
        yield client
    finally:
        client.close(timeout=1.0)


def _is_address(text: object) -> bool:
    found = _ADDRESS.fullmatch(text) if isinstance(text, str) else None
    if found is None or not 1 <= int(found["port"]) <= 65535:
        return False
    try:
        found["host"].encode("idna")  # as sockets do with a name, whose parts are at most 63 characters long
    except UnicodeError:
        return False
    return True


def _reached(address: str) -> Any:
    from distributed import Client
    from distributed.utils import LoopRunner

    with suppress(OSError):
        if LoopRunner().run_sync(_is_scheduler, address):
            return Client(address, timeout=_CONNECT, set_as_default=False)
    raise InputError(f"no Dask scheduler answers at {address}: start one with dask scheduler, which prints its address")


async def _is_scheduler(address: str) -> bool:
    """Return whether Dask's scheduler answers. A `Client` waits for ever for a web server, and trips over a worker."""
    from distributed import Security
    from distributed.comm.core import connect
    from distributed.core import send_recv

    async def who() -> object:
        comm = await connect(address, timeout=_CONNECT, **Security().get_connection_args("client"))
        try:
            return (await send_recv(comm, op="identity"))["type"]
        finally:
            comm.abort()

    try:
        return await asyncio.wait_for(who(), 2 * _CONNECT) == "Scheduler"
    except Exception:  # what something else says breaks Dask in many places
        return False


@contextmanager
def _written(problem: Problem, folder: Path) -> Iterator[tuple[Path, str]]:
    """Put a problem where all workers find it; sent along, it would be lost with the worker that got it."""
    content, file = packed(problem), folder / f".problem-{secrets.token_hex(8)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(file, content)
    except OSError as error:
        raise InputError(
            f"{folder} can't be written ({error.strerror or error}), and a cluster keeps results there: name another "
            "folder by RMSPROP_CACHE, which its workers share"
        ) from error
    try:
        yield file, hashlib.sha256(content).hexdigest()
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Let what Dask writes in its log go: a lost connection is told by an exception, in one sentence."""
    logger = logging.getLogger("distributed")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
