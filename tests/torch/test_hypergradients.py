"""Learning rates from gradients: hypergradients against finite differences of whole runs, refusals, and resuming."""

import copy
import io
import math

import pytest
import torch
from torch import nn

from rmsprop import Rule
from rmsprop.torch import HypergradientDescent, Marthe, RMSprop, step_in_backward
from rmsprop.torch.rates.tuned import products

STEPS, LR = 4, 0.01
RULES = {
    "plain": Rule(decay=0.9),
    "centered": Rule(decay=0.9, centered=True, eps=1e-3),
    "momentum and weight decay": Rule(decay=0.9, momentum=0.9, weight_decay=0.1),
    "decoupled and nesterov": Rule(
        decay=0.9, momentum=0.5, nesterov=True, weight_decay=0.1, weight_decay_mode="decoupled"
    ),
    "tensorflow": Rule(
        decay=0.9, eps=1e-3, eps_inside_sqrt=True, initial_square_avg=1.0, lr_in_momentum=True, momentum=0.5
    ),
    "bias correction": Rule(decay=0.9, bias_correction=True, eps=1e-3),
}
every_rule = pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
BATCHES = [torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(n)) for n in range(STEPS + 1)]


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()


def loss(model, batch):
    return (model(batch).squeeze(1) - batch.prod(dim=1)).square().mean()


def by_layer(model, lrs):
    return [{"params": layer.parameters(), "lr": lr} for layer, lr in zip((model[0], model[2]), lrs, strict=True)]


def validation_after(rule, keywords, lrs, maximize=False):
    """Return the loss on the last batch after steps with the learning rates of both layers."""
    model = network()
    optimizer = RMSprop(by_layer(model, lrs[0]), **keywords(rule), maximize=maximize)
    sign = -1.0 if maximize else 1.0
    for batch, of_step in zip(BATCHES, lrs, strict=False):
        for group, lr in zip(optimizer.param_groups, of_step, strict=True):
            group["lr"] = lr
        optimizer.zero_grad()
        (sign * loss(model, batch)).backward()
        optimizer.step()
    decayed = sum(p.square().sum() for p in model.parameters()).item() * rule.weight_decay / 2
    return loss(model, BATCHES[-1]).item(), decayed if rule.decays_weights("l2") else 0.0


def slope(of, h=1e-3):
    """Return a derivative by differences of sixth order, whose error is far below 1e-7 of it here."""
    return sum(c * (of(k * h) - of(-k * h)) for k, c in ((1, 45.0), (2, -9.0), (3, 1.0))) / (60.0 * h)


def tuned(rule, keywords, make, maximize=False, steps=STEPS):
    """Return a tuner after some steps, which hardly change the learning rates."""
    model = network()
    optimizer = RMSprop(by_layer(model, (LR, 2 * LR)), **keywords(rule), maximize=maximize)
    tuner = make(optimizer, hyper_lr=1e-300)
    sign = -1.0 if maximize else 1.0
    for n in range(steps + 1):
        losses = sign * loss(model, BATCHES[n]), sign * loss(model, BATCHES[-1])
        if isinstance(tuner, Marthe):
            tuner.step(*losses)
        else:
            optimizer.zero_grad()
            losses[n == steps].backward()  # the last gradient is that of the validation loss
            optimizer.step()
    return tuner


@pytest.mark.parametrize("maximize", [False, True])
@every_rule
def test_hypergradient_descent_differentiates_the_last_step(rule, maximize, keywords):
    found = tuned(rule, keywords, HypergradientDescent, maximize).hypergradients
    for layer, lr in enumerate((LR, 2 * LR)):

        def after(x, layer=layer, lr=lr):
            lrs = [[LR, 2 * LR] for _ in range(STEPS)]
            lrs[-1][layer] = lr * (1 + x)
            return sum(validation_after(rule, keywords, lrs, maximize))  # what L2 decay minimises too

        assert found[layer] == pytest.approx(slope(after) / lr, rel=1e-6)


@pytest.mark.parametrize("mu", [0.0, 0.7, 1.0])
@every_rule
def test_marthe_differentiates_all_steps(rule, mu, keywords):
    found = tuned(rule, keywords, lambda *args, **options: Marthe(*args, mu=mu, **options)).hypergradients
    for layer, lr in enumerate((LR, 2 * LR)):
        wanted = 0.0
        for step in range(STEPS):

            def after(x, step=step, layer=layer, lr=lr):
                lrs = [[LR, 2 * LR] for _ in range(STEPS)]
                lrs[step][layer] = lr * (1 + x)
                return validation_after(rule, keywords, lrs)[0]

            wanted += mu ** (STEPS - 1 - step) * slope(after) / lr
        assert found[layer] == pytest.approx(wanted, rel=1e-6)


