"""`rmsprop convert` as a person and a script use it: what it prints, what it leaves, how it fails."""

import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from rmsprop import checkpoint
from rmsprop.cli.group import rmsprop


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments, code=0):
    result = CliRunner().invoke(rmsprop, ["convert", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return result


def fails(message, *arguments):
    result = run(*arguments, code=2)
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert not result.stdout


def arrays(path):
    with np.load(path) as archive:
        return dict(archive)


def stepped(momentum=0.9, **settings):
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.RMSprop(model.parameters(), lr=0.1, momentum=momentum, **settings)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.ones(4, 3)).square().sum().backward()
        optimizer.step()
    return optimizer


@pytest.fixture
def run_pt():
    optimizer = stepped()
    torch.save({"epoch": 3, "optimizer": optimizer.state_dict()}, "run.pt")
    return optimizer


def test_a_conversion_tells_what_it_did(run_pt):
    result = run("run.pt", "run.npz", "--from", "torch", "--to", "optax")
    assert result.stdout == "run.npz: Optax, 2 parameters of torch.optim.RMSprop\n"
    notes = result.stderr.splitlines()
    assert all(line.startswith("note: ") for line in notes)
    assert any("multiplied by the learning rate 0.1" in note and "exactly while" in note for note in notes)
    saved = arrays("run.npz")
    np.testing.assert_array_equal(saved["0/nu/0"], run_pt.state_dict()["state"][0]["square_avg"])
    buffer = run_pt.state_dict()["state"][0]["momentum_buffer"].double()
    np.testing.assert_allclose(saved["2/trace/0"], -0.1 * buffer, rtol=6e-8)


def test_there_and_back(run_pt):
    run("run.pt", "there.npz", "--to", "optax")
    given = ("--decay", 0.99, "--eps", 1e-8, "--momentum", 0.9, "--lr", 0.1)
    run("there.npz", "back.pt", "--from", "optax", "--to", "torch", "--eps-outside-sqrt", *given)
    back, own = torch.load("back.pt", weights_only=True), run_pt.state_dict()
    for number, state in own["state"].items():
        for name, value in state.items():
            torch.testing.assert_close(back["state"][number][name], value, rtol=2e-7, atol=0.0)
    for name in ("lr", "alpha", "eps", "momentum", "centered", "weight_decay", "params"):
        assert back["param_groups"][0][name] == own["param_groups"][0][name]
    stepped().load_state_dict(back)


def test_names_from_a_file(run_pt):
    Path("names.json").write_text(json.dumps({"0": "dense/kernel", "1": "dense/bias"}))
    run("run.pt", "run", "--to", "tensorflow1", "--names", "names.json", "--transpose", "0")
    loaded = checkpoint.load("run")
    assert {p.name: p.shape for p in loaded.parameters} == {"dense/kernel": (3, 2), "dense/bias": (2,)}
    Path("names.json").write_text(json.dumps(["w", "b"]))
    run("run.pt", "list.npz", "--to", "numpy", "--names", "names.json")
    assert "w/square_avg" in arrays("list.npz")
    Path("names.json").write_text("{")
    fails("names.json can't be read as JSON", "run.pt", "x.npz", "--to", "numpy", "--names", "names.json")
    Path("names.json").write_text(json.dumps({"w": 1}))
    fails("must hold a JSON object or list of names", "run.pt", "x.npz", "--to", "numpy", "--names", "names.json")
    Path("names.json").write_text("[]")
    fails("give one of them", "run.pt", "x.npz", "--to", "optax", "--in-order", "--names", "names.json")


def test_a_template_in_order(run_pt):
    checkpoint.save(stepped(0.0), "like.npz", "numpy", names=["w", "b"], notes=[])
    fails("has a momentum buffer", "run.pt", "out.npz", "--to", "numpy", "--like", "like.npz", "--in-order")
    run("run.pt", "out.npz", "--to", "numpy", "--like", "like.npz", "--in-order", "--momentum", 0)
    assert "w/square_avg" in arrays("out.npz")


def test_what_is_there_is_replaced_only_by_force(run_pt):
    run("run.pt", "run.npz", "--to", "numpy")
    before = Path("run.npz").read_bytes()
    fails("run.npz exists already", "run.pt", "run.npz", "--to", "numpy", "--lr", 0.5)
    assert Path("run.npz").read_bytes() == before
    run("run.pt", "run.npz", "--to", "numpy", "--lr", 0.5, "--force")
    assert arrays("run.npz")["lr"] == 0.5


def test_one_line_per_failure(run_pt):
    torch.save({"a": run_pt.state_dict(), "b": run_pt.state_dict()}, "two.pt")
    fails(
        "several optimizer state dicts: say which with --key; it is one of 'a', 'b'", "two.pt", "out.pt", "--to", "timm"
    )
    run("two.pt", "out.pt", "--to", "timm", "--key", "b")
    fails("nothing.pt does not exist", "nothing.pt", "x.pt", "--to", "timm")
    fails(
        "it is given as 'timm', but it is of torch.optim.RMSprop", "run.pt", "x.pt", "--from", "timm", "--to", "torch"
    )
    fails("Invalid --lr: -1", "run.pt", "x.pt", "--to", "timm", "--lr", -1)
    fails("Invalid --decay: 3", "run.pt", "x.pt", "--to", "timm", "--decay", 3)
    fails("Missing option '--to'", "run.pt", "x.pt")
    fails("there is no checkpoint format 'adam': choose one of torch, timm", "run.pt", "x.pt", "--to", "adam")
    fails("with --like", "run.pt", "x.keras", "--to", "keras")
    Path("cut.pt").write_bytes(Path("run.pt").read_bytes()[:-10])
    fails("cut.pt is not a whole zip archive", "cut.pt", "x.pt", "--to", "timm")


def test_as_a_process(run_pt, tmp_path):
    """A torch checkpoint needs neither JAX nor TensorFlow to become another's."""
    code = (
        "import sys; sys.argv = ['rmsprop', 'convert', 'run.pt', 'run.npz', '--to', 'optax']\n"
        "from rmsprop.cli import main\n"
        "try: main()\n"
        "finally: print({'jax', 'keras', 'tensorflow', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "set()"
    fails("doesn't say decay, eps, momentum, lr", "run.npz", "x.pt", "--to", "torch")
    assert not (tmp_path / "x.pt").exists()


def test_the_help_names_every_format():
    said = {word.strip(",;") for word in run("--help").stdout.split()}
    assert set(checkpoint.FORMATS) <= said


def test_a_checkpoint_under_a_temporary_name(run_pt):
    Path("run.pt").rename("o.pt.tmp")
    run("o.pt.tmp", "o.pt", "--from", "torch", "--to", "timm")
    assert sorted(os.listdir()) == ["o.pt", "o.pt.tmp"]


def test_a_disk_that_takes_no_more_is_one_line_and_exit_code_1(run_pt):
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "sys.argv = ['rmsprop', 'convert', 'run.pt', sys.argv[1], '--to', sys.argv[2]]\n"
        "from rmsprop.cli import main; main()"
    )
    for out, form in (("o.pt", "timm"), ("o.safetensors", "optax")):
        done = subprocess.run([sys.executable, "-c", code, out, form], capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr.startswith(f"error: {out} can't be written")
        assert done.stderr.count("\n") == 1
    assert os.listdir() == ["run.pt"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_end_in_the_middle_leaves_nothing(number, run_pt, monkeypatch):
    handler = signal.getsignal(signal.SIGTERM)

    def half(_, file):
        file.write(b"half")
        signal.raise_signal(number)

    monkeypatch.setattr(torch, "save", half)
    stderr = run("run.pt", "o.pt", "--to", "timm", code=130).stderr
    assert stderr.strip() == "error: interrupted before it was done"
    assert os.listdir() == ["run.pt"]
    assert signal.getsignal(signal.SIGTERM) is handler


def test_other_programs_warnings_are_left_out(run_pt, monkeypatch):
    load = torch.load

    def warning(*args, **options):
        warnings.warn("TypedStorage is deprecated", UserWarning, stacklevel=2)
        return load(*args, **options)

    monkeypatch.setattr(torch, "load", warning)
    with warnings.catch_warnings(record=True) as shown:
        run("run.pt", "o.pt", "--to", "timm")
    assert not shown


def test_input_that_is_no_file_is_bad_input(run_pt):
    os.mkfifo("pipe.pt")
    fails("pipe.pt is not a regular file", "pipe.pt", "x.pt", "--to", "timm")
    fails("can't be read: File name too long", "x" * 300 + ".pt", "x.pt", "--to", "timm")
    fails("is not the name of a file", "", "x.pt", "--to", "timm")
    fails("is not the name of a file", "run.pt", "", "--to", "timm")
    torch.save(run_pt.state_dict(), "plain.pt")
    fails("leave out --key", "plain.pt", "x.pt", "--to", "timm", "--key", "a.b")
    for name, form in (("one.npz", "numpy"), ("one.safetensors", "optax"), ("two.npz", "rmsprop.jax")):
        run("run.pt", name, "--to", form)
        fails("there is one optimizer in it, so leave out --key", name, "x.pt", "--to", "timm", "--key", "a")
    state = checkpoint.load("run.pt")
    with pytest.raises(checkpoint.CheckpointError, match="one optimizer in it, so leave out key"):
        checkpoint.convert(state, "timm", key="a")
    fails("nesterov=True needs a momentum", "run.pt", "x.npz", "--to", "optax", "--momentum", 0, "--nesterov")


# What a person typed, and what it says in words of the command line. `files` makes what is named.
TYPED = [
    ("two.pt o.pt --to timm", "several optimizer state dicts: say which with --key; it is one of 'a', 'b'"),
    ("run.pt o.pt --to timm --key a", "under 'a': it is one of 'optimizer'"),
    ("run.pt taken --to timm", "taken exists already: give another name, or replace it with --force"),
    ("run.pt run.pt --to timm", "run.pt exists already: give another name, or replace it with --force"),
    ("run.pt folder --to timm --force", "folder is a folder: give the name of a file"),
    ("run.pt nowhere/o.pt --to timm", "there is no folder nowhere: make it first"),
    ("run.pt run.pt/o.pt --to timm", "run.pt is not a folder"),
    ("run.pt /dev/null --to timm --force", "/dev/null is not a regular file"),
    ("run.pt o.npz --to torch", "o.npz ends in .npz, but PyTorch's checkpoints end in .pt or .pth"),
    ("run.pt o.pt --to optax", "o.pt has no suffix .npz or .safetensors"),
    ("run.pt o.pt --to numpy", "o.pt has another suffix than .npz"),
    ("run.pt o.keras --to keras", "a .keras or .h5 file of the model, with --like FILE"),
    ("run.pt o.keras --to keras --like run.pt", "run.pt is a PyTorch checkpoint, not a .keras or .h5 file"),
    ("run.pt o.pt --to torch --like folder", "folder is a folder: give a checkpoint file"),
    ("run.pt o.pt --to torch --like none.pt", "none.pt does not exist"),
    ("run.pt o --to keras_legacy", "give one with --like FILE"),
    ("folder o.pt --to timm", "folder is a folder: give a checkpoint file"),
    ("empty.pt o.pt --to timm", "empty.pt is empty"),
    ("text o.pt --to timm", "it can't be told from text what it is: give its format with --from, one of torch, timm"),
    ("weights.npz o.pt --to timm", "weights.npz has no optimizer's state in it, only arrays called 'w'"),
    ("old.pt o.pt --to timm", "give its format with --from, such as 'torch' or 'sb3'"),
    ("adam.npz o.pt --to timm", "if it is that, give --from optax"),
    ("run.pt o.npz --to numpy --in-order", "--in-order needs a target that lists its parameters: give one with --like"),
    ("run.pt o.npz --to numpy --like w.npz", 'with --names FILE (a JSON object such as {"source": "target"})'),
    ("run.pt o.npz --to numpy --like w.npz", "or --in-order if both are in the same order"),
    ("run.pt o.npz --to numpy --like w.npz --in-order", "or pass --momentum 0 to go on without"),
    ("run.pt o.npz --to numpy --transpose 7", "--transpose names '7', but the checkpoint has '0', '1'"),
    ("run.pt o.npz --to numpy --lr-in-momentum", "but --lr-in-momentum was given"),
    ("run.pt o.npz --to numpy --names none.json", "none.json can't be read: No such file or directory"),
    ("run.pt o.npz --to numpy --names run.pt", "run.pt can't be read as JSON: it is not text"),
    ("jax.npz o.pt --to torch", "pass them (--decay, --eps, --momentum, --lr), or give the optimizer that is to go on"),
    ("jax.npz o.pt --to torch --decay 0.9 --eps 1e-8 --lr 1", "pass it (--momentum)"),
    ("named.npz o.pt --to torch --decay 0.9 --eps 0 --lr 1 --momentum 0", 'FILE (a JSON object such as {"b": "0"})'),
    ("run.pt o.npz --to numpy --step 99999999999999999999", "Invalid step: 99999999999999999999 (allowed: a whole"),
    ("run.pt o.npz --to numpy --lr nan", "Invalid --lr: nan"),
    ("run.pt o.npz --to numpy --bogus", "No such option '--bogus'"),
    ("run.pt", "Missing argument 'OUT'"),
]  # fmt: skip


@pytest.fixture
def files(run_pt):
    state = run_pt.state_dict()
    torch.save({"a": state, "b": state}, "two.pt")
    old = {key: value for key, value in state["param_groups"][0].items() if key not in ("maximize", "capturable")}
    torch.save({**state, "param_groups": [{k: v for k, v in old.items() if k != "differentiable"}]}, "old.pt")
    for name, content in {"empty.pt": "", "taken": "mine", "text": "a,b"}.items():
        Path(name).write_text(content)
    os.mkdir("folder")
    np.savez("weights.npz", w=np.ones(2))
    np.savez("adam.npz", **{"0/mu/w": np.ones(2), "0/nu/w": np.ones(2), "0/count": np.array(3)})
    np.savez("named.npz", **{"0/nu/b": np.ones(2), "0/nu/a": np.ones(2)})
    checkpoint.save(stepped(0.0), "w.npz", "numpy", names=["w", "b"], notes=[])
    checkpoint.save(run_pt, "jax.npz", "optax", notes=[])
    return sorted(os.listdir())


@pytest.mark.parametrize(("typed", "said"), TYPED, ids=[typed for typed, _ in TYPED])
def test_what_went_wrong_is_said_in_words_of_the_command_line(typed, said, files):
    fails(said, *typed.split())
    assert sorted(os.listdir()) == files
    assert Path("taken").read_text() == "mine"


@pytest.mark.parametrize("words", ["with key", "with like", "with names", "names=", "momentum=0", "format=", "like="])
def test_no_message_speaks_of_pythons_keywords(words, files):
    for typed, _ in TYPED:
        assert words not in run(*typed.split(), code=2).stderr


def test_in_and_out_can_be_one_file(run_pt):
    run("run.pt", "run.pt", "--to", "timm", "--force")
    assert checkpoint.load("run.pt").format == "timm"
    run("run.pt", "run.pt", "--to", "timm", "--force", "--like", "run.pt")
    np.testing.assert_array_equal(
        checkpoint.load("run.pt").parameters[0].arrays["square_avg"], run_pt.state_dict()["state"][0]["square_avg"]
    )
    assert os.listdir() == ["run.pt"]


def test_a_state_of_nan_is_noted(run_pt):
    state = run_pt.state_dict()
    state["state"][0]["square_avg"].fill_(float("nan"))
    torch.save(state, "nan.pt")
    notes = run("nan.pt", "o.pt", "--to", "timm").stderr
    assert "note: the state has numbers that are NaN or infinite: square_avg of '0' (all of 6)" in notes


def test_notes_speak_of_options(run_pt):
    run("run.pt", "run", "--to", "tensorflow1")
    notes = run("run", "o.pt", "--to", "rmsprop.torch", "--lr", 1, "--decay", 0.9, "--eps", 0, "--momentum", 0.9).stderr
    assert "pass --centered if it is the average gradient" in notes


def test_what_eight_bits_of_bitsandbytes_lose_is_noted():
    param = torch.ones(5000, requires_grad=True)
    optimizer = torch.optim.RMSprop([param], lr=0.1)
    param.grad = torch.logspace(-4, 0, 5000)
    optimizer.step()
    torch.save(optimizer.state_dict(), "run.pt")
    result = run("run.pt", "theirs.pt", "--to", "bitsandbytes")
    assert result.stdout == "theirs.pt: bitsandbytes, 1 parameters of torch.optim.RMSprop\n"
    assert "note: v of 1 of 1 parameters is rounded to bitsandbytes' 8-bit code: 0 of its 5000" in result.stderr
    assert "a 32-bit state of bitsandbytes, given with --like FILE, keeps every bit" in result.stderr
    wide = torch.load("theirs.pt")
    wide["state"][0] = {"step": 1, "state1": torch.zeros(5000)}
    torch.save(wide, "wide.pt")
    assert not run("run.pt", "o.pt", "--to", "bitsandbytes", "--like", "wide.pt").stderr
    assert torch.equal(torch.load("o.pt")["state"][0]["state1"], optimizer.state[param]["square_avg"])


def test_an_output_that_may_not_be_written(run_pt, monkeypatch):
    create = os.open

    def refused(path, flags, *mode):
        if flags & os.O_CREAT:
            raise PermissionError(13, "Permission denied")
        return create(path, flags, *mode)

    monkeypatch.setattr(os, "open", refused)
    assert run("run.pt", "o.pt", "--to", "timm", code=1).stderr.startswith("error: o.pt can't be written")
    assert os.listdir() == ["run.pt"]


def test_an_input_that_may_not_be_read(run_pt, monkeypatch):
    def refused(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refused)
    fails("run.pt can't be read: Permission denied", "run.pt", "o.pt", "--to", "timm")


def test_what_compiled_code_writes_stays_off_the_terminal(run_pt):
    code = (
        "import os, sys; from rmsprop import checkpoint; load = checkpoint.load\n"
        "def loud(*a, **k): os.write(2, b'noise'); return load(*a, **k)\n"
        "checkpoint.load = loud; sys.argv = ['rmsprop', 'convert', 'run.pt', 'o.pt', '--to', 'timm']\n"
        "from rmsprop.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert "noise" not in done.stderr
    assert all(line.startswith("note: ") for line in done.stderr.splitlines())
