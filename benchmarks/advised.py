"""What `rmsprop diagnose` advises to runs that were made sick on purpose, and how each piece of advice is followed.

What a remedy leaves open is chosen as a person would: a tenth where it says smaller, and of a range of learning rates
the best of five.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from re import Match

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.loops import (
    Branches,
    Loop,
    Recurrence,
    classifier,
    far_away,
    linear,
    perceptron,
    products,
    proportional,
    roots,
    run,
    sums,
    with_zeros,
)
from rmsprop.torch import RMSprop

# From the run and the words that advise it to the runs that follow it.
Follow = Callable[[Loop, Match[str]], Sequence[Loop]]


@dataclass(frozen=True)
class Obeyed:
    """What came of a piece of advice.

    Args:
        remedy: What was advised.
        before: The loss at the end of the sick run.
        after: The loss at the end of the best run that follows the advice, after as many steps.
        noise: The share of a loss by which two equally good runs may differ. Default 0.
    """

    remedy: str
    before: float
    after: float
    noise: float = 0.0

    @property
    def helped(self) -> bool:
        """Whether the run ended no worse; one that is lost can't."""
        if not math.isfinite(self.before):
            return math.isfinite(self.after)
        return self.after <= (1 + self.noise) * self.before


@dataclass(frozen=True)
class Advised:
    """A piece of advice.

    Args:
        name: What made the run sick.
        finding: The kind of what is found.
        sick: The run.
        advice: A pattern of the words that advise it.
        follow: Returns the runs that follow it, of which the best counts.
        noise: The share of a loss by which two equally good runs may differ. Default 0.
    """

    name: str
    finding: str
    sick: Loop
    advice: str
    follow: Follow
    noise: float = 0.0

    def obey(self) -> Obeyed:
        """Run it, and the runs that follow the advice.

        Raises:
            LookupError: If this isn't found, or not advised.
        """
        sick = run(self.sick)
        remedy = next((each.remedy for each in sick.diagnosis.findings if each.kind == self.finding), None)
        if remedy is None:
            raise LookupError(f"{self.finding} isn't among {[each.kind for each in sick.diagnosis.findings]}")
        said = re.search(self.advice, remedy)
        if said is None:
            raise LookupError(f"{remedy!r} doesn't advise {self.advice!r}")
        losses = [run(loop).loss for loop in self.follow(self.sick, said)]
        best = min((loss for loss in losses if math.isfinite(loss)), default=math.nan)
        return Obeyed(remedy, sick.loss, best, self.noise)


_NO_NUMBER = r"^Try a (smaller|larger) learning rate\.$"
_BOTH = partial(Branches, 1.0)
_LEAKY = partial(perceptron, activation=nn.LeakyReLU)
_TWO = partial(perceptron, hidden=2)
_CORRECT = r"Begin with bias correction \(.+\) and lower the learning rate to a third of what it was \((\S+)\)"
_RAISE = r"or raise the learning rate slowly to that over the first (?P<steps>\d+) steps"
_RAISE_TO = r"Raise the learning rate slowly over the first (?P<steps>\d+) steps, to a \w+ of what it was \((\S+)\)"
_ANEW = r"search the learning rate anew, from (\S+) to (\S+):"
_LOWER_EPS = rf"ower ε below the typical \S+ \((\S+) is a tenth of it\) and {_ANEW}"
_LOWER = r"Lower the learning rate \(to (\S+)\)"
_INITIALISE, _AGAIN = "initialise it anew;", "if it dies again, take a smaller learning rate"
_SMALLER, _LEAK = "begin anew with a smaller learning rate;", "use an activation that passes a gradient below 0"
_LARGER_EPS = r"Take an ε of at least (\S+),"
_KEEP_32 = "eep the averages in 32 bits, as rmsprop.torch.RMSprop does"
_LONGER = r"Lengthen the memory \((\S+) instead of"

_torch = partial(Loop, optimizer=torch.optim.RMSprop)
_half = partial(_torch, dtype=torch.float16, steps=100, every=1)
_constant = partial(Loop, model=linear, rows=far_away, loss=F.l1_loss, batch=16)
_dead = Loop({"lr": 1e-3}, model=partial(perceptron, bias=-20.0))
_blocked = Loop({"lr": 1e-3}, model=partial(perceptron, hidden=2, bias=-20.0))
_killed = Loop({"lr": 1.0}, optimizer=torch.optim.Adam)
_explodes = Loop({"lr": 0.03}, model=Recurrence, rows=sums, loss=F.mse_loss, batch=8, every=1)
_roots = Loop({"lr": 1e-2}, model=proportional, rows=with_zeros, loss=roots, batch=1, every=1)
_hot = Loop({"lr": 0.02, "alpha": 0.999})
_short = Loop({"lr": 1e-3, "alpha": 0.5}, batch=1)
_held = Loop({"lr": 1e-4}, dtype=torch.bfloat16)
_crossed = Loop({"lr": 1e-3}, model=classifier, rows=products, batch=128)
_small = _half({"lr": 1e-3, "eps": 1e-3}, times=1e-2)


