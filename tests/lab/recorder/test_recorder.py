"""The recorder on real loops: it changes nothing, breaks nothing, keeps nothing, and what it says is so."""

import gc
import math
import sys
import weakref
from contextlib import nullcontext

import pytest
import torch
from dialects.timm_optimizers import RMSpropTF
from lab.recorder.loops import loop, perceptron
from timm.optim import Adafactor, AdafactorBigVision, Adan, Lamb, NvNovoGrad
from torch import nn
from torch.nn import functional as F

import rmsprop.torch
from rmsprop import DIALECTS
from rmsprop.lab import Recorder
from rmsprop.lab.errors import InputError
from rmsprop.lab.recorder import losses
from rmsprop.lab.recorder.file import read

OPTIMIZERS = {
    **{f"rmsprop {name}": (lambda p, name=name: rmsprop.torch.RMSprop(p, 1e-2, dialect=name)) for name in DIALECTS},
    "rmsprop centered": lambda p: rmsprop.torch.RMSprop(p, 1e-2, centered=True, momentum=0.9),
    "rmsprop bfloat16": lambda p: rmsprop.torch.RMSprop(p, 1e-2, state_dtype=torch.bfloat16),
    "rmsprop 8bit": lambda p: rmsprop.torch.RMSprop(p, 1e-2, state_dtype="8bit"),
    "torch": lambda p: torch.optim.RMSprop(p, 1e-2),
    "torch centered": lambda p: torch.optim.RMSprop(p, 1e-2, centered=True),
    "adam": lambda p: torch.optim.Adam(p, 1e-2),
    "amsgrad": lambda p: torch.optim.Adam(p, 1e-2, amsgrad=True),
    "adagrad": lambda p: torch.optim.Adagrad(p, 1e-2),
    "adadelta": lambda p: torch.optim.Adadelta(p, 1.0),
    "sgd": lambda p: torch.optim.SGD(p, 1e-2),
    "tensor lr": lambda p: torch.optim.RMSprop(p, torch.tensor(1e-2)),
}


@pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_recorded_loop_has_the_bits_of_one_that_is_not(path, make):
    plain, watched = perceptron(), perceptron()
    loop(plain, make(plain.parameters()), 12)
    optimizer = make(watched.parameters())
    state = torch.get_rng_state()
    with Recorder(optimizer, path, model=watched, every=2) as recorder:
        loop(watched, optimizer, 12, recorder)
    assert torch.equal(torch.get_rng_state(), state)
    for one, other in zip(plain.parameters(), watched.parameters(), strict=True):
        assert torch.equal(one, other)
    assert [row.step for row in read(path).statistics] == [2, 4, 6, 8, 10, 12]


def matrices(parameters):
    return [parameter for parameter in parameters if parameter.ndim == 2]


# Those that take a perceptron's parameters and a learning rate as they are, and those that need something else.
TORCHS = {
    name: cls
    for name, cls in vars(torch.optim).items()
    if isinstance(cls, type) and issubclass(cls, torch.optim.Optimizer) and cls is not torch.optim.Optimizer
}
OTHERS = {"Muon": lambda p, lr: torch.optim.Muon(matrices(p), lr), "SparseAdam": None, "LBFGS": None}
# Of another package, with names of Adam's: a step in the group, one average for a whole tensor, no ε, no betas.
TIMMS = {cls.__name__: cls for cls in (Adafactor, AdafactorBigVision, Adan, Lamb, NvNovoGrad, RMSpropTF)}
KNOWN = {"Adagrad", "Adam", "AdamW", "NAdam", "RAdam", "RMSprop", "RMSpropTF"}


@pytest.mark.parametrize("name", [name for name in TORCHS | TIMMS if OTHERS.get(name, True)])
def test_any_optimizer_is_recorded_and_known_ones_with_their_effective_steps(path, name):
    plain, watched = perceptron(), perceptron()
    make = OTHERS.get(name) or (TORCHS | TIMMS)[name]
    loop(plain, make(plain.parameters(), lr=0.01), 6)
    optimizer = make(watched.parameters(), lr=0.01)
    with Recorder(optimizer, path, model=watched, every=1) as recorder:
        loop(watched, optimizer, 6, recorder)
    for one, other in zip(plain.parameters(), watched.parameters(), strict=True):
        assert torch.equal(one, other)
    row = read(path).statistics[-1]
    assert (row.step, row.lr) == (6, 0.01)
    assert [value > 0 for value in row.values["stride"]] == [True, True]
    assert [math.isfinite(value) for value in row.values["effective_q50"]] == [name in KNOWN] * 2