def test_marthe_ascends(keywords):
    up, down = (tuned(RULES["plain"], keywords, Marthe, maximize) for maximize in (True, False))
    assert up.hypergradients == down.hypergradients  # two signs changed: of the losses, and of the direction


@pytest.mark.parametrize("groups", [1, 2])
def test_the_cost_is_counted(groups):
    model = network()
    params = list(model.parameters()) if groups == 1 else by_layer(model, (LR, LR))
    tuner = Marthe(RMSprop(params, lr=LR))
    for batch in BATCHES:
        tuner.step(loss(model, batch), loss(model, BATCHES[0]))
    steps = len(BATCHES)
    assert tuner.hessian_vector_products == groups * (steps - 1)  # there is no tangent before the first step
    assert tuner.evaluations == 2 * steps + 2 * groups * (steps - 1)


def test_without_memory_no_product_is_computed():
    model = network()
    tuner = Marthe(RMSprop(model.parameters(), lr=LR), mu=0)
    for batch in BATCHES:
        tuner.step(loss(model, batch), loss(model, BATCHES[0]))
    assert tuner.evaluations == 2 * len(BATCHES)


def hd_steps(model, optimizer, tuner, batches):
    for batch in batches:
        optimizer.zero_grad()
        loss(model, batch).backward()
        optimizer.step()


def marthe_steps(model, optimizer, tuner, batches):
    for batch in batches:
        tuner.step(loss(model, batch), loss(model, BATCHES[0].to(batch.dtype)))


LOOPS = {"HD": (HypergradientDescent, hd_steps), "MARTHE": (Marthe, marthe_steps)}
every_loop = pytest.mark.parametrize(("make", "steps"), LOOPS.values(), ids=LOOPS)


@pytest.mark.parametrize("mode", ["multiplicative", "additive"])
@pytest.mark.parametrize("rule", list(RULES.values())[:4], ids=list(RULES)[:4])
@every_loop
def test_a_run_resumes_bitwise(make, steps, rule, mode, keywords):
    def begun():
        model = network().float()
        optimizer = RMSprop(by_layer(model, (LR, 2 * LR)), **keywords(rule))
        return model, optimizer, make(optimizer, hyper_lr=0.1, mode=mode)

    batches = [batch.float() for batch in BATCHES]
    model, optimizer, tuner = begun()
    steps(model, optimizer, tuner, batches[:3])
    saved = io.BytesIO()
    torch.save([each.state_dict() for each in (model, optimizer, tuner)], saved)
    steps(model, optimizer, tuner, batches[3:])

    resumed = begun()
    saved.seek(0)
    for each, state in zip(resumed, torch.load(saved), strict=True):
        each.load_state_dict(state)
    steps(*resumed, batches[3:])
    assert [g["lr"] for g in resumed[1].param_groups] == [g["lr"] for g in optimizer.param_groups]
    assert resumed[2].hypergradients == tuner.hypergradients
    assert resumed[2].evaluations == tuner.evaluations
    for a, b in zip(resumed[0].parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b)


# MARTHE finds, rightly, that a first step of 1000 makes v so large that no later one is too large.
@pytest.mark.parametrize(
    ("make", "lr", "low", "high"),
    [(HypergradientDescent, 1e-4, 1e-3, 1.0), (HypergradientDescent, 100.0, 0.0, 10.0), (Marthe, 1e-4, 1e-3, 1.0)],
)
def test_a_small_learning_rate_grows_and_a_large_one_shrinks(make, lr, low, high):
    weight = torch.tensor([3.0, -2.0], requires_grad=True)
    optimizer = RMSprop([weight], lr=lr, alpha=0.5)
    tuner = make(optimizer, hyper_lr=0.5)
    for _ in range(30):
        if make is Marthe:
            tuner.step(weight.square().sum(), weight.square().sum())
        else:
            optimizer.zero_grad()
            weight.square().sum().backward()
            optimizer.step()
    assert low < optimizer.param_groups[0]["lr"] < high


