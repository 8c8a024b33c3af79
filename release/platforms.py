"""For what there are wheels: one row per platform."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Platform:
    """A platform that a wheel is built for.

    Args:
        tag: The platform tag of the wheel.
        target: What Zig calls it; empty for the wheel without a library.
        imports: The libraries of the system that the kernel may need, as the beginnings of their names.
    """

    tag: str
    target: str = ""
    imports: tuple[str, ...] = ()

    @property
    def wheel_tag(self) -> str:
        """The whole tag."""
        return f"py3-none-{self.tag}"


_GLIBC = ("libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "ld-linux-")
_WINDOWS = ("KERNEL32.dll", "api-ms-win-crt-")
_MACOS = ("/usr/lib/libSystem.B.dylib",)

PLATFORMS = (
    Platform("manylinux_2_17_x86_64", "x86_64-linux-gnu.2.17", _GLIBC),
    Platform("manylinux_2_17_aarch64", "aarch64-linux-gnu.2.17", _GLIBC),
    Platform("musllinux_1_2_x86_64", "x86_64-linux-musl", ("libc.musl-x86_64.so.1", "libc.so")),
    Platform("musllinux_1_2_aarch64", "aarch64-linux-musl", ("libc.musl-aarch64.so.1", "libc.so")),
    Platform("macosx_11_0_arm64", "aarch64-macos.11.0", _MACOS),
    Platform("macosx_11_0_x86_64", "x86_64-macos.11.0", _MACOS),
    Platform("win_amd64", "x86_64-windows-gnu", _WINDOWS),
    Platform("win_arm64", "aarch64-windows-gnu", _WINDOWS),
    Platform("any"),
)