def _set(loop: Loop, said: Match[str], **names: int) -> Sequence[Loop]:
    """Set options to what groups of the pattern say."""
    return [loop.but(**{name: float(said[group]) for name, group in names.items()})]


def _corrected(loop: Loop, said: Match[str]) -> Sequence[Loop]:
    return [replace(loop, optimizer=RMSprop).but(bias_correction=True, lr=float(said[1]))]


def _raised(loop: Loop, said: Match[str]) -> Sequence[Loop]:
    lr = float(said[2]) if said.re.groups > 1 else loop.lr / 3
    return [replace(loop, warm_up=int(said["steps"])).but(lr=lr)]


def _smaller(loop: Loop, said: Match[str], model: Callable[[], nn.Module] = perceptron) -> Sequence[Loop]:
    return [replace(loop, model=model).but(lr=loop.lr / 10)]


def _changed(loop: Loop, said: Match[str], **fields: object) -> Sequence[Loop]:
    return [replace(loop, **fields)]  # type: ignore[arg-type]


def _searched(loop: Loop, said: Match[str], **options: object) -> Sequence[Loop]:
    """Try learning rates from the last but one to the last group of the pattern."""
    low, high = map(float, said.groups()[-2:])
    return [loop.but(**options, lr=float(lr)) for lr in np.geomspace(low, high, 5)]


def _lower_eps(loop: Loop, said: Match[str]) -> Sequence[Loop]:
    return _searched(loop, said, eps=float(said[1]))


def _multiplied(loop: Loop, said: Match[str]) -> Sequence[Loop]:
    return _searched(replace(loop, times=loop.times * float(said[1])), said)


def _with_32_bits(loop: Loop, said: Match[str]) -> Sequence[Loop]:
    return _searched(replace(loop, optimizer=RMSprop), said, eps=1e-8)


def _rounded(loop: Loop, said: Match[str]) -> Sequence[Loop]:
    return [loop.but(rounding=said[1])]


def _longer(loop: Loop, said: Match[str], **options: object) -> Sequence[Loop]:
    return [loop.but(alpha=float(said[1]), **options)]


def _other_rates(loop: Loop, said: Match[str], factors: Sequence[float]) -> Sequence[Loop]:
    """Try learning rates that are so many times as high."""
    return [loop.but(lr=factor * loop.lr) for factor in factors]


_in_32_bits = partial(_changed, optimizer=RMSprop)
_MULTIPLY = rf"ultiply the loss by about (\S+?)[; ].*{_ANEW}"

HOT, DEAD, NOT_FINITE, EPS = "warm-up too hot", "dead layer", "gradient not finite", "ε too large to adapt"
EPS_LOST, UNDERFLOW = "ε too small for the dtype", "squared gradients underflow"
TOO_LOW, TOO_HIGH, PLATEAU = "learning rate too low", "learning rate too high", "plateau"
COLLAPSED, DECAY = "centered variance collapsed", "decay too small for the batch"
HELD = "weights held still by rounding"