@every_loop
def test_a_change_is_bounded(make, steps):
    model = network()
    optimizer = RMSprop(model.parameters(), lr=LR)
    tuner = make(optimizer, hyper_lr=1e9, mode="additive", max_factor=3.0)
    steps(model, optimizer, tuner, BATCHES[:2])
    assert optimizer.param_groups[0]["lr"] in (LR / 3.0, LR * 3.0)


@pytest.mark.parametrize("size", [10, 1 << 15, (1 << 15) + 5, 1 << 17])
@pytest.mark.parametrize("rule", list(RULES.values())[1:4], ids=list(RULES)[1:4])
def test_parts_make_the_same_directions(rule, size, keywords):
    random = torch.Generator().manual_seed(0)
    values = torch.randn(2, size, generator=random, dtype=torch.float64)
    whole, turned = values.clone().requires_grad_(), values.T.clone().T.requires_grad_()  # the second can't be cut
    found = []
    for param in (whole, turned):
        optimizer = RMSprop([param], lr=LR, **keywords(rule))
        tuner = HypergradientDescent(optimizer)
        for _ in range(3):
            param.grad = param.detach().sin()
            optimizer.step()
        found.append(tuner)
    direction, other = (tuner.state_dict()["directions"][0] for tuner in found)
    assert torch.equal(direction, other)
    # Sums of 2·size products in another order: n·2⁻⁵³ relative to the sum of magnitudes, for which the norms stand.
    lr, its = (tuner.optimizer.param_groups[0]["lr"] for tuner in found)
    assert lr == pytest.approx(its, abs=values.numel() * 2.0**-53 * lr)


def test_parameters_without_a_gradient_take_no_part():
    a, b = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    optimizer = RMSprop([a, b], lr=LR)
    tuner = HypergradientDescent(optimizer, hyper_lr=0.5)
    for with_grad in (a, b, a):  # none has a gradient after a step of its own
        optimizer.zero_grad()
        with_grad.square().sum().backward()
        optimizer.step()
    assert optimizer.param_groups[0]["lr"] == LR
    assert tuner.hypergradients == [0.0]


def test_parameters_that_a_loss_misses_keep_their_rates():
    a, b = (torch.ones(2, dtype=torch.float64, requires_grad=True) for _ in range(2))
    tuner = Marthe(RMSprop([a, b], lr=LR), mu=0.5, hyper_lr=1e-300)
    tuner.step((a * b).sum(), a.sum())
    (p_rate, *_), before = tuner._tangents[0][b].values(), b.detach().clone()
    tuner.step(a.square().sum(), b.square().sum())
    assert torch.equal(tuner._tangents[0][b]["param"], 0.5 * p_rate)
    assert torch.equal(b.detach(), before)
    assert b.grad is None


def test_a_linear_loss_has_no_curvature():
    weight = torch.ones(2, requires_grad=True)
    tuner = Marthe(RMSprop([weight], lr=LR), hyper_lr=0.1)
    for _ in range(3):
        tuner.step(weight.sum(), weight.sum())
    assert tuner.hessian_vector_products == 0
    assert tuner.optimizer.param_groups[0]["lr"] > LR


def test_a_group_that_comes_later_is_tuned_too():
    first, second = (torch.ones(2, requires_grad=True) for _ in range(2))
    optimizer = RMSprop([first], lr=LR)
    tuner = HypergradientDescent(optimizer, hyper_lr=0.5)
    optimizer.add_param_group({"params": [second], "lr": 2 * LR})
    for _ in range(2):
        optimizer.zero_grad()
        (first + second).square().sum().backward()
        optimizer.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([1.5 * LR, 3 * LR])
    assert len(tuner.hypergradients) == 2


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_changes_no_learning_rate(bad):
    weight = torch.ones(2, requires_grad=True)
    optimizer = RMSprop([weight], lr=LR)
    tuner = HypergradientDescent(optimizer)
    for grad in (1.0, bad):
        weight.grad = torch.full((2,), grad)
        optimizer.step()
    assert optimizer.param_groups[0]["lr"] == LR
    assert tuner.not_finite == 1


