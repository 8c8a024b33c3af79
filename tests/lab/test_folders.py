"""The folders and files that commands write in: one check, one lock and one wording for all."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from rmsprop import checkpoint
from rmsprop.cli.group import rmsprop
from rmsprop.lab.errors import InputError
from rmsprop.lab.folders import COMPARISON, DIAGNOSIS, LOCK, TUNING, check_file, check_folder, claim_folder
from rmsprop.lab.train.folder import RUN
from rmsprop.numpy import RMSprop

KINDS = {kind.name: kind for kind in (RUN, TUNING, COMPARISON, DIAGNOSIS)}
of_each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


@pytest.fixture(autouse=True)
def things_in_the_way(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RMSPROP_CACHE", "cache")
    Path("file.png").write_text("mine")
    Path("full").mkdir()
    Path("full", "thesis.tex").write_text("years of work")
    Path("folder.png").mkdir()
    Path("nowhere").symlink_to("gone")
    Path("round").symlink_to("round")
    Path("log.csv").write_text("step,loss\n1,3\n2,2\n3,1\n")
    os.mkfifo("pipe.png")


FOLDERS = {
    "a file": ("file.png", "--out file.png is a file: give a folder"),
    "below a file": ("file.png/new/er", "--out file.png/new/er: file.png is a file: give a folder"),
    "a pipe": ("pipe.png", "--out pipe.png is a file: give a folder"),
    "a link that leads nowhere": ("nowhere", "--out nowhere is a link that leads nowhere: give another folder"),
    "below one": ("nowhere/new", "--out nowhere/new: nowhere is a link that leads nowhere: give another folder"),
    "a link to itself": ("round", "--out round is a link that leads nowhere: give another folder"),
    "other files": ("full", "--out full holds other files (thesis.tex): give a new folder, or one of an earlier "),
    "a long name": (f"new/{'x' * 300}", "can't be written (File name too long): give another folder"),
}
WRITERS = {
    "train": ("train", "linear"),
    "tune": ("tune", "linear"),
    "compare": ("compare", "linear"),
    "diagnose": ("diagnose", "log.csv"),
}


def refused(*arguments):
    result = CliRunner().invoke(rmsprop, arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    return result.stderr


@pytest.mark.parametrize(("folder", "message"), FOLDERS.values(), ids=FOLDERS)
@pytest.mark.parametrize("command", WRITERS.values(), ids=WRITERS)
def test_every_command_says_the_same_of_a_folder(command, folder, message):
    before = sorted(Path().rglob("*"))
    assert message in refused(*command, "--out", folder)
    assert sorted(Path().rglob("*")) == before


@of_each_kind
def test_a_folder_that_may_not_be_written_in(kind, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(InputError, match=r"^--out new/er: \. can't be written in: give another folder$"):
        check_folder(Path("new/er"), kind)


@of_each_kind
def test_a_folder_that_may_not_be_read(kind, monkeypatch):
    def denied(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(InputError, match=r"^--out full can't be read \(Permission denied\): give another folder$"):
        check_folder(Path("full"), kind)


@of_each_kind
@pytest.mark.parametrize("name", ["new", "new/er/still", "empty", "link"])
def test_what_is_free_is_taken(kind, name):
    Path("empty").mkdir()
    Path("link").symlink_to("empty")
    with claim_folder(Path(name), kind):
        assert [path.name for path in Path(name).iterdir()] == [LOCK]
        Path(name, kind.marker).write_text('{"settings": 1, "data": 1, "versions": 1}')
    check_folder(Path(name), kind)


@of_each_kind
@pytest.mark.parametrize("other", KINDS.values(), ids=KINDS)
def test_a_folder_is_of_one_kind(kind, other):
    with claim_folder(Path("new"), kind):
        for name in kind.files:
            Path("new", name).write_text('{"settings": 1, "data": 1, "versions": 1}')
    if other is kind:
        check_folder(Path("new"), other)
    else:
        with pytest.raises(InputError, match=rf"holds other files .* one of an earlier {other.name}$"):
            check_folder(Path("new"), other)


@of_each_kind
def test_what_is_only_named_like_ours_is_left_alone(kind):
    name = next(name for name in kind.files if name != kind.marker)
    Path("full", "thesis.tex").rename(Path("full", name))
    with pytest.raises(InputError, match="holds other files"):
        check_folder(Path("full"), kind)
    Path("full", LOCK).touch()  # with the lock, a process of ours began there and was killed
    check_folder(Path("full"), kind)


@of_each_kind
def test_what_a_killed_process_was_writing_is_removed(kind):
    half = Path("new", f".{kind.files[-1]}.0123abcd.tmp")
    half.parent.mkdir()
    half.write_text("{")
    with claim_folder(Path("new"), kind):
        assert not half.exists()


@of_each_kind
@pytest.mark.parametrize("there", [False, True])
def test_a_folder_in_which_nothing_came_to_be_goes_again(kind, there):
    Path("new/er").mkdir(parents=True) if there else None
    with pytest.raises(KeyboardInterrupt), claim_folder(Path("new/er"), kind):
        raise KeyboardInterrupt
    assert Path("new").exists() == there
    assert not there or not list(Path("new/er").iterdir())


def taken(name, kind):
    return claim_folder(Path(name), kind)


HOLD = """
import sys, time
from pathlib import Path
from rmsprop.lab import folders
from rmsprop.lab.train.folder import RUN
kind = {kind.name: kind for kind in (RUN, folders.TUNING, folders.COMPARISON, folders.DIAGNOSIS)}[sys.argv[1]]
with folders.claim_folder(Path("new"), kind):
    print("taken", flush=True)
    time.sleep(60)