ADVISED = (
    Advised("v₀ = 0, a long memory", HOT, _hot, _CORRECT, _corrected),
    Advised("v₀ = 0, a long memory", HOT, _hot, _RAISE, _raised),
    Advised("torch's RMSprop", HOT, _torch({"lr": 0.05}), _CORRECT, _corrected),
    Advised("torch's RMSprop", HOT, _torch({"lr": 0.05}), _RAISE, _raised),
    Advised("centered", HOT, Loop({"lr": 0.05, "centered": True}), _RAISE_TO, _raised),
    Advised("corrected", HOT, Loop({"lr": 0.2, "bias_correction": True}, model=_LEAKY), _RAISE_TO, _raised),
    Advised("Adam", HOT, Loop({"lr": 0.3}, optimizer=torch.optim.Adam), _RAISE_TO, _raised),
    Advised("SGD", HOT, Loop({"lr": 3.0}, optimizer=torch.optim.SGD, model=_LEAKY), _RAISE_TO, _raised),
    Advised("dead from the first step", DEAD, _dead, _INITIALISE, partial(_changed, model=perceptron)),
    Advised("dead from the first step", DEAD, _dead, _AGAIN, _smaller),
    Advised("dead from the first step", DEAD, _dead, _LEAK, partial(_changed, model=_LEAKY)),
    Advised("the second is dead", DEAD, _blocked, _INITIALISE, partial(_changed, model=_TWO)),
    Advised("the second is dead", DEAD, _blocked, _AGAIN, partial(_smaller, model=_TWO)),
    Advised("the second is dead", DEAD, _blocked, _LEAK, partial(_changed, model=partial(_LEAKY, hidden=2))),
    Advised("killed by Adam at lr 1", DEAD, _killed, _SMALLER, _smaller),
    Advised("killed by Adam at lr 1", DEAD, _killed, _LEAK, partial(_smaller, model=_LEAKY)),
    Advised("a factor of 0", DEAD, Loop({"lr": 1e-3}, model=Branches), "a factor of 0", partial(_changed, model=_BOTH)),
    Advised(
        "next to no steps",
        TOO_LOW,
        Loop({"lr": 1e-7}),
        r"^Try a larger learning rate\.$",
        partial(_other_rates, factors=(10.0,)),
    ),
    Advised(
        "small steps", TOO_LOW, Loop({"lr": 1e-4}), r"^Try a larger learning rate: lr=(\S+)\.$", partial(_set, lr=1)
    ),
    Advised("lr 10", TOO_HIGH, Loop({"lr": 10.0}), r"Try a smaller learning rate: lr=(\S+)\.", partial(_set, lr=1)),
    Advised("no line", PLATEAU, _crossed, "Try a larger model", partial(_changed, model=partial(classifier, 32))),
    Advised("no line", PLATEAU, _crossed, "try another", partial(_other_rates, factors=(0.1, 3.0)), noise=0.01),
    Advised("no line", TOO_HIGH, _crossed.but(lr=3e-3), _NO_NUMBER, partial(_other_rates, factors=(0.1,)), noise=0.01),
    Advised("a linear recurrence", "exploding gradients", _explodes, _LOWER, partial(_set, lr=1)),
    Advised("exploding at once", "exploding gradients", _explodes.but(lr=0.1), _LOWER, partial(_set, lr=1)),
    Advised("a root of 0", NOT_FINITE, _roots, "Leave out steps", partial(_changed, finite=True)),
    Advised("a root of 0", NOT_FINITE, _roots, "look for a root", partial(_changed, loss=F.l1_loss)),
    Advised("ε = 1", EPS, Loop({"lr": 1e-3, "eps": 1.0}), _LOWER_EPS, _lower_eps),
    Advised("ε = 1 at its learning rate", EPS, Loop({"lr": 0.3, "eps": 1.0}), _LOWER_EPS, _lower_eps),
    Advised("ε = 1 inside", EPS, Loop({"lr": 1e-3, "eps": 1.0, "dialect": "tensorflow1"}), _LOWER_EPS, _lower_eps),
    Advised("ε = 1, torch's", EPS, _torch({"lr": 1e-3, "eps": 1.0}), _LOWER_EPS, _lower_eps),
    Advised("float16, ε = 1e-8", EPS_LOST, _half({"lr": 1e-3}), _LARGER_EPS, partial(_set, eps=1)),
    Advised("float16, ε = 1e-8", EPS_LOST, _half({"lr": 1e-3}), _KEEP_32, _in_32_bits),
    Advised("float16, ε = 1e-7", EPS_LOST, _half({"lr": 1e-3, "eps": 1e-7}), _LARGER_EPS, partial(_set, eps=1)),
    Advised("float16, ε = 1e-7", EPS_LOST, _half({"lr": 1e-3, "eps": 1e-7}), _KEEP_32, _in_32_bits),
    Advised("float16, a small loss", UNDERFLOW, _small, _MULTIPLY, _multiplied),
    Advised("float16, a small loss", UNDERFLOW, _small, rf"{_KEEP_32}.*{_ANEW}", _with_32_bits),
    Advised(
        "bfloat16, decay 0.999",
        "averages frozen",
        _torch({"lr": 1e-3, "alpha": 0.999}, dtype=torch.bfloat16),
        _KEEP_32,
        _in_32_bits,
    ),
    Advised("bfloat16, lr 1e-4", HELD, _held, "rounding='(stochastic)'", _rounded),
    Advised("bfloat16, lr 1e-4", HELD, _held, "rounding='(kahan)'", _rounded),
    Advised("bfloat16, lr 1e-4", HELD, _held, "weights in float32", partial(_changed, dtype=torch.float32)),
    Advised(
        "a constant gradient",
        COLLAPSED,
        _constant({"lr": 1e-5, "alpha": 0.9, "centered": True}),
        f"turn centered off and {_ANEW}",
        partial(_searched, centered=False),
    ),
    Advised(
        "a constant gradient, torch's",
        COLLAPSED,
        _constant({"lr": 1e-5, "alpha": 0.9, "centered": True}, optimizer=torch.optim.RMSprop),
        f"turn centered off and {_ANEW}",
        partial(_searched, centered=False),
    ),
    Advised(
        "centered and corrected",
        COLLAPSED,
        Loop({"lr": 1e-3, "centered": True, "bias_correction": True}, every=1),
        "Turn bias correction off",
        lambda loop, said: [loop.but(bias_correction=False)],
    ),
    Advised(
        "decay 0.5",
        DECAY,
        _short,
        rf"{_LONGER} \S+\) under bias correction",
        partial(_longer, bias_correction=True),
    ),
    Advised("decay 0.5", DECAY, _short, "take larger", partial(_changed, batch=8)),
    Advised("decay 0.5, corrected", DECAY, _short.but(bias_correction=True), _LONGER, _longer),
    Advised(
        "decay 0.5, centered",
        DECAY,
        Loop({"lr": 1e-3, "alpha": 0.5, "centered": True}),
        r"engthen the memory \((\S+) instead of \S+\) and search the learning rate anew, from (\S+) to (\S+)\.",
        lambda loop, said: _searched(loop, said, alpha=float(said[1])),
    ),
)
