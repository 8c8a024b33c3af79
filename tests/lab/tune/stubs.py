"""Trials whose losses are a formula, so that what is decided from them can be foreseen."""

import dataclasses
import math

import numpy as np

from rmsprop.lab.tune.trials import Setting, Tried
from rmsprop.rule import Rule


@dataclasses.dataclass
class Problem:
    epochs: int = 30


class Formula:
    """Stands for `Trials`: the loss of a setting is what a function of it and the seed says."""

    def __init__(self, loss):
        self.loss, self.problem, self.calls = loss, Problem(), []

    def run(self, stage, settings, seeds, epochs):
        self.calls.append((stage, [setting.lr for setting in settings], tuple(seeds), epochs))
        return [tried(setting, [self.loss(setting, seed) for seed in seeds]) for setting in settings]


def tried(setting, losses):
    return Tried(setting=setting, losses=np.array(losses, dtype=float))


def setting(lr, dialect="torch", **fields):
    return Setting(dialect=dialect, rule=Rule.from_dialect(dialect, **fields), lr=lr)


def bowl(best, floor=1.0, lost=math.inf):
    """A loss that is lowest at a learning rate, rises with the decades from it squared, and is lost from another on."""
    return lambda one, seed: math.inf if one.lr >= lost else floor + math.log10(one.lr / best) ** 2 + 1e-3 * (seed % 7)