def test_an_infinite_tangent_starts_anew():
    model = network()
    tuner = Marthe(RMSprop(model.parameters(), lr=LR))
    marthe_steps(model, None, tuner, BATCHES[:2])
    lr = tuner.optimizer.param_groups[0]["lr"]
    for rates in tuner._tangents[0].values():
        rates["param"].fill_(math.inf)
    marthe_steps(model, None, tuner, BATCHES[:1])
    assert tuner.not_finite == 1
    assert tuner.optimizer.param_groups[0]["lr"] == lr
    marthe_steps(model, None, tuner, BATCHES[:1])
    assert tuner.not_finite == 1
    assert tuner.optimizer.param_groups[0]["lr"] != lr


class Sharded(torch.Tensor):
    """A tensor that is not what its memory holds, as a DTensor is."""

    __torch_dispatch__ = classmethod(lambda cls, function, types, args=(), kwargs=None: function(*args, **kwargs or {}))


class Other(RMSprop):
    """An optimizer that may do anything in its step."""


REFUSED = {
    "another optimizer": (lambda p: torch.optim.RMSprop(p), TypeError, "need an rmsprop.torch.RMSprop"),
    "subclass of it": (lambda p: Other(p), TypeError, "this is Other, whose step has another derivative"),
    "norm": (lambda p: RMSprop(p, max_grad_norm=1.0), RuntimeError, "max_grad_norm=1.0 limits what a step makes"),
    "value": (lambda p: RMSprop(p, max_grad_value=1.0), RuntimeError, "max_grad_value=1.0 of group 0 limits"),
    "ratio": (lambda p: RMSprop(p, max_grad_ratio=1.0), RuntimeError, "max_grad_ratio=1.0 of group 0 limits"),
    "update": (lambda p: RMSprop(p, max_update_rms=1.0), RuntimeError, "max_update_rms=1.0 of group 0 limits"),
    "rounding": (lambda p: RMSprop(p, rounding="kahan"), RuntimeError, "rounding='kahan' of group 0 rounds weights"),
    "8 bits": (lambda p: RMSprop(p, state_dtype="8bit"), RuntimeError, "state_dtype='8bit' of group 0 rounds v"),
    "differentiable": (lambda p: RMSprop(p, differentiable=True), RuntimeError, "differentiable=True of group 0"),
    "capturable": (lambda p: RMSprop(p, capturable=True), RuntimeError, "capturable=True of group 0"),
    "tensor": (lambda p: RMSprop(p, lr=torch.tensor(0.1)), TypeError, "of group 0 is a tensor"),
    "zero": (lambda p: RMSprop(p, lr=0.0), ValueError, "of group 0 is 0.0: it must be finite and above 0"),
    "bfloat16": (lambda p: RMSprop([p[0].detach().bfloat16()]), RuntimeError, "parameter 0 has dtype torch.bfloat16"),
    "subclass": (
        lambda p: RMSprop([p[0].detach().as_subclass(Sharded).requires_grad_()]),
        RuntimeError,
        "parameter 0 is a Sharded: hypergradients are for plain tensors",
    ),
    "complex": (lambda p: RMSprop([p[0].detach().cfloat()]), RuntimeError, "parameter 0 has dtype torch.complex64"),
}


@pytest.mark.parametrize("tuner", [HypergradientDescent, Marthe])
@pytest.mark.parametrize(("make", "error", "said"), REFUSED.values(), ids=REFUSED)
def test_what_breaks_the_derivative_is_refused(make, error, said, tuner):
    optimizer = make([torch.ones(2, requires_grad=True)])
    with pytest.raises(error, match=said):
        tuner(optimizer)
    assert getattr(optimizer, "tuner", None) is None


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"hyper_lr": -1.0}, ValueError, r"Invalid hyper_lr: -1.0 \(allowed: a finite number above 0\)"),
        ({"hyper_lr": math.nan}, ValueError, "Invalid hyper_lr: nan"),
        ({"hyper_lr": math.inf}, ValueError, "Invalid hyper_lr: inf"),
        ({"hyper_lr": 10**400}, ValueError, "Invalid hyper_lr: 1000"),
        ({"hyper_lr": "1"}, TypeError, "Invalid hyper_lr: '1' is a str"),
        ({"hyper_lr": True}, TypeError, "Invalid hyper_lr: True is a bool"),
        ({"max_factor": 1.0}, ValueError, r"Invalid max_factor: 1.0 \(allowed: a finite number above 1\)"),
        ({"mode": "linear"}, ValueError, r"Invalid mode: 'linear' \(allowed: 'multiplicative' or 'additive'\)"),
        ({"mu": -0.1}, ValueError, r"Invalid mu: -0.1 \(allowed: a number from 0 to 1\)"),
        ({"mu": 1.1}, ValueError, "Invalid mu: 1.1"),
        ({"mu": math.nan}, ValueError, "Invalid mu: nan"),
    ],
)
def test_a_bad_setting_is_refused(options, error, said):
    make = Marthe if "mu" in options else HypergradientDescent
    with pytest.raises(error, match=said):
        make(RMSprop([torch.ones(2, requires_grad=True)]), **options)