def test_an_optimizer_that_takes_closures_is_recorded(path):
    model, x = nn.Linear(3, 1), torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        loss.backward()
        return loss

    with Recorder(optimizer, path, model=model, every=1):
        for _ in range(3):
            optimizer.step(closure)
    assert [row.step for row in read(path).statistics] == [1, 2, 3]
    assert len(read(path).losses) == 3


def test_an_optimizer_of_sparse_gradients_is_recorded(path):
    model = nn.Embedding(5, 3, sparse=True)
    optimizer = torch.optim.SparseAdam(model.parameters(), lr=0.1)
    with Recorder(optimizer, path, model=model, every=1) as recorder:
        for _ in range(3):
            optimizer.zero_grad()
            loss = model(torch.tensor([0, 2, 2])).square().sum()
            recorder.loss(loss)
            loss.backward()
            optimizer.step()
    assert [row.step for row in read(path).statistics] == [1, 2, 3]


ROWS = {
    "exact": {},
    "centered": {"centered": True},
    "prepared": {"momentum": 0.9, "weight_decay": 0.1, "weight_decay_mode": "decoupled"},
    "8 bits": {"state_dtype": "8bit"},
    "lazy": {"momentum": 0.9, "sparse": "lazy"},
    "row-wise": {"sparse": "rowwise"},
}


@pytest.mark.parametrize("options", ROWS.values(), ids=ROWS)
def test_rows_that_wait_go_on_waiting_while_they_are_recorded(path, options):
    tables = []
    for records in (True, False):
        torch.manual_seed(0)
        tables.append(nn.Embedding(50, 4, sparse=True))
        optimizer = rmsprop.torch.RMSprop(tables[-1].parameters(), **options)
        with Recorder(optimizer, path, every=1) if records else nullcontext():
            for step in range(30):
                ids = torch.randint(50, (5,), generator=torch.Generator().manual_seed(step))
                optimizer.zero_grad()
                optimizer.prepare(ids)
                tables[-1](ids).square().sum().backward()
                optimizer.step()
        optimizer.prepare()
    assert torch.equal(tables[0].weight, tables[1].weight)


def test_an_optimizer_without_a_learning_rate_of_its_own_is_recorded(path):
    class Automatic(torch.optim.Optimizer):
        """Chooses its steps itself: its groups say None, as those of Transformers' Adafactor do."""

        @torch.no_grad()
        def step(self, closure=None):
            for parameter in self.param_groups[0]["params"]:
                parameter -= 0.1 * parameter.grad

    model = perceptron()
    optimizer = Automatic(model.parameters(), {"lr": None})
    with Recorder(optimizer, path, model=model, every=1) as recorder:
        loop(model, optimizer, 3, recorder)
    assert all(math.isnan(row.lr) and row.values["ratio"][0] > 0 for row in read(path).statistics)


@pytest.mark.parametrize(
    "name",
    [
        *("rmsprop torch", "rmsprop tensorflow1", "rmsprop centered", "rmsprop bfloat16", "rmsprop 8bit"),
        *("torch", "torch centered"),
    ],
)
def test_statistics_are_those_of_the_whole_layer_where_it_is_small(path, name):
    model = perceptron()
    optimizer = OPTIMIZERS[name](model.parameters())
    weights = [p.detach().clone() for p in model.parameters()]
    with Recorder(optimizer, path, model=model, every=1) as recorder:
        loop(model, optimizer, 5, recorder)
        weights = [p.detach().clone() for p in model.parameters()]
        loop(model, optimizer, 1, recorder)
    recording = read(path)
    row, group = recording.statistics[-1].values, optimizer.param_groups[0]
    assert [layer["name"] for layer in recording.layers] == ["0", "2"]
    for i, parameters in enumerate((slice(0, 2), slice(2, 4))):
        layer = list(model.parameters())[parameters]
        moved = torch.cat([(a - b).flatten() for a, b in zip(layer, weights[parameters], strict=True)]).double()
        before = torch.cat([w.flatten() for w in weights[parameters]]).double()
        states = [optimizer.state[p] for p in layer]
        square = torch.cat([s["grad_var" if "grad_var" in s else "square_avg"].flatten() for s in states]).double()
        if group.get("centered") and "grad_var" not in states[0]:
            square = square - torch.cat([s["grad_avg"].flatten() for s in states]).double().square()
        inside = group.get("eps_inside_sqrt", False)
        bottom = (square + group["eps"]).sqrt() if inside else square.sqrt() + group["eps"]
        gradient = torch.cat([p.grad.flatten() for p in layer])
        expected = {
            "gradient": gradient.norm(),
            "effective_q50": (group["lr"] / bottom).median(),
            "ratio": moved.norm() / before.norm(),
            "stride": (moved / group["lr"]).square().mean().sqrt(),
            "still": (gradient == 0).double().mean(),
        }
        for statistic, value in expected.items():
            # A median of an even count lies between two; five digits are written.
            tolerance = 0.1 if statistic == "effective_q50" else 2e-5
            assert row[statistic][i] == pytest.approx(value.item(), rel=tolerance), statistic


