"""What the wheels are made of, in CycloneDX's format: this package, and what Zig links into its library."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from release.build import committed

# Of each a part, as Zig ships it in source form.
LINKED_IN = {
    "libc++": "Apache-2.0 WITH LLVM-exception",
    "libc++abi": "Apache-2.0 WITH LLVM-exception",
    "libunwind": "Apache-2.0 WITH LLVM-exception",
    "compiler-rt of Zig": "MIT",
    "mingw-w64 run time (Windows only)": "ZPL-2.1",
}


def document(wheels: list[Path]) -> str:
    """Return the bill of materials of wheels.

    Args:
        wheels: The wheels, of one version.

    Returns:
        JSON; the same for the same wheels.
    """
    (own,) = {wheel.name.split("-")[1] for wheel in wheels}
    hashes = {wheel.name: sha256(wheel.read_bytes()).hexdigest() for wheel in wheels}
    components = [_file(name, digest) for name, digest in hashes.items()]
    components += [_library(name, license) for name, license in LINKED_IN.items()]
    components.append(_requirement("numpy", ">=2.0", "BSD-3-Clause"))
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, json.dumps(hashes))}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(int(committed()), UTC).isoformat(),
            "component": {
                "type": "library",
                "bom-ref": "rmsprop",
                "name": "rmsprop",
                "version": own,
                "purl": f"pkg:pypi/rmsprop@{own}",
                "licenses": [{"expression": "Apache-2.0"}],
            },
        },
        "components": components,
        "dependencies": [{"ref": "rmsprop", "dependsOn": [each["bom-ref"] for each in components]}],
    }
    return json.dumps(bill, indent=2, ensure_ascii=False) + "\n"


def _file(name: str, digest: str) -> dict[str, Any]:
    return {"type": "file", "bom-ref": name, "name": name, "hashes": [{"alg": "SHA-256", "content": digest}]}


def _library(name: str, license: str) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": re.sub(r"\W+", "-", name),
        "name": name,
        "version": f"as in Zig {version('ziglang')}",
        "licenses": [{"expression": license}],
    }


def _requirement(name: str, versions: str, license: str) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": name,
        "name": name,
        "description": f"Required at run time: {name}{versions}; not part of the wheels",
        "scope": "required",
        "purl": f"pkg:pypi/{name}",
        "licenses": [{"expression": license}],
    }
