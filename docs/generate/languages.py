"""A hook of MkDocs for a site in two languages, built at once, so that links between them are checked, too.

A page ``NAME.zh.md`` is the Chinese ``NAME.md``. It lies in the folder ``zh`` of the site, and has the theme's Chinese
words, the menu below the title ``中文``, and a switch to the English page, as that has to it.
"""

from __future__ import annotations

import re
from typing import Any

from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation

MENU = "中文"
NAMES = {"en": "English", "zh": "中文"}
DESCRIPTION = "讲解 RMSProp：它在各个框架里的变体，以及选择设置、评判训练的工具"


def language(file: File) -> str:
    """The language of a page.

    Args:
        file: The page's file.

    Returns:
        Its code.
    """
    return "zh" if file.src_uri.endswith(".zh.md") else "en"


def on_files(files: Files, config: Any) -> Files:
    """Move the Chinese pages into a folder of their own.

    Args:
        files: All files.
        config: MkDocs' configuration.

    Returns:
        The files.
    """
    for file in [each for each in files if language(each) == "zh"]:
        directories = config.docs_dir, config.site_dir, config.use_directory_urls
        english = File(file.src_uri.replace(".zh.md", ".md"), *directories)
        files.remove(file)
        files.append(File(file.src_uri, *directories, dest_uri=f"zh/{english.dest_uri}"))
    return files


def on_nav(nav: Navigation, config: Any, files: Files) -> Navigation:
    """Keep the two menus apart: who reads on doesn't come from the end of the one to the beginning of the other.

    Args:
        nav: The whole menu.
        config: MkDocs' configuration.
        files: All files.

    Returns:
        The menu.
    """
    for page in nav.pages:
        if page.next_page and language(page.file) != language(page.next_page.file):
            page.next_page.previous_page = page.next_page = None
    return nav


def on_page_context(context: Any, page: Any, config: Any, nav: Navigation) -> Any:
    """Set the language of one page.

    Args:
        context: What the theme's templates see.
        page: The page.
        config: MkDocs' configuration, which the templates read as well.
        nav: The whole menu.

    Returns:
        The context.
    """
    config.theme["language"] = language(page.file)
    config.extra["alternate"] = _alternates(page.file, nav)
    if language(page.file) == "zh":
        page.meta.setdefault("description", DESCRIPTION)
        context["nav"] = _chinese(nav)
    return context


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Take away what the theme's script would ask the server for, to guess at an address that the switch has already.

    Args:
        output: The HTML of a page.
        page: The page.
        config: MkDocs' configuration.

    Returns:
        The HTML.
    """
    return re.sub(r'<link rel="alternate"[^>]*hreflang[^>]*>', "", output)


def _chinese(nav: Navigation) -> Navigation:
    (section,) = (item for item in nav.items if item.title == MENU)
    menu = Navigation(section.children, [page for page in nav.pages if language(page.file) == "zh"])
    menu.homepage = menu.pages[0]
    return menu


def _alternates(file: File, nav: Navigation) -> list[dict[str, str]]:
    """The page in both languages, if it is there in both."""
    stem = file.src_uri.removesuffix(".md").removesuffix(".zh")
    urls = {page.file.src_uri: page.url for page in nav.pages}
    sources = {"en": f"{stem}.md", "zh": f"{stem}.zh.md"}
    return [
        {"name": NAMES[code], "link": urls[source], "lang": code}
        for code, source in sources.items()
        if {*sources.values()} <= {*urls}
    ]