@every_loop
def test_an_option_that_changes_later_is_refused(make, steps):
    model = network()
    optimizer = RMSprop(model.parameters(), lr=LR)
    tuner = make(optimizer)
    steps(model, optimizer, tuner, BATCHES[:1])
    before = copy.deepcopy(model.state_dict())
    optimizer.max_grad_norm = 1.0
    with pytest.raises(RuntimeError, match="max_grad_norm"):
        steps(model, optimizer, tuner, BATCHES[:1])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@every_loop
def test_a_scheduler_on_top_is_refused(make, steps):
    model = network()
    optimizer = RMSprop(model.parameters(), lr=LR)
    tuner = make(optimizer)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    steps(model, optimizer, tuner, BATCHES[:1])
    scheduler.step()
    with pytest.raises(RuntimeError, match=r"of group 0 was 0\.01 after the last step and is 0\.005 now: a scheduler"):
        steps(model, optimizer, tuner, BATCHES[:1])


@pytest.mark.parametrize("tuner", [HypergradientDescent, Marthe])
def test_two_who_tune_are_refused(tuner):
    optimizer = RMSprop([torch.ones(2, requires_grad=True)])
    first = tuner(optimizer)
    with pytest.raises(RuntimeError, match="already"):
        HypergradientDescent(optimizer)
    first.remove()
    HypergradientDescent(optimizer)


def test_a_step_in_backward_is_refused_before_and_after():
    optimizer = RMSprop([torch.ones(2, requires_grad=True)])
    tuner = HypergradientDescent(optimizer)
    with pytest.raises(RuntimeError, match=r"frees the gradients that tune the learning rate: remove\(\) the tuner"):
        step_in_backward(optimizer)
    tuner.remove()
    step_in_backward(optimizer)
    with pytest.raises(RuntimeError, match="step_in_backward frees each gradient"):
        HypergradientDescent(optimizer)


def test_a_closure_is_refused():
    weight = torch.ones(2, requires_grad=True)
    optimizer = RMSprop([weight])
    HypergradientDescent(optimizer)
    with pytest.raises(RuntimeError, match="without a closure"):
        optimizer.step(lambda: weight.sum())


def test_marthe_alone_takes_the_steps():
    weight = torch.ones(2, requires_grad=True)
    optimizer = RMSprop([weight])
    tuner = Marthe(optimizer)
    weight.sum().backward()
    with pytest.raises(RuntimeError, match="MARTHE takes the steps of this optimizer"):
        optimizer.step()
    tuner.remove()
    optimizer.step()


@pytest.mark.parametrize(
    ("of", "error", "said"),
    [
        (lambda w: (w.sum(), 1.0), TypeError, "validation_loss is a float"),
        (lambda w: (w.detach().sum(), w.sum()), ValueError, "loss has no graph"),
        (lambda w: (w.sum(), w), ValueError, "validation_loss has 2 elements"),
        (lambda w: (w.sum(), w[:0].mean()), ValueError, "validation_loss is nan: it must be a mean over rows"),
    ],
)
def test_a_loss_that_is_none_is_refused(of, error, said):
    weight = torch.ones(2, requires_grad=True)
    tuner = Marthe(RMSprop([weight]))
    with pytest.raises(error, match=said):
        tuner.step(*of(weight))
    assert torch.equal(weight, torch.ones(2))
    assert not tuner.optimizer.state


def test_marthe_is_refused_where_processes_would_average(monkeypatch):
    weight = torch.ones(2, requires_grad=True)
    tuner = Marthe(RMSprop([weight]))
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    with pytest.raises(RuntimeError, match="processes would not average them"):
        tuner.step(weight.sum(), weight.sum())


