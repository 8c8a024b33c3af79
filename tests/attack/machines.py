"""What programs do with an optimizer between its steps, in any order, against the bits of the specification.

A machine keeps three: the optimizer that everything is done to; a twin that only takes its steps and its changed
options; and, in numbers of working precision, what `rmsprop.reference` makes of the same gradients.
"""

import io
import pickle
from copy import deepcopy
from dataclasses import replace

import numpy as np
import torch
from hypothesis import assume
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support import same_bits, wild_gradients

from rmsprop import Rule, reference
from rmsprop.numpy import RMSprop as OverArrays
from rmsprop.torch import RMSprop
from rmsprop.torch.groups import KEYS

SHAPES = ((3, 2), (), (17,), (0,), (5, 1))
RULES = st.builds(
    Rule,
    decay=st.sampled_from([0.3, 0.9, 0.99]),
    eps=st.sampled_from([0.0, 1e-8, 1e-3]),
    eps_inside_sqrt=st.booleans(),
    initial_square_avg=st.sampled_from([0.0, 1.0]),
    centered=st.booleans(),
    momentum=st.sampled_from([0.0, 0.3, 0.9]),
    lr_in_momentum=st.booleans(),
    bias_correction=st.booleans(),
    weight_decay=st.sampled_from([0.0, 0.1]),
    weight_decay_mode=st.sampled_from(["l2", "decoupled"]),
)
# What may be changed between two steps without another state.
CHANGES = st.sampled_from(
    [
        *(("lr", 0.1), ("lr", 0.0), ("lr", -0.01), ("eps", 1e-4), ("decay", 0.5), ("decay", 0.95)),
        *(("weight_decay", 0.2), ("maximize", True), ("maximize", False)),
    ]
)
PRESENT = st.lists(st.sampled_from([True, True, True, False]), min_size=8, max_size=8)
SEEDS = st.integers(0, 2**16)


class Specified:
    """A parameter as the specification has it."""

    def __init__(self, value, settings):
        self.value, self.settings, self.step = value.copy(), settings, 0
        self.state = reference.init(settings["rule"], value)

    def take(self, grad):
        self.step += 1
        self.value, self.state = reference.update(
            self.settings["rule"],
            self.settings["lr"],
            self.step,
            self.value,
            grad,
            self.state,
            maximize=self.settings["maximize"],
        )


def changed(settings, name, value):
    """Change one of the settings that parameters of a group share."""
    if name in ("lr", "maximize"):
        settings[name] = value
    else:
        settings["rule"] = replace(settings["rule"], **{name: value})


