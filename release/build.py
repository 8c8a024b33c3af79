"""The source archive and the wheels, built without the network and with nothing of the machine in them."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from functools import cache
from pathlib import Path

import ziglang

from release.platforms import ROOT, Platform

ZIG = Path(ziglang.__file__).parent / "zig"


def source_archive(folder: Path) -> Path:
    """Build the source archive.

    Args:
        folder: Where to.

    Returns:
        The archive.
    """
    _build(ROOT, folder, "--sdist")
    (archive,) = folder.glob("*.tar.gz")
    return archive


def unpacked(archive: Path, folder: Path) -> Path:
    """Unpack a source archive.

    Args:
        archive: The archive.
        folder: Where to.

    Returns:
        The folder with the sources.
    """
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    (sources,) = folder.iterdir()
    return sources


def wheel(sources: Path, platform: Platform, folder: Path) -> Path:
    """Build the wheel of a platform.

    Args:
        sources: The folder with the sources.
        platform: The platform.
        folder: Where to.

    Returns:
        The wheel.
    """
    settings = [f"wheel.tags={platform.wheel_tag}", f"build-dir={folder / 'build' / platform.tag}"]
    if platform.target:
        settings.append(f"cmake.toolchain-file={sources / 'release' / 'zig.cmake'}")
    else:
        settings.append("wheel.cmake=false")
    _build(sources, folder, "--wheel", *(f"--config-setting={each}" for each in settings), target=platform.target)
    (built,) = folder.glob(f"*-{platform.wheel_tag}.whl")
    return built


def _build(sources: Path, folder: Path, *options: str, target: str = "") -> None:
    environment = {
        **os.environ,
        "SOURCE_DATE_EPOCH": committed(),
        "RMSPROP_ZIG": str(ZIG),
        "RMSPROP_ZIG_TARGET": target,
        "CMAKE_GENERATOR": "Ninja",
    }
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), *options, str(sources)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    if run.returncode:
        raise SystemExit(f"error: {' '.join(command)} failed:\n{run.stdout}\n{run.stderr}")


@cache
def committed() -> str:
    """Return when the sources were committed, in seconds since 1970: the time of every file in what is built.

    ``SOURCE_DATE_EPOCH`` says it where there is no repository.
    """
    if said := os.environ.get("SOURCE_DATE_EPOCH"):
        return said
    command = ["git", "log", "-1", "--format=%ct"]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
