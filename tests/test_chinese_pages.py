"""Chinese pages: they have the headings, code, formulas, numbers, tables, pictures and links of the English ones.

What only a reader can compare, the words, is guarded by a record: an English section that was edited fails here until
its translation has been looked at again.
"""

import re
from pathlib import PurePosixPath

import pytest

from docs.generate import chinese

PAGES = chinese.translated()
MUST_BE_CHINESE = ["README.md", "docs/index.md", "docs/explain-page.md"]
LEARN = [path for path in (chinese.ROOT / "docs" / "learn").glob("*.md") if not path.name.endswith(chinese.SUFFIX)]

PLAYED = (chinese.ROOT / "src/rmsprop/lab/explain/texts/zh.json").read_text(encoding="utf-8")  # the page to play with

# One word per thing: in English, in Chinese, and what isn't written for it.
GLOSSARY = [
    ("learning rate", "学习率", "学习速率|学习速度|步长率"),
    ("decay", "衰减率", "衰减系数|衰减因子"),
    ("weight decay", "权重衰减", "权值衰减"),
    ("gradient", "梯度", "斜度"),
    ("length of a step", "步长", "步幅|步伐"),
    ("loss", "损失", "代价函数|误差函数"),
    ("weight of a network", "权重", "权值"),
    ("optimizer", "优化器", "优化算子"),
    ("momentum", "动量", "冲量"),
    ("minibatch", "小批量", "迷你批|小批次"),
    ("exponentially weighted average", "指数加权平均", "指数加权均值|指数(?:移动|滑动)平均"),
    ("moving average", "移动平均", "滑动(?:平均|均值)"),
    ("bias correction", "偏差修正", "偏差(?:校正|纠正)|偏置(?:修正|校正)"),
    ("warm-up", "预热", "热身"),
    ("hot start", "过热的起步", "热启动"),
    ("schedule", "学习率调度", "学习率(?:计划|策略)"),
    ("ravine, valley", "山谷", "峡谷|沟壑"),
    ("surface", "曲面", "表面"),
    ("path", "路径", "路线"),
    ("window", "窗口", "窗宽|时间窗"),
    ("half-life", "半衰期", "半寿命"),
    ("to leak (of an average)", "遗忘", "泄漏|漏掉"),
    ("preconditioner", "预条件", "预处理|预调节"),
    ("centered", "中心化", "居中|去均值"),
    ("overfitting", "过拟合", "过度拟合"),
    ("validation", "验证", "校验"),
    ("epoch", "轮", "周期|世代|纪元"),
    ("seed", "种子", "随机数源"),
    ("root mean square", "均方根", "方均根"),
    ("dialect", "方言", "变种"),
    ("recipe", "配方", "菜谱|食谱"),
    ("checkpoint", "检查点", "存档点|快照"),
    ("kernel", "内核", "核函数"),
    ("bit", "位", "比特"),
    ("from scratch", "从零开始实现", "从零开始写|从头实现"),
    ("strengths and weaknesses", "优点与缺点", "长处|短处|优势与劣势"),
    ("extra (of a package)", "可选依赖", "附加项|额外依赖"),
    ("the reader", "您", "你"),
]

each_page = pytest.mark.parametrize("page", PAGES, ids=chinese.name)


def both(page):
    """A page's text in English and in Chinese."""
    return [path.read_text(encoding="utf-8") for path in (page, chinese.translation(page))]


def same(page, take):
    """The sections of a page in which something else is found in Chinese, with what is found in both."""
    pairs = zip(*map(chinese.sections, both(page)), strict=True)
    found = [(title, take(prose), take(translated)) for (_, title, prose), (*_, translated) in pairs]
    return [each for each in found if each[1] != each[2]]


def slug(heading):
    """The anchor of a heading: GitHub's, and the site's."""
    return re.sub(r"[^\w\s-]", "", heading.lower()).strip().replace(" ", "-")


def target(link, page):
    """Where the Chinese page of ``page`` should point for a link of the English one."""
    file, _, anchor = link.partition("#")
    if "://" in file:
        return link
    aim = (page.parent / file).resolve() if file else page
    if aim == chinese.translation(page):  # the README's link to the other language
        return page.name
    if aim not in PAGES:
        return link
    if anchor:
        english, translated = ([title for _, title, _ in chinese.sections(text)] for text in both(aim))
        anchor = "#" + slug(translated[[*map(slug, english)].index(anchor)])
    return (str(PurePosixPath(file).with_name(chinese.translation(aim).name)) if file else "") + anchor


def links(text):
    return re.findall(r"(?<!!)\[(?:[^][]|\[[^]]*\])*\]\(([^)]+)\)", re.sub(r"`[^`\n]*`", "`", text))


def spans(prose):
    return sorted(re.findall(r"`[^`\n]+`", prose))


def formulas(prose):
    prose = re.sub(r"`[^`\n]*`", "", prose)
    return sorted(re.findall(r"\$\$\n.*?\n\$\$|(?<!\$)\$(?=[^\s$])[^$\n]+?(?<=\S)\$(?!\$)", prose, re.DOTALL))


def numbers(prose):
    """What is written in digits, but for targets of links."""
    prose = re.sub(r"`[^`\n]*`|\]\([^)]*\)", "", prose)
    return sorted(re.findall(r"\d+(?:[.,]\d+)*", prose))


def pictures(prose):
    return re.findall(r"!\[.+?\]\((.*?)\)", prose, re.DOTALL)


def tables(prose):
    """How many cells each row of a table has."""
    return [line.replace(r"\|", "").count("|") for line in prose.splitlines() if line.startswith("|")]


