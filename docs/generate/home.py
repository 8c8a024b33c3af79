"""A hook of MkDocs that puts the page to play with beneath the home of the site.

A Markdown page with ``explain: en`` (or ``zh``) in its head gets what ``rmsprop explain --html`` writes. It is not in a
frame, so that a link to a figure leads there, paper shows all of it, and a phone scrolls one page.
"""

from __future__ import annotations

import re
from typing import Any

from rmsprop.lab.explain.page import page as explanation

_PARTS = re.compile(r"<style>\n(.*?)</style>.*<body>\n(.*)<script>\n(.*)</script>", re.DOTALL)
# What the style says of the whole document, it says here of its own part, which nested CSS calls &.
_DOCUMENT = re.compile(r"(^|(?<=[ ,]))(:root|html|body)(?= \{)")
_SCRIPTED = re.compile(r"(^|(?<=[ ,]))(html:not\(\.script\)|\.script)(?= )")
# A rem of Material's is 1.25 of a browser's; in the condition of a @media it is a browser's here, too.
_REM = re.compile(r"([\d.]+)rem")


def on_post_page(output: str, /, *, page: Any, **_: Any) -> str:
    """Put the explanation into a page that asks for it.

    Args:
        output: The whole HTML of the page.
        page: MkDocs' page, whose ``meta`` has the language.

    Returns:
        The HTML.

    Examples:
        >>> from types import SimpleNamespace
        >>> on_post_page("<html></html>", page=SimpleNamespace(meta={}))
        '<html></html>'
    """
    language = page.meta.get("explain")
    if language is None:
        return output
    style, body = embedded(language)
    return _before("</head>", style, _before("</main>", body, output))


def embedded(language: str) -> tuple[str, str]:
    """Return the explanation as a part of another page.

    Args:
        language: Its language, a key of `rmsprop.lab.explain.LANGUAGES`.

    Returns:
        What belongs into the head, and the part itself, whose headings begin at the second level.
    """
    found = _PARTS.search(explanation(language))  # type: ignore[arg-type]  # another one has no words, and says so
    assert found is not None
    style, body, script = found.groups()
    body = re.sub(r"<(/?)(header|main)>", r"<\1div>", body)
    part = f'<div class="explain" lang="{language}">\n{_lowered(body)}</div>\n'
    return (
        f"<style>\n.explain {{\n{scoped(style)}}}\n</style>\n",
        f"{part}<script>\n(() => {{\n{script}}})();\n</script>\n",
    )


def scoped(style: str) -> str:
    """Return the style of a document as it may stand nested in the rule for a part of one.

    Args:
        style: The style.

    Returns:
        It, for headings one level lower and for Material's lengths.

    Examples:
        >>> scoped("html:not(.script) .skip { margin: 1.25rem }")
        'html:not(.script) & .skip { margin: 1rem }'
    """
    return "".join(line if line.startswith("@media") else _scoped(line) for line in style.splitlines(keepends=True))


def _scoped(line: str) -> str:
    line = _SCRIPTED.sub(r"\2 &", _DOCUMENT.sub("&", line))
    line = _REM.sub(lambda found: f"{0.8 * float(found[1]):.6g}rem", line)
    return re.sub(r"\bh([1-3])(?= \{)", lambda found: f"h{int(found[1]) + 1}", line)


def _lowered(body: str) -> str:
    return re.sub(r"(?<=<)(/?)h([1-3])(?=[ >])", lambda found: f"{found[1]}h{int(found[2]) + 1}", body)


def _before(tag: str, added: str, text: str) -> str:
    head, found, tail = text.rpartition(tag)
    if not found:
        raise ValueError(f"the theme's page has no {tag}, before which the explanation belongs")
    return f"{head}{added}{tag}{tail}"
