"""A rank that is killed while it saves or in the middle of a step: nothing that was saved is lost."""

import signal

import pytest
import torch
import torch.distributed.checkpoint as dcp
import torch.multiprocessing
from sharding.killed import a_run, content, resume, take_step, train
from torch.distributed.checkpoint import CheckpointException, filesystem

pytestmark = [
    pytest.mark.filterwarnings("ignore:torch.distributed is disabled, unavailable or uninitialized"),
    pytest.mark.filterwarnings("ignore:TypedStorage is deprecated:UserWarning"),
]
TIMEOUT = 200.0  # seconds, for two processes that start and train a few steps, beside others


def trained_until_killed(folder, fate):
    """Return how two ranks ended, one of which was killed."""
    context = torch.multiprocessing.get_context("spawn")
    ranks = [context.Process(target=train, args=(rank, str(folder), fate, fate), daemon=True) for rank in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(TIMEOUT)
    codes = [rank.exitcode for rank in ranks]
    for rank in ranks:
        rank.kill()
    return codes


def test_a_rank_killed_in_mid_save_or_mid_step_loses_nothing_saved(tmp_path, capfd):
    survivor, killed = trained_until_killed(tmp_path, "saving")
    assert killed == -signal.SIGKILL
    assert survivor == 1  # it raises, and does not wait for ever
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-2", "step-3"]
    assert not (tmp_path / "step-3" / ".metadata").exists()

    survivor, killed = trained_until_killed(tmp_path, "stepping")
    assert (survivor, killed) == (1, -signal.SIGKILL)

    model, optimizer = a_run()
    step = resume(model, optimizer, tmp_path)
    whole, its = a_run()
    for each in range(2):
        take_step(whole, its, each)
    assert step == 2
    assert_equal(content(model, optimizer), content(whole, its))


def assert_equal(found, expected):
    torch.testing.assert_close(found["model"], expected["model"], rtol=0, atol=0)
    states = found["optimizer"]["state"], expected["optimizer"]["state"]
    torch.testing.assert_close(*states, rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:Detected an existing checkpoint:UserWarning")
def test_a_save_that_stops_has_spoiled_an_earlier_one_in_its_folder(tmp_path, monkeypatch):
    """Why the page on many processes says to take a fresh folder."""
    run = a_run()
    dcp.save(content(*run), checkpoint_id=tmp_path, no_dist=True)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    take_step(*run, 0)
    write, left = filesystem._write_item, iter(range(3))

    def stopped(*args, **options):
        if next(left, None) is None:
            raise OSError("the disk is full")
        return write(*args, **options)

    monkeypatch.setattr(filesystem, "_write_item", stopped)
    with pytest.raises(CheckpointException):
        dcp.save(content(*run), checkpoint_id=tmp_path, no_dist=True)
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert after[".metadata"] == before[".metadata"]
    assert len(after["__0_0.distcp"]) < len(before["__0_0.distcp"])
