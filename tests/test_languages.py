"""The site's two languages: a small site is built with the hook, and looked at."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SEPARATOR = re.search(r"^ +separator: '(.*)'$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)[1]
CONFIGURATION = f"""\
site_name: small
use_directory_urls: false
theme: {{name: material, font: false, features: [navigation.footer]}}
plugins: [search: {{lang: [en, zh], separator: '{SEPARATOR}'}}]
hooks: ["{ROOT / "docs" / "generate" / "languages.py"}"]
nav: [Home: index.md, Rule: rule.md, 中文: [首页: index.zh.md, 为什么: learn/why.zh.md], Why: learn/why.md]
"""
PAGES = {
    "index.md": "# Home\n",
    "rule.md": "# Rule\n",
    "learn/why.md": "# Why\n\n![One](../one.svg)\n",
    "index.zh.md": "# 首页\n\n[规则](rule.md)\n",
    "learn/why.zh.md": "# 为什么\n\n![一](../one.svg)\n\n偏差要修正，梯度有大有小。\n",
    "one.svg": "<svg xmlns='http://www.w3.org/2000/svg'/>",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a small site."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "docs" / "learn").mkdir(parents=True)
    (folder / "mkdocs.yml").write_text(CONFIGURATION, encoding="utf-8")
    for name, text in PAGES.items():
        (folder / "docs" / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    subprocess.run(command, cwd=folder, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=True)
    return folder / "site"


@pytest.fixture(scope="module")
def site(folder):
    """The HTML of each page, by its address."""
    return {page.relative_to(folder).as_posix(): page.read_text(encoding="utf-8") for page in folder.rglob("*.html")}


def test_chinese_pages_lie_in_a_folder_of_their_own(site):
    assert sorted(site) == [
        "404.html",
        "index.html",
        "learn/why.html",
        "rule.html",
        "zh/index.html",
        "zh/learn/why.html",
    ]
    assert 'src="../../one.svg"' in site["zh/learn/why.html"]
    assert 'href="../rule.html"' in site["zh/index.html"]


@pytest.mark.parametrize(
    ("page", "language", "search"),
    [
        ("index.html", "en", "Search"),
        ("learn/why.html", "en", "Search"),
        ("rule.html", "en", "Search"),
        ("zh/index.html", "zh", "搜索"),
        ("zh/learn/why.html", "zh", "搜索"),
    ],
)
def test_a_page_has_one_language(site, page, language, search):
    assert re.search(r'<html lang="(.*?)"', site[page])[1] == language
    assert f'placeholder="{search}"' in site[page]


@pytest.mark.parametrize(
    ("page", "links"),
    [
        ("index.html", [("index.html", "en"), ("zh/index.html", "zh")]),
        ("learn/why.html", [("why.html", "en"), ("../zh/learn/why.html", "zh")]),
        ("zh/learn/why.html", [("../../learn/why.html", "en"), ("why.html", "zh")]),
        ("rule.html", []),  # there is no Chinese one, so no switch that would lead elsewhere
    ],
)
def test_a_page_leads_to_itself_in_the_other_language(site, page, links):
    assert re.findall(r'<a href="(\S+)" hreflang="(\w+)"', site[page]) == links


@pytest.mark.parametrize(
    ("page", "menu"),
    [("rule.html", ["Home", "Rule", "中文", "首页", "为什么", "Why"]), ("zh/learn/why.html", ["首页", "为什么"])],
)
def test_the_menu_of_a_chinese_page_is_chinese(site, page, menu):
    navigation = re.search(r"<nav [^>]*md-nav--primary.*?(?=md-sidebar--secondary)", site[page], re.DOTALL)[0]
    titles = re.findall(r'<span class="md-ellipsis">\s*(\S+)\s', navigation)
    assert [title for number, title in enumerate(titles) if title not in titles[:number]] == menu


@pytest.mark.parametrize(
    ("page", "neighbours"),
    [("rule.html", ["Home"]), ("zh/index.html", ["为什么"]), ("zh/learn/why.html", ["首页"]), ("learn/why.html", [])],
)
def test_who_reads_on_stays_in_one_language(site, page, neighbours):
    footer = re.search(r"<footer.*?</footer>", site[page], re.DOTALL)[0]
    assert re.findall(r'<div class="md-ellipsis">\s*(\S+)\s', footer) == neighbours


def test_nothing_is_asked_to_find_the_other_language(site):
    assert [name for name, page in site.items() if re.search(r'rel="alternate"', page)] == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("偏差修正（bias correction）", ["偏", "差", "修", "正", "（bias", "correction", "）"]),
        ("a step-size", ["a", "step", "size"]),
    ],
)
def test_each_chinese_character_is_a_word_of_the_search(text, words):
    assert [word for word in re.split(SEPARATOR, text) if word] == words
