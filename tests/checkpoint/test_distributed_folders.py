"""Folders of torch.distributed.checkpoint that one process saves, and what they are when damaged or made up."""

import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.metadata import MetadataIndex
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
)

from rmsprop.checkpoint import CheckpointError, convert, load, save
from rmsprop.checkpoint.plain_pickles import read_plain
from rmsprop.torch import RMSprop

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled, unavailable or uninitialized")
FORMS = {"nested": StateDictOptions(), "flattened": StateDictOptions(flatten_optimizer_state_dict=True)}
TORCHS = torch.optim.RMSprop
V = "optimizer.state.0.weight.square_avg"
DATA = "__0_0.distcp"


def a_run(cls=TORCHS, **options):
    """Return a model and its optimizer, with a group for each layer, after two steps."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    groups = [{"params": list(layer.parameters()), "lr": 0.1 + number} for number, layer in enumerate(model)]
    optimizer = cls(groups, **options)
    for _ in range(2):
        for param in model.parameters():
            param.grad = torch.randn(param.shape)
        optimizer.step()
    return model, optimizer


def written(folder, run=None, form="nested", **more):
    model, optimizer = run or a_run(momentum=0.9)
    content = {
        "model": get_model_state_dict(model),
        "optimizer": get_optimizer_state_dict(model, optimizer, options=FORMS[form]),
    }
    dcp.save(content | more, checkpoint_id=folder, no_dist=True)
    return folder


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("options", [{}, {"centered": True, "momentum": 0.9}], ids=str)
@pytest.mark.parametrize("cls", [TORCHS, RMSprop], ids=["torch's", "ours"])
def test_a_folder_is_read_as_the_state_dict(cls, options, form, tmp_path):
    model, optimizer = a_run(cls, **options)
    found, expected = load(written(tmp_path / "run", (model, optimizer), form)), load(optimizer.state_dict())
    assert (found.format, found.groups, found.notes) == (expected.format, expected.groups, ())
    assert [each.name for each in found.parameters] == [name for name, _ in model.named_parameters()]
    for each, its in zip(found.parameters, expected.parameters, strict=True):
        assert (each.step, each.group, each.arrays.keys()) == (its.step, its.group, its.arrays.keys())
        for name, array in its.arrays.items():
            np.testing.assert_array_equal(each.arrays[name], array)


@pytest.mark.parametrize("form", FORMS)
def test_a_converted_folder_loads_into_an_optimizer(form, tmp_path):
    model, optimizer = a_run(momentum=0.9)
    folder = written(tmp_path / "run", (model, optimizer), form)
    save(folder, tmp_path / "run.pt", "torch", notes=[])
    fresh = a_run(momentum=0.9)[1]
    fresh.load_state_dict(torch.load(tmp_path / "run.pt"))
    like = convert(optimizer, "torch", like=folder, names="order", notes=[])
    for content in (fresh.state_dict(), like):
        for number, state in optimizer.state_dict()["state"].items():
            torch.testing.assert_close(content["state"][number], state, rtol=0, atol=0)


@pytest.mark.parametrize("form", FORMS)
def test_a_state_dict_that_is_all_there_is(form, tmp_path):
    model, optimizer = a_run()
    content = get_optimizer_state_dict(model, optimizer, options=FORMS[form])
    dcp.save(content, checkpoint_id=tmp_path / "run", no_dist=True)
    assert load(tmp_path / "run").groups == load(optimizer).groups


def test_parameters_that_are_numbers(tmp_path):
    optimizer = a_run(momentum=0.9)[1]
    dcp.save({"optimizer": optimizer.state_dict()}, checkpoint_id=tmp_path / "run", no_dist=True)
    assert [(each.name, each.step) for each in load(tmp_path / "run").parameters] == [(str(n), 2) for n in range(4)]


def test_several_optimizers(tmp_path):
    model, optimizer = a_run()
    folder = written(tmp_path / "run", critic={"optimizer": get_optimizer_state_dict(model, optimizer)})
    with pytest.raises(CheckpointError, match=r"several optimizer state dicts: say which with key; .*'critic.optimi"):
        load(folder)
    assert len(load(folder, key="critic.optimizer").parameters) == 4


def test_what_is_not_an_optimizers_is_not_read(tmp_path):
    folder = written(tmp_path / "run", progress={"epoch": pytest.approx(1)})  # a class that no reader knows
    assert len(load(folder).parameters) == 4
    dcp.save({"model": a_run()[0].state_dict()}, checkpoint_id=tmp_path / "weights", no_dist=True)
    with pytest.raises(CheckpointError, match=r"weights: there is no optimizer state dict .*, only 'model'"):
        load(tmp_path / "weights")


def test_a_folder_of_folders(tmp_path):
    written(tmp_path / "step-1")
    written(tmp_path / "step-2")
    with pytest.raises(CheckpointError, match=r"give one of the distributed checkpoints in it, such as .*step-2$"):
        load(tmp_path)
    with pytest.raises(CheckpointError, match=r"which only the formats of PyTorch's optimizers read"):
        load(tmp_path / "step-2", "keras")


# What is done to a whole checkpoint, by changing its description or its files; each is refused with a sentence.


def unfinished(folder, description):
    (folder / ".metadata").unlink()


def without_data(folder, description):
    (folder / DATA).unlink()


def cut_short(folder, description):
    os.truncate(folder / DATA, 2000)


def flipped(folder, description):
    place = description.storage_data[MetadataIndex(V, [0, 0])]
    content = bytearray((folder / DATA).read_bytes())
    numbers = load(folder).parameters[0].arrays["square_avg"].tobytes()
    content[content.index(numbers, place.offset)] ^= 1
    (folder / DATA).write_bytes(content)


def linked(folder, description):
    shutil.move(folder / DATA, folder.parent / "elsewhere")
    (folder / DATA).symlink_to(folder.parent / "elsewhere")


def description_linked(folder, description):
    shutil.move(folder / ".metadata", folder.parent / "elsewhere")
    (folder / ".metadata").symlink_to(folder.parent / "elsewhere")


def in_the_file(name):
    def change(folder, description):
        description.storage_data[MetadataIndex(V, [0, 0])].relative_path = name

    change.__name__ = name
    return change


def beyond_the_end(folder, description):
    description.storage_data[MetadataIndex(V, [0, 0])].offset = 2**40


def before_the_start(folder, description):
    description.storage_data[MetadataIndex(V, [0, 0])].offset = -1


def twice_the_same_bytes(folder, description):
    mean = MetadataIndex("optimizer.state.0.weight.momentum_buffer", [0, 0])
    description.storage_data[MetadataIndex(V, [0, 0])] = description.storage_data[mean]


def huge(folder, description):
    tensor = description.state_dict_metadata[V]
    tensor.size = tensor.chunks[0].sizes = torch.Size([2**20, 2**20])


def huge_without_chunks(folder, description):
    description.state_dict_metadata[V].size = torch.Size([2**20, 2**20])


def with_a_gap(folder, description):
    description.state_dict_metadata[V].chunks.clear()


def outside(folder, description):
    tensor = description.state_dict_metadata[V]
    tensor.chunks[0].offsets = torch.Size([1, 0])
    description.storage_data[MetadataIndex(V, [1, 0])] = description.storage_data[MetadataIndex(V, [0, 0])]


def overlapping(folder, description):
    """Two chunks of the right number of elements in all, which share some."""
    tensor = description.state_dict_metadata[V]
    places = description.storage_data
    tensor.chunks = [type(tensor.chunks[0])(offsets=torch.Size([row, 0]), sizes=torch.Size([2, 3])) for row in (0, 1)]
    start = (folder / DATA).stat().st_size
    with (folder / DATA).open("ab") as file:
        for row in (0, 1):
            file.seek(0, os.SEEK_END)
            begin = file.tell()
            with (folder / "part").open("wb") as part:
                torch.save(torch.ones(2, 3), part)
            file.write((folder / "part").read_bytes())
            file.flush()
            places[MetadataIndex(V, [row, 0])] = type(places[MetadataIndex("model.0.weight", [0, 0])])(
                DATA, begin, file.tell() - begin
            )
    assert begin > start


def of_another_dtype(folder, description):
    description.state_dict_metadata[V].properties.dtype = torch.bfloat16


def compressed(folder, description):
    description.storage_data[MetadataIndex(V, [0, 0])].transform_descriptors = ["zstd"]


def without_a_place(folder, description):
    del description.storage_data[MetadataIndex(V, [0, 0])]


def two_at_one_place(folder, description):
    description.planner_data[V] = description.planner_data["optimizer.state.0.weight.step"]


def a_value_with_parts(folder, description):
    description.planner_data[V] = ("optimizer", "state", "0.weight", "step", "more")


def a_part_of_a_list_missing(folder, description):
    for name, path in description.planner_data.items():
        if path[1] == "param_groups":
            description.planner_data[name] = (*path[:2], path[2] + 1, *path[3:])


HOSTILE = [
    (unfinished, r"run is a distributed checkpoint that wasn't written to its end: it has no .metadata"),
    (without_data, r"__0_0.distcp is missing, but .metadata names it"),
    (cut_short, r"__0_0.distcp ends before what .metadata says that it holds: it is cut short"),
    (flipped, r"__0_0.distcp is not a whole file of a distributed checkpoint"),
    (linked, r"__0_0.distcp is a symbolic link, which can lead out"),
    (description_linked, r".metadata is a symbolic link, which can lead out"),
    (in_the_file("../secret"), r"names the file '../secret', which can be outside"),
    (in_the_file("/etc/hostname"), r"names the file '/etc/hostname', which can be outside"),
    (in_the_file("sub/part"), r"names the file 'sub/part', which can be outside"),
    (in_the_file(".."), r"names the file '..', which can be outside"),
    (in_the_file("a\0b"), r"names the file 'a\\x00b', which can be outside"),
    (beyond_the_end, r"__0_0.distcp ends before what .metadata says"),
    (before_the_start, r".metadata is not a whole description"),
    (twice_the_same_bytes, r"has two items in the same bytes of __0_0.distcp"),
    (huge, r"has a chunk of shape \(1048576, 1048576\), which is larger than the \d+ bytes it has"),
    (huge_without_chunks, r"don't make up its shape \(1048576, 1048576\), each number once"),
    (with_a_gap, r"chunks of 'optimizer.state.0.weight.square_avg' that don't make up its shape \(4, 3\)"),
    (outside, r"don't make up its shape \(4, 3\)"),
    (overlapping, r"don't make up its shape \(4, 3\), each number once"),
    (of_another_dtype, r"has something else in the place of 'optimizer.state.0.weight.square_avg' than .metadata"),
    (compressed, r"was saved with extensions, which may compress or encrypt: save it again without them"),
    (without_a_place, r".metadata is not a whole description"),
    (two_at_one_place, r".metadata is not a whole description"),
    (a_value_with_parts, r".metadata is not a whole description"),
    (a_part_of_a_list_missing, r".metadata is not a whole description"),
]


@pytest.mark.parametrize(("change", "said"), HOSTILE, ids=[change.__name__ for change, _ in HOSTILE])
def test_what_is_damaged_or_made_up_is_refused(change, said, tmp_path):
    folder = written(tmp_path / "run")
    (tmp_path / "secret").write_bytes((folder / DATA).read_bytes())
    path = folder / ".metadata"
    description = pickle.loads(path.read_bytes())
    before = pickle.dumps(description)
    change(folder, description)
    if (content := pickle.dumps(description)) != before:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=said) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


class Call:
    """What a pickle calls when Python unpickles it."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ("function", "name"), [(os.mkdir, r"\w+.mkdir"), (eval, "builtins.eval"), (getattr, "builtins.getattr")], ids=str
)
@pytest.mark.parametrize("where", ["planner_data", "storage_data", "version"])
def test_a_description_that_would_run_something_is_refused(where, function, name, tmp_path):
    folder = written(tmp_path / "run")
    description = pickle.loads((folder / ".metadata").read_bytes())
    setattr(description, where, Call(function, str(tmp_path / "made")))
    (folder / ".metadata").write_bytes(pickle.dumps(description))
    with pytest.raises(
        CheckpointError, match=rf"holds Python objects \({name}\) that only unpickling would bring back"
    ):
        load(folder)
    assert not Path(tmp_path / "made").exists()