def test_the_first_step_is_as_long_as_its_theory_says(path):
    weight = nn.Parameter(torch.ones(10))
    optimizer = rmsprop.torch.RMSprop([weight], lr=0.01)
    with Recorder(optimizer, path, every=1):
        (3.0 * weight).sum().backward()
        optimizer.step()
    values = read(path).statistics[0].values
    assert values["stride"][0] == pytest.approx(10.0, rel=1e-5)  # 1/√(1 − ρ) learning rates
    assert values["gradient"][0] == pytest.approx(3 * math.sqrt(10), rel=1e-5)
    assert math.isnan(values["agreement"][0])


def test_losses_of_steps_and_validations_are_kept_in_order(path):
    model = perceptron()
    optimizer = rmsprop.torch.RMSprop(model.parameters())
    with Recorder(optimizer, path, model=model) as recorder:
        loop(model, optimizer, 5, recorder)
        recorder.validation(loss=0.25, accuracy=torch.tensor(0.5))
        recorder.loss(1.0)
        recorder.loss(2.0)
        optimizer.step()
    recording = read(path)
    assert [row.step for row in recording.losses] == [1, 2, 3, 4, 5, 6]
    assert (recording.losses[-1].mean, recording.losses[-1].largest) == (1.5, 2.0)
    assert recording.validation == [(5, {"loss": 0.25, "accuracy": 0.5})]


def test_a_closure_is_recorded_without_being_asked(path):
    model = perceptron()
    optimizer = torch.optim.RMSprop(model.parameters())
    x, y = torch.ones(4, 6), torch.zeros(4, dtype=torch.long)

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    with Recorder(optimizer, path, model=model, every=1):
        first = optimizer.step(closure)
        optimizer.step(closure=closure)
    recording = read(path)
    assert [row.step for row in recording.losses] == [1, 2]
    assert recording.losses[0].mean == pytest.approx(first.item(), rel=1e-5)
    assert recording.statistics[0].values["gradient"][0] > 0.0


def test_a_loss_that_is_not_finite_is_in_the_file_at_once(path):
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.1)
    recorder = Recorder(optimizer, path)
    recorder.loss(float("nan"))
    optimizer.step()
    assert math.isnan(read(path).losses[0].largest)
    recorder.close()


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"optimizer": nn.Linear(1, 1)}, TypeError, "optimizer is a Linear: give a torch.optim.Optimizer"),
        ({"every": 0}, ValueError, "every is 0: it must be a whole number of steps, at least 1"),
        ({"every": 2.5}, ValueError, "every is 2.5: it must be a whole number of steps, at least 1"),
        ({"existing": "ask"}, ValueError, "existing is 'ask': choose 'refuse', 'continue' or 'replace'"),
        ({"path": "/proc/none/record.jsonl"}, InputError, "can't write /proc/none/record.jsonl"),
    ],
)
def test_what_it_cannot_use_is_said_in_a_sentence(path, given, error, message):
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.1)
    with pytest.raises(error, match=message.replace("(", r"\(")):
        Recorder(**{"optimizer": optimizer, "path": path} | given)
    assert not path.exists()


