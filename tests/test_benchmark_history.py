"""The store of benchmarks, its page, and the logs that are kept. Numbers are made up, but for the committed ones."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from benchmarks import __main__ as command
from benchmarks import history
from benchmarks.summary import Row
from docs.generate import benchmarks as generated

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
OUTDATED = "run python -m docs.generate.benchmarks docs"
ABOUT = {"date": "2026-12-01", "cpu": "Made Up", "cpus": 4, "commit": "abc1234", "torch": "2.15.0", "threads": 2}


def row(contender, median, times_ours):
    return Row(contender, *[median] * 4, *[times_ours] * 3, median, times_ours)


def results(*rows, **about):
    return SimpleNamespace(environment=ABOUT | about, summaries={"mlp": {"rows": rows}})


def stored(path, *runs):
    for found in runs:
        history.append(history.entries(found), path)
    return history.read(path)


def test_a_run_is_appended_and_read_again(tmp_path):
    first, second = (results(row("rmsprop", s, 1.0), row("foreach", 3e-6, 3e-6 / s)) for s in (1e-6, 2e-6))
    one, other = stored(tmp_path / "history.jsonl", first, second)
    assert one.run == ("2026-12-01", "Made Up, 4 CPUs", "abc1234")
    assert (one.case, one.versions) == ("mlp", {"torch": "2.15.0"})
    assert (one.seconds, one.times_ours) == ({"rmsprop": 1e-6, "foreach": 3e-6}, {"rmsprop": 1.0, "foreach": 3.0})
    assert other.times_ours["foreach"] == 1.5
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(("options", "kept"), [([], 1), (["--quick"], 0)], ids=["measured", "quick"])
def test_what_is_measured_goes_to_the_store_and_what_is_quick_does_not(options, kept, tmp_path, monkeypatch):
    found = results(row("rmsprop", 1e-6, 1.0))
    monkeypatch.setattr(command, "_run", lambda *_: (found, {}))
    monkeypatch.setattr(command, "_written", lambda _: {})
    monkeypatch.setattr(command.report, "show", lambda *_: None)
    monkeypatch.setattr(command.torch, "set_num_threads", lambda _: None)
    monkeypatch.setattr(history, "HISTORY", tmp_path / "history.jsonl")
    history.append([], history.HISTORY)
    run = CliRunner().invoke(command.main, [*options, "--results", str(tmp_path / "results")], catch_exceptions=False)
    assert run.exit_code == 0
    assert history.read(history.HISTORY) == history.entries(found)[:kept]


def test_the_page_compares_runs_of_one_machine(tmp_path):
    entries = stored(
        tmp_path / "history.jsonl",
        results(row("rmsprop", 1e-6, 1.0), row("foreach", 3e-6, 3.0), row("compiled", 2e-6, 2.0)),
        results(row("rmsprop", 9e-6, 1.0), row("foreach", 9e-6, 1.0), cpu="Another", date="2026-12-02"),
        results(row("rmsprop", 2e-6, 1.0), row("composite", 1e-6, 0.5), row("foreach", 5e-6, 2.5), date="2026-12-03"),
    )
    page = generated.page(entries)
    assert "3. 2026-12-03, commit abc1234, Made Up, 4 CPUs\n" in page
    # Not the other machine's 9 µs, and not this package's own tensor operations.
    assert "| MLP 64–64–64–10: 6 tensors, 9 k | 2.00 µs | 1.00 µs | foreach, 2.50× | – |\n" in page
    assert page.count("benchmarks-") == 1  # the picture of PyTorch: nothing was measured elsewhere
    assert "`o` is Made Up, 4 CPUs; `s` is Another, 4 CPUs" in page


def test_the_picture_has_a_line_per_contender_and_machine(tmp_path):
    runs = [results(row("rmsprop", 1e-6, 1.0), row("foreach", 3e-6, 3.0), row("kahan", 1e-6, 1.0))]
    runs += [results(row("rmsprop", 1e-6, 1.0), row("foreach", 3e-6, 3.0), cpu="Another")]
    entries = stored(tmp_path / "history.jsonl", *runs)
    drawn = generated.picture("torch", entries).decode()
    assert drawn == generated.picture("torch", entries).decode()
    assert drawn.count("1000 tensors") == 0
    assert drawn.count("MLP 64–64–64–10") >= 1
    assert set(re.findall(r"<text [^>]*>(foreach|Kahan|for-loop)<", drawn)) == {"foreach"}
    other = stored(tmp_path / "other.jsonl", runs[0])
    assert generated.fingerprint("torch", entries) != generated.fingerprint("torch", other)


def test_the_committed_page_and_pictures_show_the_store():
    entries = history.read(history.HISTORY)
    assert (DOCS / generated.PAGE).read_text(encoding="utf-8") == generated.page(entries), OUTDATED
    libraries = re.findall(r"\(benchmarks-(.*?)\.svg\)", generated.page(entries))
    assert len(libraries) == 5
    for library in libraries:
        drawn = (DOCS / f"benchmarks-{library}.svg").read_text(encoding="utf-8")
        assert f">{generated.fingerprint(library, entries)}<" in drawn, OUTDATED


def test_no_log_is_kept_that_no_page_cites():
    pages = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *DOCS.glob("*.md")))
    kept = {path.name for path in (ROOT / "benchmarks" / "results").iterdir()}
    assert kept == {name for name in kept if f"{name}`" in pages or f"{name}/" in pages}
