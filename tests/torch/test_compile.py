"""torch.compile of the step and of the whole training step: the same numbers, hooks and all, without compiling anew."""

import pytest
import torch
from torch._dynamo.utils import counters

from rmsprop.torch import RMSprop

pytestmark = [
    # raised by torch's own modules while it compiles
    pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf Tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec..*:FutureWarning"),
]
OPTIONS = {"momentum": 0.9, "centered": True, "bias_correction": True}


@pytest.fixture(autouse=True)
def fresh_compiler():
    torch.compiler.reset()
    counters.clear()
    yield
    torch.compiler.reset()


def train(optimizer, param, step, steps=6):
    """Train with gradients made anew and a learning rate that changes, as a scheduler would."""
    random = torch.Generator().manual_seed(1)
    for number in range(steps):
        optimizer.zero_grad()
        param.grad = torch.randn(param.shape, generator=random, dtype=param.dtype)
        optimizer.param_groups[0]["lr"].fill_(0.1 / (1 + number))
        step()
    return param.detach()


def new(**flags):
    param = torch.ones(5, dtype=torch.float64, requires_grad=True)
    return param, RMSprop([param], lr=torch.tensor(0.1, dtype=torch.float64), **OPTIONS, **flags)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_step_computes_the_same(backend, implementation):
    expected = train(*reversed(eager := new(**implementation)), eager[1].step)
    param, optimizer = new(**implementation)
    step = torch.compile(lambda: optimizer.step(), backend=backend)
    torch.testing.assert_close(train(optimizer, param, step), expected, rtol=1e-12, atol=1e-12)
    assert optimizer.state[param]["step"] == 6


def test_new_gradients_and_learning_rates_do_not_compile_the_step_anew():
    param, optimizer = new(fused=False)
    step = torch.compile(lambda: optimizer.step(), backend="eager")
    train(optimizer, param, step, steps=2)
    before = counters["stats"]["unique_graphs"]
    train(optimizer, param, step, steps=8)
    assert counters["stats"]["unique_graphs"] == before


def test_the_kernel_is_used_and_not_compiled():
    param, optimizer = new()
    train(optimizer, param, torch.compile(lambda: optimizer.step(), backend="eager"))
    assert counters["stats"]["calls_captured"] == 0


def test_a_compiled_training_step(implementation):
    losses = []
    for compiles in (False, True):
        torch.manual_seed(3)
        model = torch.nn.Linear(4, 1).double()
        optimizer = RMSprop(model.parameters(), lr=torch.tensor(0.01), **implementation)
        inputs = torch.randn(16, 4, dtype=torch.float64)

        def training_step(model=model, optimizer=optimizer, inputs=inputs):
            optimizer.zero_grad()
            loss = (model(inputs) - 1.0).square().mean()
            loss.backward()
            optimizer.step()
            return loss.detach()

        run = torch.compile(training_step, backend="aot_eager") if compiles else training_step
        losses.append([run().item() for _ in range(4)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-12)


@pytest.mark.parametrize("direct", [False, True], ids=["in a function", "the method"])
def test_hooks_run(implementation, direct):
    param, optimizer = new(**implementation)
    seen = []
    optimizer.register_step_pre_hook(lambda *_: seen.append("pre"))
    optimizer.register_step_post_hook(lambda *_: seen.append("post"))
    train(optimizer, param, torch.compile(optimizer.step if direct else lambda: optimizer.step(), backend="eager"), 2)
    assert seen == ["pre", "post"] * 2


def test_the_closure_runs_and_its_loss_comes_back(implementation):
    param, optimizer = new(**implementation)
    param.grad = torch.ones_like(param)
    step = torch.compile(lambda: optimizer.step(lambda: torch.tensor(7.0)), backend="eager")
    assert step() == 7.0


@pytest.mark.parametrize("infinite", [False, True])
def test_a_scaled_step(implementation, infinite):
    param, optimizer = new(**implementation)
    plain, eager = new(**implementation)
    param.grad, plain.grad = torch.full_like(param, 8.0), torch.full_like(param, 2.0)
    optimizer.grad_scale, optimizer.found_inf = torch.tensor(4.0), torch.tensor(float(infinite))
    torch.compile(lambda: optimizer.step(), backend="eager")()
    if not infinite:
        eager.step()
    torch.testing.assert_close(param, plain, rtol=1e-12, atol=0)
    assert (param in optimizer.state) != infinite


def test_a_bad_option_is_refused(implementation):
    param, optimizer = new(**implementation)
    step = torch.compile(lambda: optimizer.step(), backend="eager")
    train(optimizer, param, step, steps=1)
    before = param.detach().clone()
    optimizer.param_groups[0]["lr"].fill_(torch.nan)
    with pytest.raises(ValueError, match="Invalid learning rate: nan"):
        step()
    assert torch.equal(param, before)


def test_inductor_compiles_the_composite_step():
    expected = train(*reversed(eager := new(fused=False)), eager[1].step, 2)
    param, optimizer = new(fused=False)
    found = train(optimizer, param, torch.compile(lambda: optimizer.step(), backend="inductor"), 2)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
