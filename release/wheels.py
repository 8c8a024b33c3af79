"""All wheels: built twice, checked, installed, that of this machine tested; a table of what was done.

Run as ``python -m release.wheels FOLDER``, or with ``--only TAG`` for one platform.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

from packaging.tags import sys_tags

from release import build, check, execute, sbom
from release.platforms import PLATFORMS, ROOT, Platform


def main() -> None:
    """Build, check, execute."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=[platform.tag for platform in PLATFORMS])
    arguments = parser.parse_args()
    chosen = [platform for platform in PLATFORMS if arguments.only in (None, platform.tag)]
    folder: Path = arguments.folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as temporary:
        release(chosen, folder.resolve(), Path(temporary))


def release(platforms: list[Platform], folder: Path, temporary: Path) -> None:
    """Build the source archive, from it the wheels, and see that they are as they must be.

    Args:
        platforms: For what.
        folder: Where to.
        temporary: An empty folder.

    Raises:
        SystemExit: If something is wrong.
    """
    archive = build.source_archive(folder)
    _same(archive, build.source_archive(temporary / "again"))
    sources = build.unpacked(archive, temporary / "sources")
    print(f"{archive.name}: {archive.stat().st_size:,} bytes, twice the same", flush=True)
    wheels = []
    for number, platform in enumerate(platforms):
        # Once from the archive and once from the repository, in folders of other names.
        wheel = build.wheel(sources, platform, temporary / f"first-{number}")
        _same(wheel, build.wheel(ROOT, platform, temporary / f"second-{number}"))
        if faults := check.faults(wheel, platform, [temporary]):
            raise SystemExit(f"error: {wheel.name} " + "; ".join(faults))
        wheels.append(Path(shutil.copy(wheel, folder)))
        checked = f"{wheel.stat().st_size:,} bytes, twice the same, checked"
        print(f"{wheel.name}: {checked}; {_installed(platform, wheel)}", flush=True)
    bill = folder / archive.name.replace(".tar.gz", ".cdx.json")
    bill.write_text(sbom.document(wheels), encoding="utf-8")
    print(f"{bill.name}: what they are made of")


def _same(one: Path, other: Path) -> None:
    if one.name != other.name or one.read_bytes() != other.read_bytes():
        raise SystemExit(f"error: {one.name} has other bytes when it is built again")


def _installed(platform: Platform, wheel: Path) -> str:
    """Install a wheel, and test one that this machine can run."""
    with tempfile.TemporaryDirectory() as environment:
        if platform.tag not in {tag.platform for tag in sys_tags()}:
            seconds = execute.install_elsewhere(wheel, platform.tag, Path(environment))
            return f"installed for that platform in {seconds:.1f} s, not executed"
        python, seconds = execute.install(wheel, Path(environment))
        if platform.target:
            said = execute.tested(python, "test_native.py", "not every_float32")  # which takes minutes
        else:
            said = execute.tested(python, "test_library.py", "without_it and (missing or every_front_end)")
    return f"installed in an empty environment in {seconds:.1f} s, {said}"


if __name__ == "__main__":
    main()