"""


@of_each_kind
def test_a_folder_is_for_one_process_until_it_ends_in_any_way(kind):
    process = subprocess.Popen([sys.executable, "-c", HOLD, kind.name], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "taken\n"
        with pytest.raises(InputError, match="another process is running in new: wait for it"), taken("new", kind):
            pass
    finally:
        process.kill()
        process.communicate()
    with taken("new", kind):
        pass


def test_a_diagnosis_of_several_runs_may_be_repeated():
    Path("logs").mkdir()
    for name in ("one", "two"):
        Path("logs", f"{name}.csv").write_text(Path("log.csv").read_text())
    for _ in range(2):
        assert CliRunner().invoke(rmsprop, ["diagnose", "logs", "--out", "there"]).exit_code == 0
        assert sorted(path.name for path in Path("there").iterdir()) == ["one", "two"]
    Path("there/one/diagnosis.html").unlink()  # as a kill would leave it
    check_folder(Path("there"), DIAGNOSIS)
    Path("there/mine").mkdir()
    Path("there/mine/thesis.tex").touch()
    with pytest.raises(InputError, match=r"holds other files \(mine\)"):
        check_folder(Path("there"), DIAGNOSIS)


FILES = {
    "a folder": ("folder.png", "--out folder.png is a folder: give the name of a file"),
    "below a file": ("file.png/new/w.png", "--out file.png/new/w.png: file.png is not a folder: give another name"),
    "below a link that leads nowhere": ("nowhere/w.png", "--out nowhere/w.png: nowhere is not a folder: give another"),
    "no regular file": ("pipe.png", "--out pipe.png is not a regular file: give the name of one"),
    "a long name": (f"{'x' * 300}.png", "can't be written (File name too long): give another name"),
}


@pytest.mark.parametrize(("file", "message"), FILES.values(), ids=FILES)
@pytest.mark.parametrize("command", [("window", "0.9"), ("trajectory", "bowl"), ("predict", "full", "log.csv")])
def test_every_command_says_the_same_of_a_file(command, file, message):
    for path in Path().iterdir():
        if command[0] == "predict" and path.suffix == ".png":  # predictions are CSV
            path.rename(path.with_suffix(".csv"))
    swap = (lambda text: text.replace(".png", ".csv")) if command[0] == "predict" else str
    assert swap(message) in refused(*command, "--out", swap(file))


@pytest.mark.parametrize(("file", "message"), FILES.values(), ids=FILES)
def test_a_checkpoint_is_a_file_like_others(file, message):
    for path in Path().iterdir():
        if path.suffix == ".png":
            path.rename(path.with_suffix(".npz"))
    message = message.removeprefix("--out ").replace(".png", ".npz")
    out = file.replace(".png", ".npz")
    checkpoint.save(RMSprop([np.ones(2)], lr=0.1), "run.npz", "numpy")
    assert message in refused("convert", "run.npz", out, "--to", "numpy")


def test_a_file_may_replace_one_and_its_folder_need_not_be_there(monkeypatch):
    for name in ("file.png", "new/er/w.png", "w.png"):
        check_file(Path(name))
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(InputError, match=r"^--out new/w\.png: \. can't be written in: give another name$"):
        check_file(Path("new/w.png"))