def values(seed, shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


class Interrupted(Exception):
    """What somebody's hook or closure raises."""


def interrupt(*_):
    raise Interrupted


class OverTensors(RuleBasedStateMachine):
    """`rmsprop.torch.RMSprop`."""

    dtype = torch.float32

    @initialize(
        settings=RULES,
        dtype=st.sampled_from([torch.float32, torch.float32, torch.float64, torch.bfloat16, torch.float16]),
        rounding=st.sampled_from(["nearest", "nearest", "stochastic", "kahan"]),
        foreach=st.sampled_from([None, None, False]),
    )
    def make(self, settings, dtype, rounding, foreach):
        assume(settings.momentum or not settings.lr_in_momentum)
        assume(dtype != torch.float64 or rounding == "nearest")  # the others are refused
        self.dtype, self.rounding = dtype, rounding
        options = {KEYS[name]: getattr(settings, name) for name in KEYS}
        self.options = {**options, "lr": 0.01, "rounding": rounding, "seed": 7, "foreach": foreach}
        self.settings = []
        self.specified = []
        self.params, self.twins = [], []
        self.optimizer = self.twin = None
        self._add(settings, 3)

    def _add(self, settings, count):
        """Give everybody another group of parameters."""
        start = len(self.params)
        self.settings.append({"rule": settings, "lr": 0.01, "maximize": False})
        for number in range(start, start + count):
            value = torch.from_numpy(values(number, SHAPES[number % len(SHAPES)])).to(self.dtype)
            self.params.append(value.clone().requires_grad_())
            self.twins.append(value.clone().requires_grad_())
            exact = value.float() if self.dtype in (torch.bfloat16, torch.float16) else value
            self.specified.append(Specified(exact.numpy(), self.settings[-1]))
        if self.optimizer is None:
            self.optimizer = RMSprop(list(self.params), **self.options)
            self.twin = RMSprop(list(self.twins), **self.options)
        else:
            self.optimizer.add_param_group({"params": self.params[start:]})
            self.twin.add_param_group({"params": self.twins[start:]})

    def _set_gradients(self, present, seed):
        """Put gradients in place, and return them."""
        random, grads = np.random.default_rng(seed), []
        for i, (param, twin) in enumerate(zip(self.params, self.twins, strict=True)):
            grad = torch.from_numpy(wild_gradients(random, tuple(param.shape))).to(self.dtype)
            param.grad, twin.grad = (grad.clone(), grad.clone()) if present[i % len(present)] else (None, None)
            grads.append(grad if present[i % len(present)] else None)
        return grads

    def _specify(self, grads):
        for parameter, grad in zip(self.specified, grads, strict=True):
            if grad is None:
                continue
            exact = grad.float() if self.dtype in (torch.bfloat16, torch.float16) else grad
            parameter.take(exact.numpy())
            if self.dtype in (torch.bfloat16, torch.float16):  # stored after each step
                parameter.value = torch.from_numpy(np.asarray(parameter.value)).to(self.dtype).float().numpy()

    @rule(present=PRESENT, seed=SEEDS)
    def step(self, present, seed):
        self._specify(self._set_gradients(present, seed))
        self.optimizer.step()
        self.twin.step()

    @rule(present=PRESENT, seed=SEEDS)
    def step_with_a_closure(self, present, seed):
        grads = self._set_gradients(present, seed)
        assert self.optimizer.step(lambda: 3.5) == 3.5
        self.twin.step()
        self._specify(grads)

    @rule(change=CHANGES, group=st.integers(0, 3))
    def change(self, change, group):
        name, value = change
        group %= len(self.settings)
        for optimizer in (self.optimizer, self.twin):
            optimizer.param_groups[group][KEYS.get(name, name)] = value
        changed(self.settings[group], name, value)

    @rule(count=st.integers(1, 2))
    def add_a_group(self, count):
        assume(len(self.settings) < 3)
        rule_of_new = Rule(**{name: self.options[KEYS[name]] for name in KEYS})
        self._add(rule_of_new, count)

    @rule(through_a_file=st.booleans())
    def save_and_load(self, through_a_file):
        saved = self.optimizer.state_dict()
        if through_a_file:
            file = io.BytesIO()
            torch.save(saved, file)
            file.seek(0)
            saved = torch.load(file, weights_only=True)
        groups = [{"params": list(group["params"])} for group in self.optimizer.param_groups]
        fresh = RMSprop(groups, **self.options)
        fresh.load_state_dict(saved)
        self.optimizer = fresh

    @rule()
    def load_into_itself(self):
        self.optimizer.load_state_dict(deepcopy(self.optimizer.state_dict()))

    @rule(pickled=st.booleans())
    def copy(self, pickled):
        both = (self.params, self.optimizer)
        self.params, self.optimizer = pickle.loads(pickle.dumps(both)) if pickled else deepcopy(both)

    @rule()
    def share(self):
        for param in self.params:
            param.share_memory_()
            for value in self.optimizer.state.get(param, {}).values():
                if isinstance(value, torch.Tensor):
                    value.share_memory_()

    @rule(present=PRESENT, seed=SEEDS)
    def interrupted_before_the_step(self, present, seed):
        self._set_gradients(present, seed)
        hook = self.optimizer.register_step_pre_hook(interrupt)
        self._refused(Interrupted, self.optimizer.step)
        hook.remove()
        self._refused(Interrupted, self.optimizer.step, interrupt)

    @rule(present=PRESENT, seed=SEEDS)
    def interrupted_after_the_step(self, present, seed):
        grads = self._set_gradients(present, seed)
        hook = self.optimizer.register_step_post_hook(interrupt)
        try:
            self.optimizer.step()
        except Interrupted:
            pass
        else:
            raise AssertionError("the hook was not called")
        hook.remove()
        self.twin.step()
        self._specify(grads)

    @rule(present=PRESENT, seed=SEEDS, bad=st.sampled_from(["x", float("nan"), None]))
    def a_bad_learning_rate(self, present, seed, bad):
        self._set_gradients(present, seed)
        group = self.optimizer.param_groups[-1]
        before, group["lr"] = group["lr"], bad
        self._refused((TypeError, ValueError), self.optimizer.step)
        group["lr"] = before

    def _refused(self, error, function, *arguments):
        """Call what must raise; parameters and state must be as they were, which the invariant sees."""
        try:
            function(*arguments)
        except error:
            return
        raise AssertionError(f"{function} took {arguments}")

    @invariant()
    def the_twin_has_the_same_bits(self):
        if not hasattr(self, "twin"):
            return
        for mine, its in zip(self.params, self.twins, strict=True):
            assert torch.equal(mine.isnan(), its.isnan())
            assert torch.equal(mine.nan_to_num(), its.nan_to_num())
            state, other = self.optimizer.state.get(mine, {}), self.twin.state.get(its, {})
            assert state.keys() == other.keys()
            for name in state:
                assert torch.equal(torch.as_tensor(state[name]).nan_to_num(), torch.as_tensor(other[name]).nan_to_num())

    @invariant()
    def the_specification_has_the_same_bits(self):
        if not hasattr(self, "twin") or (self.rounding != "nearest" and self.dtype in (torch.bfloat16, torch.float16)):
            return
        for param, parameter in zip(self.params, self.specified, strict=True):
            ours = param.detach().float() if self.dtype in (torch.bfloat16, torch.float16) else param.detach()
            assert same_bits(ours.numpy(), np.asarray(parameter.value)), (ours, parameter.value)


class OverNumPy(RuleBasedStateMachine):
    """`rmsprop.numpy.RMSprop`."""

    @initialize(settings=RULES, dtype=st.sampled_from([np.float32, np.float64, np.float16]), by_name=st.booleans())
    def make(self, settings, dtype, by_name):
        assume(settings.momentum or not settings.lr_in_momentum)
        self.names = [f"p{number}" if by_name else number for number in range(4)]
        arrays = [values(number, SHAPES[number]).astype(dtype) for number in range(4)]
        self.arrays = dict(zip(self.names, arrays, strict=True)) if by_name else arrays
        self.settings = {"rule": settings, "lr": 0.01, "maximize": False}
        self.specified = [Specified(array, self.settings) for array in arrays]
        fields = {name: getattr(settings, name) for name in settings.__dataclass_fields__}
        self.optimizer = OverArrays(self.arrays, lr=0.01, **fields)

    def _given(self, grads):
        return dict(zip(self.names, grads, strict=True)) if isinstance(self.arrays, dict) else grads

    def _gradients(self, present, seed):
        random = np.random.default_rng(seed)
        made = [wild_gradients(random, p.value.shape).astype(p.value.dtype) for p in self.specified]
        return [grad if here else None for grad, here in zip(made, present, strict=False)]

    @rule(present=PRESENT, seed=SEEDS)
    def step(self, present, seed):
        with np.errstate(all="ignore"):
            grads = self._gradients(present, seed)
        self.optimizer.step(self._given(grads))
        for parameter, grad in zip(self.specified, grads, strict=True):
            if grad is not None:
                parameter.take(grad)

    @rule(lr=st.sampled_from([0.1, 0.0, -0.01]))
    def change(self, lr):
        self.optimizer.lr = self.settings["lr"] = lr

    @rule()
    def save_and_load(self):
        file = io.BytesIO()
        np.savez(file, **self.optimizer.state_dict())
        file.seek(0)
        fresh = OverArrays(self.arrays)
        with np.load(file) as saved:
            fresh.load_state_dict(saved)
        self.optimizer = fresh

    @rule(pickled=st.booleans())
    def copy(self, pickled):
        both = (self.arrays, self.optimizer)
        self.arrays, self.optimizer = pickle.loads(pickle.dumps(both)) if pickled else deepcopy(both)

    @rule(present=PRESENT, seed=SEEDS, bad=st.sampled_from(["shape", "dtype", "lr", "scale", "missing"]))
    def refused(self, present, seed, bad):
        with np.errstate(all="ignore"):
            grads = self._gradients(present, seed)
        last = {"shape": np.ones(99, np.float32), "dtype": np.array(["x"])}.get(bad, grads[-1])
        given = self._given([*grads[:-1], last])
        self.optimizer.lr = "x" if bad == "lr" else self.settings["lr"]
        try:
            if bad == "missing":
                given = dict(list(given.items())[:-1]) if isinstance(given, dict) else given[:-1]
            self.optimizer.step(given, grad_scale=-1.0 if bad == "scale" else 1.0)
        except (TypeError, ValueError):
            self.optimizer.lr = self.settings["lr"]
            return
        raise AssertionError(f"a step took a bad {bad}")

    @invariant()
    def the_specification_has_the_same_bits(self):
        if not hasattr(self, "optimizer"):
            return
        arrays = list(self.arrays.values()) if isinstance(self.arrays, dict) else self.arrays
        states = self.optimizer.state
        states = list(states.values()) if isinstance(states, dict) else states
        for array, state, parameter in zip(arrays, states, self.specified, strict=True):
            assert same_bits(array, np.asarray(parameter.value))
            assert state["step"] == parameter.step
            for name, value in parameter.state.items():
                assert same_bits(state[name], np.asarray(value)), name


MACHINES = {"rmsprop.torch": OverTensors, "rmsprop.numpy": OverNumPy}