def lists(prose):
    """The items of lists: bullets, and numbers."""
    return re.findall(r"^ *(-|\d+\.) ", prose, re.MULTILINE)


def test_these_pages_are_chinese():
    assert {*MUST_BE_CHINESE, *map(chinese.name, LEARN)} <= {*map(chinese.name, PAGES)}


def test_the_chinese_menu_has_the_order_of_the_english_one():
    menu = (chinese.ROOT / "mkdocs.yml").read_text(encoding="utf-8").split("\nnav:\n")[1]
    english, translated = (re.findall(r"(\S+)\.md$", part, re.MULTILINE) for part in menu.split("\n  - 中文:\n"))
    there = [page for page in english if chinese.translation(chinese.ROOT / "docs" / f"{page}.md").exists()]
    assert translated == [f"{page}.zh" for page in there]


@each_page
def test_headings_are_those_of_the_english_page(page):
    english, translated = ([level for level, *_ in chinese.sections(text)] for text in both(page))
    assert translated == english


@each_page
def test_code_is_that_of_the_english_page(page):
    english, translated = (re.findall(r"^```.*?^```$", text, re.MULTILINE | re.DOTALL) for text in both(page))
    assert translated == english


@each_page
@pytest.mark.parametrize("take", [formulas, spans, numbers, pictures, tables, lists], ids=lambda take: take.__name__)
def test_a_section_has_what_the_english_one_has(page, take):
    assert same(page, take) == []


@each_page
def test_links_point_to_chinese_pages_where_there_are_any(page):
    for (_, title, prose), (*_, translated) in zip(*map(chinese.sections, both(page)), strict=True):
        assert sorted(links(translated)) == sorted(target(link, page) for link in links(prose)), title


@each_page
def test_it_is_chinese(page):
    """Each section and each picture's description has Chinese in it, and Chinese punctuation after it."""
    text, han = both(page)[1], r"[\u4e00-\u9fff]"
    parts = [prose for *_, prose in chinese.sections(text)[1:] if prose.strip()]
    assert [words for words in parts + re.findall(r"!\[(.*?)\]\(", text) if not re.search(han, words)] == []
    assert re.findall(rf".{{0,9}}{han}[,.;:?!]", "".join(parts)) == []


@each_page
def test_bold_type_ends_where_github_sees_it(page):
    """CommonMark sees no end or beginning of bold type in ``**`` between a letter outside and punctuation inside."""
    prose = "".join(prose for *_, prose in chinese.sections(both(page)[1]))
    for left, words, right in re.findall(r"(\w?)\*\*([^*\n]+)\*\*(\w?)", prose):
        assert words[0].isalnum() or not left, words
        assert words[-1].isalnum() or not right, words


@pytest.mark.parametrize(("english", "written", "avoided"), GLOSSARY)
def test_one_word_per_thing(english, written, avoided):
    text = "\n".join(both(page)[1] for page in PAGES)
    assert re.findall(f".{{0,9}}(?:{avoided}).{{0,9}}", text + PLAYED) == [], f"{english} is {written}"


@each_page
def test_the_translation_is_of_what_the_english_page_says_now(page):
    translation, name = chinese.name(chinese.translation(page)), chinese.name(page)
    recorded, now = chinese.read().get(name, {}), chinese.fingerprints(page)
    edited = [f'"{title}"' for title in now | recorded if now.get(title) != recorded.get(title)]
    assert not edited, (
        f"{name} was edited since it was translated, in {', '.join(edited)}: bring that up to date in {translation},"
        f" then record it: {chinese.COMMAND} {name}"
    )


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A repository of two pages, one of them in Chinese as well, recorded."""
    monkeypatch.setattr(chinese, "ROOT", tmp_path)
    monkeypatch.setattr(chinese, "RECORD", tmp_path / "chinese.json")
    (tmp_path / "docs").mkdir()
    for name in ("README.md", "docs/why.md", "docs/why.zh.md"):
        (tmp_path / name).write_text("# One\n\nFirst\nline.\n\n```\ncode\n```\n\n## Two\n\nText.\n", encoding="utf-8")
    (tmp_path / "chinese.json").write_text('{"docs/gone.md": {"One": "0123456789ab"}}', encoding="utf-8")
    chinese.main([str(tmp_path / "docs" / "why.md")])
    return tmp_path


def test_the_record_has_the_pages_that_are_named_and_forgets_those_that_are_gone(small):
    page = small / "docs" / "why.md"
    assert chinese.translated() == [page]
    assert chinese.read() == {"docs/why.md": chinese.fingerprints(page)}
    assert [*chinese.fingerprints(page)] == ["", "One", "Two"]


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("First\nline.", "First line.", []),
        ("code", "other code", []),  # what code a page has is compared itself
        ("First", "Next", ["One"]),
        ("Text.", "Text!", ["Two"]),
        ("## Two", "## Three", ["Three"]),
        ("# One", "Before.\n\n# One", [""]),
    ],
)
def test_a_fingerprint_changes_with_the_words_of_its_section(small, old, new, changed):
    page = small / "docs" / "why.md"
    page.write_text(page.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    recorded = chinese.read()["docs/why.md"]
    assert [title for title, number in chinese.fingerprints(page).items() if recorded.get(title) != number] == changed


@pytest.mark.parametrize("named", [[], ["README.md"], ["docs/why.md", "docs/gone.md"]])
def test_only_translated_pages_can_be_recorded(small, named):
    before = chinese.read()
    with pytest.raises(SystemExit, match=r"^usage: python -m docs\.generate\.chinese PAGE \.\.\., .*: docs/why\.md$"):
        chinese.main([str(small / name) for name in named])
    assert chinese.read() == before
