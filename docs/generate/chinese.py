"""The record of what the Chinese pages translate: each section of the English pages, as it read then.

A test compares the English pages with it, so that an edit of theirs doesn't leave a translation behind unseen. When a
translation has been looked at again, ``python -m docs.generate.chinese PAGE ...`` records the page's sections.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECORD = Path(__file__).with_suffix(".json")
COMMAND = "python -m docs.generate.chinese"
SUFFIX = ".zh.md"

Record = dict[str, dict[str, str]]  # page -> title of a section -> fingerprint


def translation(page: Path) -> Path:
    """The Chinese page of an English one, whether it exists or not."""
    return page.with_name(page.name.removesuffix(".md") + SUFFIX)


def translated() -> list[Path]:
    """The English pages that have a Chinese one, README first."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in pages if translation(page).exists()]


def name(page: Path) -> str:
    """A page's path in the repository."""
    return page.relative_to(ROOT).as_posix()


def sections(text: str) -> list[tuple[int, str, str]]:
    r"""The sections of a page, without their blocks of code.

    Args:
        text: The page.

    Returns:
        The level of each section's heading, the heading and what follows; first, at level 0, what stands before any.

    Examples:
        >>> sections("# Title\nText.\n## Part\n```\n# code\n```\nMore.\n")
        [(0, '', ''), (1, 'Title', 'Text.\n'), (2, 'Part', 'More.\n')]
    """
    prose = re.sub(r"^```.*?^```\n", "", text, flags=re.MULTILINE | re.DOTALL)
    first, *parts = re.split(r"^(#+) (.*)\n", prose, flags=re.MULTILINE)
    return [(0, "", first), *((len(parts[i]), parts[i + 1], parts[i + 2]) for i in range(0, len(parts), 3))]


def fingerprints(page: Path) -> dict[str, str]:
    """What each section of a page says, as a number that changes with its words and not with its line breaks."""
    words: dict[str, list[str]] = {}
    for _, title, prose in sections(page.read_text(encoding="utf-8")):
        words.setdefault(title, []).extend(prose.split())
    return {title: hashlib.sha256(" ".join(prose).encode()).hexdigest()[:12] for title, prose in words.items()}


def read() -> Record:
    """The record: of each translated page, what its sections said when they were translated."""
    record: Record = json.loads(RECORD.read_text(encoding="utf-8"))
    return record


def write(pages: list[Path]) -> None:
    """Record pages as translated, and forget those that have no translation any more.

    Args:
        pages: English pages.
    """
    record = read() | {name(page): fingerprints(page) for page in pages}
    kept = {name(page): record[name(page)] for page in translated() if name(page) in record}
    RECORD.write_text(json.dumps(kept, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> None:
    """Record the pages that are named, or say which can be."""
    pages = [Path(argument).resolve() for argument in arguments]
    if not pages or not {*pages} <= {*translated()}:
        sys.exit(f"usage: {COMMAND} PAGE ..., with pages out of: {', '.join(map(name, translated()))}")
    write(pages)


if __name__ == "__main__":
    main(sys.argv[1:])
