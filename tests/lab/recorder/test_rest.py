"""Rests of the recorder: what it doesn't look at is counted all the same."""

import math
from pathlib import Path

import pytest
import torch
from lab.recorder.loops import loop, perceptron

import rmsprop.torch
from rmsprop.lab import Recorder
from rmsprop.lab.recorder import budget
from rmsprop.lab.recorder.file import read
from rmsprop.lab.recorder.losses import LossBuffer


@pytest.fixture
def slow_machine(monkeypatch):
    """Measure only the steps that are measured in any case, so that there are long rests, and read each loss."""
    monkeypatch.setattr(budget, "ALLOWANCE", 0.0)
    monkeypatch.setattr(budget, "STATISTICS_SHARE", 1e-9)
    monkeypatch.setattr(budget, "READING", 0.0)


def hooks(optimizer):
    return len(optimizer._optimizer_step_pre_hooks) + len(optimizer._optimizer_step_post_hooks)


def train(path, make, steps, losses_of=lambda step: [float(step)], **options):
    """Train something; return what was recorded, and whether the recorder rested after each step."""
    model = perceptron()
    optimizer = make(model.parameters())
    rested = []
    with Recorder(optimizer, path, model=model, **options) as recorder:
        for step in range(1, steps + 1):
            for loss in losses_of(step):
                recorder.loss(loss)
            model(torch.ones(2, 6)).square().sum().backward()
            optimizer.step()
            rested.append(hooks(optimizer) == 0)
    return read(path), rested


COUNTING = [rmsprop.torch.RMSprop, torch.optim.RMSprop, torch.optim.Adam]


def several(step):
    return [float(step), step + 0.5, step + 0.25]


@pytest.mark.usefixtures("slow_machine")
@pytest.mark.parametrize("make", COUNTING)
@pytest.mark.parametrize("losses_of", [lambda step: [float(step)], several], ids=["one", "several"])
def test_what_it_records_is_what_it_would_record_without_rests(tmp_path, make, losses_of):
    found, rested = train(tmp_path / "rested.jsonl", make, 1300, losses_of)
    hooked, awake = train(tmp_path / "hooked.jsonl", make, 1300, losses_of, every=10**6)
    assert sum(rested) > 900
    assert not any(awake)
    assert found.losses == hooked.losses
    assert [row.step for row in found.statistics] == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]


@pytest.mark.usefixtures("slow_machine")
def test_an_optimizer_that_does_not_count_its_steps_is_never_let_go(path):
    found, rested = train(path, torch.optim.SGD, 120)
    assert not any(rested)
    assert [row.step for row in found.losses] == list(range(1, 121))


@pytest.mark.usefixtures("slow_machine")
def test_without_losses_there_is_no_rest(path):
    found, rested = train(path, torch.optim.Adam, 120, lambda step: [])
    assert not any(rested)
    assert [row.step for row in found.statistics] == [1, 2, 5, 10, 20, 50, 100]


@pytest.mark.usefixtures("slow_machine")
@pytest.mark.parametrize("given", [lambda step: step % 30 == 10, lambda step: step % 3 == 1])
def test_losses_now_and_then_leave_no_rest(path, given):
    found, rested = train(path, torch.optim.Adam, 120, lambda step: [float(step)] if given(step) else [])
    assert not any(rested)
    assert [row.step for row in found.statistics] == [1, 2, 5, 10, 20, 50, 100]
    assert [row.mean for row in found.losses] == list(filter(given, range(1, 121)))


@pytest.mark.usefixtures("slow_machine")
def test_when_losses_become_rare_it_rests_once_more_at_most(path):
    def losses_of(step):
        return [float(step)] if step < 300 or step % 10 == 0 else []

    found, rested = train(path, torch.optim.Adam, 5200, losses_of)
    assert any(rested[:300])
    assert not any(rested[2500:])  # up to step 500 it could have waited for 200 losses
    assert found.statistics[-1].step == 5000
    assert sum(not resting for resting in rested[300:]) > 2000


@pytest.mark.usefixtures("slow_machine")
def test_a_loss_that_is_not_finite_ends_a_rest_and_is_in_the_file_at_once(path):
    model = perceptron()
    optimizer = torch.optim.Adam(model.parameters())
    with Recorder(optimizer, path, model=model) as recorder:
        for step in range(1, 301):
            recorder.loss(math.nan if step == 270 else 1.0)
            model(torch.ones(2, 6)).square().sum().backward()
            resting = hooks(optimizer) == 0
            optimizer.step()
            if step == 269:
                assert resting
            if step == 270:
                assert [row.step for row in read(path).losses if math.isnan(row.largest)] == [270]