@pytest.mark.parametrize("value", [None, "a lot", torch.ones(2), torch.ones(1, dtype=torch.complex64), [1.0]])
def test_what_is_no_number_is_no_loss(path, value):
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.1)
    with Recorder(optimizer, path) as recorder:
        with pytest.raises(TypeError, match=r"loss is .*: give a number, or a tensor with one element"):
            recorder.loss(value)
        with pytest.raises(TypeError, match=r"accuracy is .*: give a number, or a tensor with one element"):
            recorder.validation(loss=1.0, accuracy=value)
        with pytest.raises(TypeError, match=r"such as validation\(loss=0.5\)"):
            recorder.validation()
    assert read(path).validation == []


@pytest.mark.parametrize("every", [1, 3, 7])
def test_every_so_many_steps_means_just_those(path, every):
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.1)
    with Recorder(optimizer, path, every=every):
        for _ in range(1200):
            optimizer.step()
    assert [row.step for row in read(path).statistics] == list(range(every, 1201, every))


def test_a_closed_recorder_takes_nothing_and_lets_the_loop_go_on(path):
    model = perceptron()
    optimizer = rmsprop.torch.RMSprop(model.parameters())
    recorder = Recorder(optimizer, path, model=model)
    loop(model, optimizer, 2, recorder)
    recorder.close()
    recorder.close()
    size = path.stat().st_size
    loop(model, optimizer, 2)
    assert path.stat().st_size == size
    with pytest.raises(ValueError, match="the recorder is closed"):
        recorder.loss(1.0)


def test_neither_model_nor_optimizer_is_kept_alive(path):
    model = perceptron()
    optimizer = rmsprop.torch.RMSprop(model.parameters())
    recorder = Recorder(optimizer, path, model=model, every=1)
    loop(model, optimizer, 3, recorder)
    recorder.close()
    watched = weakref.ref(model), weakref.ref(optimizer), weakref.ref(model[0].weight)
    gc.disable()
    try:
        del model, optimizer
        assert [reference() for reference in watched] == [None, None, None]
    finally:
        gc.enable()


def test_an_optimizer_that_is_recorded_can_be_pickled_and_scheduled(path):
    import copy
    import pickle

    model = perceptron()
    optimizer = rmsprop.torch.RMSprop(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    with Recorder(optimizer, path, model=model, every=1) as recorder:
        for _ in range(4):
            loop(model, optimizer, 1, recorder)
            schedule.step()
        pickle.loads(pickle.dumps(optimizer))
        copy.deepcopy(optimizer)
    assert [row.lr for row in read(path).statistics] == pytest.approx([1e-2, 1e-2, 1e-3, 1e-3])


def sparse():
    model = nn.Sequential(nn.Embedding(8, 4, sparse=True))
    return model, torch.optim.SGD(model.parameters(), 0.1), lambda: model(torch.tensor([1, 1, 3])).sum()


def complex_numbers():
    weight = nn.Parameter(torch.ones(3, dtype=torch.complex64))
    return weight, rmsprop.torch.RMSprop([weight]), lambda: (weight * (1 + 2j)).abs().sum()


def sixteen_bits():
    model = nn.Linear(4, 2).bfloat16()
    return model, torch.optim.RMSprop(model.parameters()), lambda: model(torch.ones(1, 4).bfloat16()).sum()


def frozen():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    model[0].requires_grad_(False)
    return model, rmsprop.torch.RMSprop(model.parameters()), lambda: model(torch.ones(1, 4)).sum()


def two_groups():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    groups = [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[1].parameters(), "eps": 1.0}]
    return model, rmsprop.torch.RMSprop(groups, lr=0.01), lambda: model(torch.ones(1, 4)).sum()


def gaps_and_scalars():
    weight = nn.Parameter(torch.ones(6, 6).t()[::2])
    scale, empty = nn.Parameter(torch.tensor(2.0)), nn.Parameter(torch.ones(0))
    return weight, rmsprop.torch.RMSprop([weight, scale, empty]), lambda: (scale * weight).sum() + empty.sum()


def broken():
    weight = nn.Parameter(torch.ones(3))
    return weight, torch.optim.RMSprop([weight]), lambda: (weight * torch.tensor([1.0, math.nan, math.inf])).sum()


