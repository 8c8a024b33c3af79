"""The recorder's file: nothing in it is lost, and nothing that is no record is taken for one."""

import math
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from lab.recorder.loops import loop, perceptron
from torch import nn

import rmsprop.torch
from rmsprop.lab import Recorder
from rmsprop.lab.errors import InputError
from rmsprop.lab.recorder import budget
from rmsprop.lab.recorder.file import read

KILLED = """
import os, signal, sys, torch
from rmsprop.lab import Recorder
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.RMSprop(model.parameters())
recorder = Recorder(optimizer, sys.argv[1], model=model, every=1)
for step in range(50):
    loss = model(torch.ones(1, 4)).square().mean()
    recorder.loss(loss)
    loss.backward()
    optimizer.step()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_loses_no_line_and_a_torn_one_is_ignored(path):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    whole = read(path)
    assert [row.step for row in whole.statistics] == list(range(1, 51))
    with path.open("ab") as file:
        file.write(b'{"step":51,"lr":0.0')
    assert repr(read(path)) == repr(whole)  # NaN equals nothing
    optimizer = torch.optim.RMSprop([nn.Parameter(torch.ones(1))])
    Recorder(optimizer, path, existing="continue").close()
    assert len(read(path).losses) == len(whole.losses)


def test_a_run_taken_up_from_a_checkpoint_replaces_what_came_after_it(path):
    model = perceptron()
    optimizer = rmsprop.torch.RMSprop(model.parameters())
    with Recorder(optimizer, path, model=model, every=1) as recorder:
        loop(model, optimizer, 4, recorder)
        saved = optimizer.state_dict()
        loop(model, optimizer, 4, recorder)
    again = rmsprop.torch.RMSprop(model.parameters())
    again.load_state_dict(saved)
    for state in again.state.values():
        state["step"].fill_(4)
    with Recorder(again, path, model=model, every=1, existing="continue") as recorder:
        loop(model, again, 2, recorder)
    recording = read(path)
    assert [row.step for row in recording.losses] == [1, 2, 3, 4, 5, 6]
    assert [row.step for row in recording.statistics] == [1, 2, 3, 4, 5, 6]


def test_a_file_that_is_there_is_refused_replaced_or_continued(path):
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.1)
    Recorder(optimizer, path).close()
    with pytest.raises(InputError, match="exists already: give another path, or existing='continue'"):
        Recorder(optimizer, path)
    Recorder(optimizer, path, existing="replace").close()
    path.write_text("epoch,loss\n1,2\n")
    for existing in ("continue", "replace"):
        with pytest.raises(InputError, match="is not a recorder's file"):
            Recorder(optimizer, path, existing=existing)
    assert path.read_text() == "epoch,loss\n1,2\n"


@pytest.mark.parametrize("existing", ["continue", "replace"])
def test_two_recorders_do_not_write_one_file(path, existing):
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.1)
    with Recorder(optimizer, path) as recorder:
        with pytest.raises(InputError, match="another recorder is writing"):
            Recorder(optimizer, path, existing=existing)
        recorder.loss(1.0)
        optimizer.step()
    Recorder(optimizer, path, existing="continue").close()
    assert len(read(path).losses) == 1


def test_a_long_run_makes_a_small_file(path, monkeypatch):
    monkeypatch.setattr(budget, "perf_counter", lambda: 0.0)
    from rmsprop.lab.recorder.losses import LossBuffer

    buffer, rows = LossBuffer(0), 0
    for step in range(1, 100_001):
        buffer.current.append(1.0)
        if step >= buffer.row_ends:
            buffer.end_row(step)
        if step % 5000 == 0:
            rows += len((buffer.take() or {"steps": []})["steps"])
    assert rows < 500 * (2 + math.log(100_000 / 500))


@pytest.mark.parametrize("steps", [2, 300])
@pytest.mark.parametrize("every", [1, None])
def test_a_full_disk_does_not_stop_the_loop(path, steps, every):
    if not Path("/dev/full").exists():
        pytest.fail("this system has no /dev/full to write to")
    model = perceptron()
    optimizer = rmsprop.torch.RMSprop(model.parameters())
    recorder = Recorder(optimizer, path, model=model, every=every)
    loop(model, optimizer, steps, recorder)
    recorder._file.close()
    with Path("/dev/full").open("wb", buffering=0) as full:
        recorder._file = full
        with pytest.warns(RuntimeWarning, match="can't be written any more: No space left on device") as warned:
            loop(model, optimizer, 300, recorder)
        recorder.validation(loss=1.0)
    recorder.close()
    assert len(warned) == 1
    assert optimizer.state[model[0].weight]["step"] == steps + 300
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks


def test_a_full_disk_leaves_the_hooks_of_others_alone(path):
    model = perceptron()
    optimizer = torch.optim.Adam(model.parameters())
    recorder, heard = Recorder(optimizer, path, model=model, every=1), []
    optimizer.register_step_post_hook(lambda *_: heard.append(1))
    recorder._file.close()
    with Path("/dev/full").open("wb", buffering=0) as full:
        recorder._file = full
        with pytest.warns(RuntimeWarning, match="can't be written any more"):
            loop(model, optimizer, 5, recorder)
    assert len(heard) == 5
    recorder.close()
    assert len(optimizer._optimizer_step_post_hooks) == 1


LAYER = '{"name":"a","size":1,"dtype":"float32","weights":true,"averages":null}'
HEADER = f'{{"record":1,"from":0,"optimizer":"x","groups":[{{}}],"layers":[{LAYER}]}}\n'
LOSSES = '{"steps":[1],"loss":[1],"largest":[1],"lr":1}\n'
MEASURED = '{"step":1,"lr":1,"layers":{"gradient":[1]}}\n'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds nothing: no step was recorded"),
        ('{"step": 1}\n', "its first line doesn't say what is recorded"),
        ("hello\n", "a line isn't JSON"),
        ('{"record": 99}\n', "was written by another version of rmsprop"),
        ('{"record": 1}\n', "is damaged"),
        (HEADER.replace("{}", '{"decay":"hm"}'), "is damaged: could not convert string to float: 'hm'"),
        (HEADER + '{"step":1,"lr":1,"layers":{"gradient":[1,2]}}\n', "step 1 doesn't have a number for each layer"),
        (HEADER + MEASURED + '{"step":2,"lr":1,"layers":{"ratio":[1]}}\n', "step 2 doesn't have the statistics"),
        (HEADER.replace('"name":"a",', ""), "a layer's name is missing or of the wrong type"),
        (HEADER.replace("true", "1"), "a layer's weights is missing or of the wrong type"),
        (HEADER.replace("null", "[]"), "a layer's averages is missing or of the wrong type"),
        (HEADER.replace('"from":0', '"from":-1'), "the step to begin from is no whole number"),
        (HEADER.replace("[{}]", "{}"), "groups is no list"),
        (HEADER + LOSSES.replace("[1],", f"[1{'0' * 400}],"), "a step is no whole number from 0 on"),
        (HEADER + LOSSES.replace('"lr":1', '"lr":[1]'), "a list, an object or a truth value stands"),
        (HEADER + LOSSES.replace(',"lr":1', ""), "a line lacks 'lr'"),
        (HEADER + '{"step":1,"validation":[1]}\n', "a validation is no object with names"),
        (HEADER + "[1]\n", "a line is no object with names"),
        (HEADER + "[" * 100_000 + "\n", "a line isn't JSON"),
    ],
)
def test_what_is_no_record_is_refused(path, content, message):
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read(path)


def test_a_number_of_any_number_of_digits_is_infinite(path):
    path.write_text(HEADER + LOSSES.replace('"loss":[1]', f'"loss":[-1{"0" * 400}]'))
    assert read(path).losses[0].mean == -math.inf


@pytest.mark.parametrize("existing", ["continue", "replace"])
@pytest.mark.parametrize("end", [0, 5, 19, 40, -1])
def test_a_file_torn_in_its_first_line_can_be_replaced(path, existing, end):
    path.write_text(HEADER[:end])
    with Recorder(torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.1), path, existing=existing):
        pass
    assert read(path).optimizer.endswith("SGD")