# A dict with a key whose hash takes 2**60 steps: a pair of the tuple before it, again and again.
ENDLESS = b"\x80\x04})" + b"".join(b"\x94h%c\x86" % number for number in range(60)) + b"Ns."


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x",
        b"\x80\x04.",
        b"\x80\x04N.",
        b"cos\nsystem\n.",
        ENDLESS,
        pickle.dumps(3, 0),
    ],
    ids=["empty", "no pickle", "nothing", "None", "an old one", "a key that takes forever", "protocol 0"],
)
def test_a_description_that_is_something_else(content, tmp_path):
    (tmp_path / ".metadata").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"\.metadata is (not a whole description|empty)"):
        load(tmp_path)


def test_every_cut_of_a_description_is_refused(tmp_path):
    folder = written(tmp_path / "run")
    whole = (folder / ".metadata").read_bytes()
    for end in range(0, len(whole), 97):
        (folder / ".metadata").write_bytes(whole[:end])
        with pytest.raises(CheckpointError, match=r"\.metadata is (not a whole description|empty)"):
            load(folder)


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize(
    "value",
    [None, True, -(2**70), 2.5, "ä" * 300, b"x", [], [1], list(range(2000)), {"a": {"b": (1, 2, 3, 4)}, 3: ()}],
    ids=lambda value: repr(value)[:20],
)
def test_plain_data_are_what_pickle_makes_of_them(value, protocol):
    assert read_plain(pickle.dumps(value, protocol), bool) == value
