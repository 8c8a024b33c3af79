"""Checkpoints as training programs write them: each file is a row. `recorder` made them."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from rmsprop.checkpoint import CheckpointError, load

RECORDED = Path(__file__).parent / "recorded"
CONTENTS = json.loads((RECORDED / "contents.json").read_text())["contents"]
# File, key, format, the number of the optimizer in it.
ROWS = [
    ("lightning.ckpt", None, "torch", 0),
    ("lightning_two.ckpt", "optimizer_states.0", "torch", 0),
    ("lightning_two.ckpt", "optimizer_states.1", "torch", 1),
    ("hf_trainer_optimizer.pt", None, "torch", 0),
    ("accelerate_optimizer.bin", None, "torch", 0),
    ("sb3.zip", None, "sb3", 0),
    ("sb3_torch.zip", None, "torch", 0),
    ("sb3_several.zip", "actor.optimizer", "torch", 0),
    ("sb3_several.zip", "critic.optimizer", "torch", 1),
    ("timm.pth.tar", None, "timm", 0),
]


@pytest.mark.parametrize(("name", "key", "form", "number"), ROWS)
def test_what_was_written_is_read(name, key, form, number):
    loaded = load(RECORDED / name, key=key)
    assert (loaded.format, loaded.notes) == (form, ())
    expected = CONTENTS[name][number]
    assert len(loaded.parameters) == len(expected)
    for parameter, state in zip(loaded.parameters, expected, strict=True):
        assert parameter.step == state.pop("step")
        assert parameter.arrays.keys() == state.keys()
        for slot, values in state.items():
            np.testing.assert_array_equal(parameter.arrays[slot], np.array(values, np.float32))


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("suffix", ["", ".pt", ".model", ".zip"])
def test_the_name_of_a_file_decides_nothing(name, suffix, tmp_path):
    copy = tmp_path / f"run{suffix}"
    copy.write_bytes((RECORDED / name).read_bytes())
    key = next(key for file, key, *_ in ROWS if file == name)
    assert load(copy, key=key).format == load(RECORDED / name, key=key).format


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("lightning_two.ckpt", "'optimizer_states.0', 'optimizer_states.1'"),
        ("sb3_several.zip", "'actor.optimizer', 'critic.optimizer', 'ent_coef_optimizer'"),
    ],
)
def test_several_optimizers_are_named(name, said):
    with pytest.raises(
        CheckpointError, match=rf"{name}: there are several .* say which with key; it is one of {said}$"
    ):
        load(RECORDED / name)


def test_an_adam_among_them_is_called_one():
    with pytest.raises(CheckpointError, match="not an RMSProp's, but one of Adam or its kin"):
        load(RECORDED / "sb3_several.zip", key="ent_coef_optimizer")


def test_an_agent_that_does_not_say_its_optimizer_is_asked_about(tmp_path):
    with zipfile.ZipFile(RECORDED / "sb3.zip") as old, zipfile.ZipFile(tmp_path / "a.zip", "w") as new:
        for name in old.namelist():
            new.writestr(name, "{}" if name == "data" else old.read(name))
    with pytest.raises(CheckpointError, match=r"a\.zip: it can't be told whose RMSProp this is"):
        load(tmp_path / "a.zip")
    assert load(tmp_path / "a.zip", "sb3").format == "sb3"
