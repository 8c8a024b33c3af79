"""What must hold for each wheel: its files, its library's symbols and needs, its size, and nothing of the machine."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from zipfile import ZipFile

import lief

from release.build import ZIG
from release.platforms import ROOT, Platform

LARGEST = 1_500_000  # bytes of a wheel
# Zig's linker has no list of exports for macOS. C++'s operators new and delete are weak there: whichever library was
# loaded first gives them to all, and all of them call malloc and free.
MACOS_ALSO = re.compile(r"_Z(n|d)[wal]|_mh_dylib_header|__dso_handle")


def faults(wheel: Path, platform: Platform, machine: Iterable[Path]) -> list[str]:
    """Return what is wrong with a wheel.

    Args:
        wheel: The wheel.
        platform: What it is for.
        machine: Folders of this machine, of which nothing in the wheel may tell.

    Returns:
        Sentences; none if all is well.
    """
    return list(_faults(wheel, platform, [ROOT, ZIG.parent, Path.home(), *machine]))


def _faults(wheel: Path, platform: Platform, machine: Iterable[Path]) -> Iterator[str]:
    if wheel.stat().st_size > LARGEST:
        yield f"is of {wheel.stat().st_size:,} bytes, more than {LARGEST:,}"
    with ZipFile(wheel) as file:
        contents = {name: file.read(name) for name in file.namelist()}
    for name, content in contents.items():
        if not name.startswith(("rmsprop/", "rmsprop-")):
            yield f"holds {name}"
        yield from (f"tells of {place} in {name}" for place in map(str, machine) if place.encode() in content)
    libraries = [name for name in contents if re.fullmatch(r"rmsprop/rmsprop_native\.\w+", name)]
    if len(libraries) != bool(platform.target):
        yield f"holds {len(libraries)} libraries"
    for name in libraries:
        yield from library_faults(contents[name], platform)
    if platform.tag.startswith("manylinux"):  # of musl's library auditwheel takes glibc's for it, which it finds here
        yield from _audited(wheel, platform)


def library_faults(content: bytes, platform: Platform) -> Iterator[str]:
    """Yield what is wrong with a library.

    Args:
        content: Its bytes.
        platform: What it is for.
    """
    library = lief.parse(list(content))
    exported = {function.name.removeprefix("_") for function in library.exported_functions}
    if platform.tag.startswith("macosx"):
        exported = {name for name in exported if not MACOS_ALSO.match(name)}
    if exported != declared():
        yield f"exports {', '.join(sorted(exported ^ declared()))} differently than native/rmsprop.h"
    for needed in (getattr(each, "name", each) for each in library.libraries):
        if not needed.startswith((*platform.imports, "rmsprop_native.")):  # macOS: first its own name
            yield f"needs {needed}"


def declared() -> set[str]:
    """Return the functions of the C interface."""
    header = (ROOT / "native" / "rmsprop.h").read_text()
    return set(re.findall(r"^RMSPROP_EXPORT .*?\b(\w+)\(", header, re.MULTILINE))


def _audited(wheel: Path, platform: Platform) -> Iterator[str]:
    """Ask auditwheel which versions of the C library's symbols are used."""
    command = [sys.executable, "-m", "auditwheel", "show", str(wheel)]
    run = subprocess.run(command, capture_output=True, text=True)
    said = " ".join(run.stdout.split())
    if f'consistent with the following platform tag: "{platform.tag}"' not in said:
        yield f"does not satisfy auditwheel: {said}{run.stderr}"
