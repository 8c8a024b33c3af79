"""A hook of MkDocs that makes MathML of formulas while the site is built: a browser asks nobody for anything."""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

# What pymdownx.arithmatex leaves of $...$ and of $$...$$, in its generic form.
_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
# A browser may break a line after a formula: then Chinese punctuation would begin the next.
_BEFORE_PUNCTUATION = re.compile(r"<math(?:(?!</math>).)*</math>[，。：；、？！）》”]+", re.DOTALL)
_BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)


def on_page_content(content: str, /, **_: Any) -> str:
    r"""Typeset a page.

    Args:
        content: Its HTML.

    Returns:
        It with MathML in the place of LaTeX.

    Examples:
        >>> typeset = on_page_content(r'<span class="arithmatex">\(g^2\)</span>')
        >>> "<msup><mi>g</mi><mn>2</mn></msup>" in typeset
        True
        >>> on_page_content(r'<span class="arithmatex">\(g\)</span>，一个数')[-18:]
        '</math>，</span>一个数'
    """
    content = _INLINE.sub(lambda found: convert(html.unescape(found[1])), content)
    content = _BEFORE_PUNCTUATION.sub(r'<span class="together">\g<0></span>', content)
    return _BLOCK.sub(lambda found: _scrolling(convert(html.unescape(found[1]), display="block")), content)


def _scrolling(formula: str) -> str:
    return f'<div class="formula" tabindex="0">{formula}</div>'
