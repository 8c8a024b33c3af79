"""The site's two languages: a small site is built with the hook, and looked at."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HOOK = Path(__file__).parents[1] / "docs" / "generate" / "languages.py"
CONFIGURATION = f"""\
site_name: small
theme: {{name: material, font: false, features: [navigation.footer]}}
hooks: ["{HOOK}"]
nav: [Home: index.md, Rule: rule.md, 中文: [首页: index.zh.md, 为什么: learn/why.zh.md], Why: learn/why.md]
"""
PAGES = {
    "index.md": "# Home\n",
    "rule.md": "# Rule\n",
    "learn/why.md": "# Why\n\n![One](../one.svg)\n",
    "index.zh.md": "# 首页\n\n[规则](rule.md)\n",
    "learn/why.zh.md": "# 为什么\n\n![一](../one.svg)\n",
    "one.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The HTML of each page, by its address."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "docs" / "learn").mkdir(parents=True)
    (folder / "mkdocs.yml").write_text(CONFIGURATION, encoding="utf-8")
    for name, text in PAGES.items():
        (folder / "docs" / name).write_text(text, encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"],
        cwd=folder,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        check=True,
    )
    pages = (folder / "site").rglob("index.html")
    return {page.parent.relative_to(folder / "site").as_posix(): page.read_text(encoding="utf-8") for page in pages}


def test_chinese_pages_lie_in_a_folder_of_their_own(site):
    assert sorted(site) == [".", "learn/why", "rule", "zh", "zh/learn/why"]
    assert 'src="../../../one.svg"' in site["zh/learn/why"]
    assert 'href="../rule/"' in site["zh"]


@pytest.mark.parametrize(
    ("page", "language", "search"),
    [
        (".", "en", "Search"),
        ("learn/why", "en", "Search"),
        ("rule", "en", "Search"),
        ("zh", "zh", "搜索"),
        ("zh/learn/why", "zh", "搜索"),
    ],
)
def test_a_page_has_one_language(site, page, language, search):
    assert re.search(r'<html lang="(.*?)"', site[page])[1] == language
    assert f'placeholder="{search}"' in site[page]


@pytest.mark.parametrize(
    ("page", "links"),
    [
        (".", [(".", "en"), ("zh/", "zh")]),
        ("learn/why", [("./", "en"), ("../../zh/learn/why/", "zh")]),
        ("zh/learn/why", [("../../../learn/why/", "en"), ("./", "zh")]),
        ("rule", []),  # there is no Chinese one, so no switch that would lead elsewhere
    ],
)
def test_a_page_leads_to_itself_in_the_other_language(site, page, links):
    assert re.findall(r'<a href="(\S+)" hreflang="(\w+)"', site[page]) == links
    assert re.findall(r'<link rel="alternate" href="(\S+)" hreflang="(\w+)"', site[page]) == links


@pytest.mark.parametrize(
    ("page", "menu"),
    [("rule", ["Home", "Rule", "中文", "首页", "为什么", "Why"]), ("zh/learn/why", ["首页", "为什么"])],
)
def test_the_menu_of_a_chinese_page_is_chinese(site, page, menu):
    navigation = re.search(r"<nav [^>]*md-nav--primary.*?(?=md-sidebar--secondary)", site[page], re.DOTALL)[0]
    titles = re.findall(r'<span class="md-ellipsis">\s*(\S+)\s', navigation)
    assert [title for number, title in enumerate(titles) if title not in titles[:number]] == menu


@pytest.mark.parametrize(
    ("page", "neighbours"),
    [("rule", ["Home"]), ("zh", ["为什么"]), ("zh/learn/why", ["首页"]), ("learn/why", [])],
)
def test_who_reads_on_stays_in_one_language(site, page, neighbours):
    footer = re.search(r"<footer.*?</footer>", site[page], re.DOTALL)[0]
    assert re.findall(r'<div class="md-ellipsis">\s*(\S+)\s', footer) == neighbours