@pytest.mark.parametrize("make", [sparse, complex_numbers, sixteen_bits, frozen, two_groups, gaps_and_scalars, broken])
def test_no_kind_of_parameter_or_gradient_stops_the_loop(path, make):
    model, optimizer, loss_of = make()
    with Recorder(optimizer, path, model=model if isinstance(model, nn.Module) else None, every=1) as recorder:
        for _ in range(4):
            optimizer.zero_grad()
            loss = loss_of()
            recorder.loss(loss)
            loss.backward()
            optimizer.step()
    rows = read(path).statistics
    assert [row.step for row in rows] == [1, 2, 3, 4]
    if make is frozen:
        assert math.isnan(rows[-1].values["gradient"][0])
        assert rows[-1].values["gradient"][1] > 0.0
    if make is broken:
        assert rows[-1].values["gradient"] == (math.inf,)
    if make is two_groups:
        assert rows[-1].values["eps"][0] == 0.0
        assert rows[-1].values["eps"][1] > 0.0


def test_parameters_that_are_added_later_are_recorded_from_then_on(path):
    first, second = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))
    optimizer = rmsprop.torch.RMSprop([first])
    with Recorder(optimizer, path, every=1):
        for step in range(4):
            if step == 2:
                optimizer.add_param_group({"params": [second]})
            (first.sum() + second.sum()).backward()
            optimizer.step()
    recording = read(path)
    assert [layer["name"] for layer in recording.layers] == ["parameter0", "parameter1"]
    assert [len(row.values["gradient"]) for row in recording.statistics] == [2, 2]


@pytest.mark.parametrize("kind", [rmsprop.torch.RMSprop, torch.optim.RMSprop])
def test_gradients_of_a_scaled_loss_are_recorded_unscaled(path, kind):
    weight = nn.Parameter(torch.ones(4))
    optimizer = kind([weight], lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with Recorder(optimizer, path, every=1):
        for factor in (1.0, math.inf, 1.0):
            optimizer.zero_grad()
            scaler.scale((factor * weight).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
    rows = read(path).statistics
    assert [row.values["gradient"][0] for row in rows] == [2.0, 2.0]


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # torch's own
@pytest.mark.parametrize("kind", [rmsprop.torch.RMSprop, torch.optim.RMSprop])
def test_a_compiled_step_runs(path, kind):
    weight = nn.Parameter(torch.ones(4))
    optimizer = kind([weight], lr=0.01)
    with Recorder(optimizer, path, every=1):
        step = torch.compile(optimizer.step, backend="eager")
        for _ in range(2):
            weight.grad = torch.ones(4)
            step()
    assert weight[0] < 1.0


@pytest.mark.parametrize(
    "count", [None, torch.zeros(3), torch.ones(1, dtype=torch.complex64), math.nan, torch.tensor(math.inf), "warm"]
)
def test_an_optimizer_may_call_anything_its_step(path, count):
    model = perceptron()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    optimizer.state[model[0].weight]["step"] = count
    optimizer.state["all"] = ["step"]
    with Recorder(optimizer, path, model=model) as recorder:
        loop(model, optimizer, 30, recorder)
    assert [row.step for row in read(path).losses] == list(range(1, 31))


def test_losses_on_an_accelerator_are_read_many_at_a_time(monkeypatch):
    reads = []
    monkeypatch.setattr(losses, "_numbers", lambda found: reads.append(len(found)) or [1.0] * len(found))
    buffer = losses.LossBuffer(0)
    for _ in range(1000):
        buffer.wait_for(torch.ones(()))
    assert len(reads) == 1000 // losses._WAITING


def test_tensorboard_gets_the_same_numbers(path, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = perceptron()
    optimizer = rmsprop.torch.RMSprop(model.parameters())
    with Recorder(optimizer, path, model=model, every=1, tensorboard=tmp_path / "board") as recorder:
        loop(model, optimizer, 3, recorder)
        recorder.validation(loss=0.5)
    events = EventAccumulator(str(tmp_path / "board")).Reload()
    losses = {row.step: row.mean for row in read(path).losses}
    assert {event.step: event.value for event in events.Scalars("loss")} == pytest.approx(losses, rel=1e-4)
    assert events.Scalars("validation/loss")[0].value == 0.5
    assert len(events.Scalars("stride/0")) == 3


def test_without_tensorboard_the_error_says_what_to_install(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], 0.1)
    with pytest.raises(ImportError, match=r"pip install 'rmsprop\[tensorboard\]'"):
        Recorder(optimizer, path, tensorboard=path.parent)
    assert not path.exists()