def scaled_steps(fused, scale):
    """Take steps in which GradScaler scales the loss, and return the tuner."""
    weight = torch.tensor([3.0, -2.0], requires_grad=True)
    optimizer = RMSprop([weight], lr=LR, fused=fused)
    tuner = HypergradientDescent(optimizer)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, enabled=scale > 1.0)
    for _ in range(3):
        optimizer.zero_grad()
        scaler.scale(weight.square().sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    return tuner


def test_a_scaler_that_unscales_itself_changes_nothing():
    assert scaled_steps(None, 1024.0).hypergradients == scaled_steps(None, 1.0).hypergradients != [0.0]


def test_a_scaler_that_leaves_it_to_the_step_is_refused():
    with pytest.raises(RuntimeError, match="leave fused at None"):
        scaled_steps(True, 1024.0)


def test_a_compiled_step_is_tuned_too():
    found = []
    for compiled in (False, True):
        weight = torch.tensor([3.0, -2.0], requires_grad=True)
        optimizer = RMSprop([weight], lr=LR)
        HypergradientDescent(optimizer)
        step = torch.compile(optimizer.step, backend="eager") if compiled else optimizer.step
        for _ in range(3):
            optimizer.zero_grad()
            weight.square().sum().backward()
            step()
        found.append(optimizer.param_groups[0]["lr"])
    assert found[0] == found[1] != LR


def test_sparse_gradients_are_refused():
    table = nn.Embedding(3, 2, sparse=True)
    optimizer = RMSprop(table.parameters())
    HypergradientDescent(optimizer)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="dense gradients"):
        optimizer.step()


@pytest.mark.parametrize(
    ("saved", "said"),
    [
        (lambda: [torch.ones(2), torch.ones(2)], "2 learning rates, and the optimizer 1 groups"),
        (lambda: [torch.ones(3)], r"has shape \(3,\), but its parameter has \(2,\)"),
    ],
)
@pytest.mark.parametrize("make", [HypergradientDescent, Marthe])
def test_the_state_of_another_model_is_refused(saved, said, make):
    def stepped(params):
        optimizer = RMSprop([{"params": [p.requires_grad_()]} for p in params], lr=LR)
        tuner = make(optimizer)
        total = sum(p.square().sum() for p in params)
        if make is Marthe:
            tuner.step(total, sum(p.sum() for p in params))
        else:
            total.backward()
            optimizer.step()
        return tuner

    tuner = stepped([torch.ones(2)])
    before = tuner.state_dict()
    with pytest.raises(ValueError, match=said):
        tuner.load_state_dict(stepped(saved()).state_dict())
    assert str(tuner.state_dict()) == str(before)


def test_removed_it_changes_nothing_more():
    model = network()
    optimizer = RMSprop(model.parameters(), lr=LR)
    tuner = HypergradientDescent(optimizer)
    hd_steps(model, optimizer, tuner, BATCHES)
    lr = optimizer.param_groups[0]["lr"]
    tuner.remove()
    hd_steps(model, optimizer, tuner, BATCHES)
    assert optimizer.param_groups[0]["lr"] == lr != LR


def test_a_step_that_fails_spoils_no_later_one():
    weight = torch.ones(2, requires_grad=True)
    optimizer = RMSprop([weight], lr=LR, weight_decay=0.1)
    tuner = HypergradientDescent(optimizer, hyper_lr=0.5)
    weight.square().sum().backward()
    optimizer.step()
    other = optimizer.register_step_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        optimizer.step()
    other.remove()
    lr = optimizer.param_groups[0]["lr"]
    assert tuner.state_dict()["directions"] == {}
    optimizer.step()
    assert optimizer.param_groups[0]["lr"] == lr
    optimizer.step()
    assert optimizer.param_groups[0]["lr"] > lr


@pytest.mark.parametrize("tuner", [HypergradientDescent, Marthe])
def test_a_copy_that_would_do_nothing_is_refused(tuner):
    with pytest.raises(TypeError, match="can't be copied or pickled: make one anew"):
        copy.deepcopy(tuner(RMSprop([torch.ones(2, requires_grad=True)])))


def test_products_are_sums_over_all_parts():
    a, b = torch.tensor([3.0, 4.0]), torch.tensor([1.0, -1.0])
    found = products([(a[:1], b[:1]), (a[1:], b[1:])])
    assert found == products([(a[:1].numpy(), b[:1].numpy()), (a[1:], b[1:])])  # a group on two devices
    assert found == (-1.0, 25.0, 2.0)
    assert found.scale == pytest.approx(5 * math.sqrt(2.0))