@pytest.mark.usefixtures("slow_machine")
def test_a_disk_that_is_full_at_the_end_of_a_rest_stops_nothing(path):
    model = perceptron()
    optimizer = torch.optim.Adam(model.parameters())
    recorder = Recorder(optimizer, path, model=model)
    loop(model, optimizer, 30, recorder)
    assert hooks(optimizer) == 0
    recorder._file.close()
    recorder._rest.until = recorder._budget._losses_due = 0.0
    with Path("/dev/full").open("wb", buffering=0) as full:
        recorder._file = full
        with pytest.warns(RuntimeWarning, match="can't be written any more: No space left on device"):
            recorder.loss(math.nan)
    loop(model, optimizer, 3, recorder)
    assert hooks(optimizer) == 0


@pytest.mark.usefixtures("slow_machine")
def test_validation_during_a_rest_belongs_to_the_step_before_it(path):
    model = perceptron()
    optimizer = rmsprop.torch.RMSprop(model.parameters())
    with Recorder(optimizer, path, model=model) as recorder:
        for step in range(1, 101):
            recorder.loss(float(step))
            model(torch.ones(2, 6)).square().sum().backward()
            optimizer.step()
            if step % 7 == 0:
                recorder.validation(loss=0.5)
    found = read(path)
    assert [step for step, _ in found.validation] == list(range(7, 101, 7))
    assert [(row.step, row.mean) for row in found.losses] == [(step, step) for step in range(1, 101)]
    assert [row.step for row in found.statistics] == [1, 2, 5, 10, 20, 50, 100]


@pytest.mark.usefixtures("slow_machine")
def test_a_checkpoint_that_is_loaded_during_a_rest_stops_nothing(path):
    model = perceptron()
    optimizer = rmsprop.torch.RMSprop(model.parameters())
    with Recorder(optimizer, path, model=model) as recorder:
        for step in range(1, 201):
            recorder.loss(float(step))
            model(torch.ones(2, 6)).square().sum().backward()
            optimizer.step()
            if step == 30:
                saved = optimizer.state_dict()
            if step == 80:
                assert hooks(optimizer) == 0
                optimizer.load_state_dict(saved)
    found = read(path)
    assert sorted(row.mean for row in found.losses)[-1] == 200
    assert found.last_step > 100


def test_where_steps_are_tiny_only_some_losses_are_read(path, monkeypatch):
    monkeypatch.setattr(budget, "ALLOWANCE", 0.0)
    monkeypatch.setattr(budget, "STATISTICS_SHARE", 1e-9)
    monkeypatch.setattr(budget, "READING", 1.0)
    monkeypatch.setattr(budget, "READING_SHARE", 1000.0)  # of each step up to 1 ms some are left out
    found, _ = train(path, rmsprop.torch.RMSprop, 450)
    steps = [row.step for row in found.losses]
    assert steps == sorted(set(steps))
    assert 10 < len(steps) < 300
    assert steps[-1] <= 450
    # Which step a loss belongs to is told from how many steps there were; it's at most a rest's worth of them off.
    assert all(abs(row.step - row.mean) < 20 for row in found.losses)
    assert [row.step for row in found.statistics] == [1, 2, 5, 10, 20, 50, 100, 200]


@pytest.mark.parametrize(
    ("losses", "each", "steps", "rows", "left"),
    [
        ([1, 2, 3, 4], 1, 4, [(1, [1]), (2, [2]), (3, [3]), (4, [4])], []),
        ([1, 1, 2, 2, 3], 2, 2, [(1, [1, 1]), (2, [2, 2])], [3]),  # the next step's first of two
        ([1, 1, 2, 2], 1, 2, [(1, [1, 1]), (2, [2, 2])], []),  # more than before
        ([1, 2, 3], 2, 2, [(1, [1]), (2, [2, 3])], []),  # nobody knows
        ([1, 2], 1, 4, [(2, [1]), (4, [2])], []),
        ([], 1, 2, [], []),
    ],
)
def test_losses_are_shared_out_evenly_among_steps(losses, each, steps, rows, left):
    buffer = LossBuffer(0)
    buffer.current = [float(loss) for loss in losses]
    buffer.counted(1, steps, each)
    assert buffer.current == left
    content = buffer.take() or {"steps": [], "loss": [], "largest": []}
    assert content["steps"] == [step for step, _ in rows]
    assert content["loss"] == [sum(row) / len(row) for _, row in rows]
