"""The folders that commands write in: what each kind holds, and one check and one lock for all of them.

A folder is taken if nothing is there, or what an earlier call of the same command has left; anybody's other files are
never mixed up with ours. The system lets go of a lock when its process ends in any way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from rmsprop.files import leftovers, obstacle
from rmsprop.lab.errors import InputError

LOCK = ".lock"


@dataclass(frozen=True)
class FolderKind:
    """A kind of folder.

    Args:
        name: What the command leaves in it, in a word.
        marker: The file that tells it from other kinds.
        files: All files that the command may write.
        recognised: Tells whether a file of the marker's name is one. Default: each is.
        holds_folders: Whether there may be folders of the same kind in it. Default False.
        grows: Whether files grow in it, so that two processes must never be in it, not even for the moment in which
            one removes the lock that another has just opened: the lock stays. Default False: files are replaced whole.
    """

    name: str
    marker: str
    files: tuple[str, ...]
    recognised: Callable[[Path], bool] = Path.is_file
    holds_folders: bool = False
    grows: bool = False

    def is_in(self, folder: Path) -> bool:
        """Tell whether a folder is of this kind."""
        return self.recognised(folder / self.marker)


TUNING = FolderKind("tuning", "tune.html", ("tune.html", "tune.png", "result.json"))
COMPARISON = FolderKind(
    "comparison",
    "trials.csv",
    ("report.html", "report.md", "runs.csv", "trials.csv", "result.json", "loss.png", "differences.png"),
)
SURVEY = FolderKind("survey", "all.html", ("all.html", "all.md", "all-runs.csv", "all-trials.csv", "all-facts.json"))
DIAGNOSIS = FolderKind("diagnosis", "diagnosis.html", ("diagnosis.html", "diagnosis.png"), holds_folders=True)


def check_folder(folder: Path, kind: FolderKind) -> None:
    """Refuse a folder that can't be written in, or in which our files would be mixed up with others.

    Args:
        folder: The folder, which need not exist.
        kind: What shall go there.

    Raises:
        InputError: If it is a file or below one, can't be written in, or holds what isn't of an earlier call.
    """
    if wrong := obstacle(folder, is_folder=True):
        raise InputError(f"--out {wrong}")
    try:
        others = _strangers(folder, kind)
    except OSError as error:
        raise InputError(f"--out {folder} can't be read ({error.strerror or error}): give another folder") from error
    if others:
        raise InputError(
            f"--out {folder} holds other files ({others[0]}): give a new folder, or one of an earlier {kind.name}"
        )


def check_file(path: Path) -> None:
    """Refuse a name under which no file can be written.

    Args:
        path: The file. One that is there will be replaced, and folders that aren't there will be made.

    Raises:
        InputError: If it is a folder or no regular file, or its folder can't be one or be written in.
    """
    if wrong := obstacle(path):
        raise InputError(f"--out {wrong}")


def _strangers(folder: Path, kind: FolderKind) -> list[str]:
    if not folder.exists() or kind.is_in(folder):
        return []
    # The lock is the first file of ours, so without it the others are somebody's of the same names.
    begun = (folder / LOCK).exists() and not (folder / kind.marker).exists()
    ours = {LOCK, *(kind.files if begun else ()), *(half.name for half in _halves(folder, kind))}
    return sorted(path.name for path in folder.iterdir() if path.name not in ours and not _is_part(path, kind))


def _is_part(path: Path, kind: FolderKind) -> bool:
    """Tell whether it is one of a folder's folders, perhaps of a process that was killed while it wrote."""
    if not kind.holds_folders or not path.is_dir():
        return False
    return kind.is_in(path) or {each.name for each in path.iterdir()} <= set(kind.files)


def _halves(folder: Path, kind: FolderKind) -> list[Path]:
    """Return what killed processes were writing."""
    return [half for name in kind.files for half in leftovers(folder / name)]


@contextmanager
def claim_folder(folder: Path, kind: FolderKind) -> Iterator[None]:
    """Make a folder if there is none, keep other processes out of it, and remove what a killed one was writing.

    A folder that is still empty at the end goes again, with those above it that were made for it.

    Args:
        folder: The folder.
        kind: What shall go there.

    Raises:
        InputError: If it can't be used, or another process has it.
    """
    from filelock import FileLock, Timeout

    check_folder(folder, kind)
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
        for half in _halves(folder, kind):
            half.unlink()
    except Timeout:
        raise InputError(f"another process is running in {folder}: wait for it, or give another --out") from None
    except OSError as error:
        raise InputError(
            f"--out {folder} can't be written in ({error.strerror or error}): give another folder"
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):  # it may be gone; Windows keeps what is open
            if not kind.grows or [path.name for path in folder.iterdir()] == [LOCK]:
                (folder / LOCK).unlink()
        lock.release()
        with suppress(OSError):  # what isn't empty stays
            for place in made:
                place.rmdir()
