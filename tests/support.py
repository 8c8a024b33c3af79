"""What several tests need: every rule, the kernel run on NumPy arrays, and a page taken apart."""

from html.parser import HTMLParser
from itertools import product

import numpy as np

from rmsprop import Rule, native
from rmsprop.batch import Batch
from rmsprop.hyperparameters import Traced

# What only papers' code has, beside what else an update depends on.
VARIANT_RULES = [
    Rule(decay=decay, momentum=momentum, averaged_momentum=True, **others)
    for decay, momentum, others in product(
        (0.3, 0.9),
        (0.3, 0.9),
        (
            {},
            {"bias_correction": True},
            {"nesterov": True, "lr_in_momentum": True, "eps": 1e-3, "eps_inside_sqrt": True},
            {"nesterov": True, "bias_correction": True, "centered": True, "weight_decay": 0.1},
        ),
    )
]

VARIANT_RULES += [
    Rule(decay=decay, momentum=momentum, caution=True, **others)
    for decay, momentum, others in product(
        (0.3, 0.9),
        (0.3, 0.9),
        (
            {},
            {"averaged_momentum": True, "bias_correction": True, "weight_decay": 0.1},
            {"nesterov": True, "lr_in_momentum": True, "eps": 1e-3, "eps_inside_sqrt": True, "centered": True},
            {"delayed": True, "weight_decay": 0.1, "weight_decay_mode": "cautious", "weight_decay_max_lr": 0.3},
        ),
    )
]
VARIANT_RULES += [
    Rule(weight_decay=0.1, weight_decay_mode=mode, weight_decay_max_lr=0.3, momentum=momentum)
    for mode, momentum in product(("decoupled", "cautious"), (0.0, 0.9))
]

VARIANT_RULES += [
    Rule(decay=decay, momentum=momentum, averaged_momentum=averaged, **variant, **others)
    for decay, (momentum, averaged), variant, others in product(
        (0.3, 0.9),
        ((0.0, False), (0.8, False), (0.8, True)),
        (
            {"init_from_gradient": True},
            {"delayed": True},
            {"init_from_gradient": True, "delayed": True},
            {"weight_decay": 0.1, "weight_decay_mode": "cautious"},
            {"delayed": True, "bias_correction": True, "weight_decay": 0.1, "weight_decay_mode": "cautious"},
        ),
        (
            {},
            {"centered": True, "eps": 1e-3, "eps_inside_sqrt": True},
        ),
    )
]

# Every combination of the frameworks' options that decide which instructions run.
COMMON_RULES = [
    Rule(
        decay=decay,
        eps=1e-3 if inside else 1e-8,
        eps_inside_sqrt=inside,
        initial_square_avg=v0,
        centered=centered,
        momentum=momentum,
        nesterov=nesterov,
        lr_in_momentum=lr_inside,
        bias_correction=correction,
        weight_decay=weight_decay,
        weight_decay_mode=mode,
    )
    for decay, inside, v0, centered, (momentum, nesterov, lr_inside), correction, (weight_decay, mode) in product(
        (0.3, 0.9),
        (False, True),
        (0.0, 1.0),
        (False, True),
        ((0.0, False, False), (0.3, False, False), *product((0.8,), (False, True), (False, True))),
        (False, True),
        ((0.0, "l2"), (0.1, "l2"), (0.1, "decoupled")),
    )
]
ALL_RULES = [*COMMON_RULES, *VARIANT_RULES]

# Numbers at which an update takes another way.
BOUNDARY_RULES = [
    Rule(decay=0.5, momentum=0.5),
    Rule(decay=0.5, momentum=0.5, nesterov=True, weight_decay=0.1),
    Rule(decay=0.5, momentum=0.5, centered=True, lr_in_momentum=True, nesterov=True),
    Rule(eps=0.0),
    Rule(eps=0.0, momentum=0.9),
    Rule(eps=0.0, eps_inside_sqrt=True, centered=True),
]


@Traced.register
class TracedNumber:
    """A number that only compiled code will know: nothing may ask how large it is."""

    def _compared(self, other):
        raise AssertionError("something compares a traced number")

    def __bool__(self):
        raise AssertionError("something branches on a traced number")

    __lt__ = __le__ = __gt__ = __ge__ = _compared


@Traced.register
class TracedFloat(float):
    """A traced number that can be computed with."""

    __lt__ = __le__ = __gt__ = __ge__ = TracedNumber._compared
    __bool__ = TracedNumber.__bool__


def kernel_batch(rule, params, grads, states, dtype=None):
    """Return a batch over arrays; the caller keeps them alive."""
    order = [n for n in ("square_avg", "grad_var", "grad_avg", "momentum_buffer") if n in rule.state_names]
    batch = Batch(dtype or params[0].dtype.name, len(params), rule)
    columns = [params, grads, *([state[name] for state in states] for name in order)]
    batch.place([p.size for p in params], [array.ctypes.data for column in columns for array in column])
    return batch


def kernel_update(
    rule, lr, step, params, grads, states, *, threads=1, parallel_for=None, maximize=False, grad_scale=1.0
):
    """Update arrays in place with the compiled kernel."""
    batch = kernel_batch(rule, params, grads, states)
    batch.set_numbers(lr, step, maximize=maximize, grad_scale=grad_scale)
    if rule.caution:
        batch.count_agreements(parallel_for, threads)
    native.update([batch], parallel_for, threads)


def same_bits(a, b):
    """Whether two arrays are equal bit by bit, but for the payload of NaN."""
    return np.array_equal(a, b, equal_nan=True) and np.array_equal(np.signbit(a[a == 0]), np.signbit(b[b == 0]))


def wild_gradients(rng, shape, dtype=np.float32):
    """Gradients over many magnitudes, with zeros, infinities and NaN among them."""
    grads = rng.standard_normal(shape) * 10.0 ** rng.uniform(-30, 15, shape)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, 3e38])
    where = rng.random(shape) < 0.1
    return np.where(where, rng.choice(special, shape), grads).astype(dtype)


class Page(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.ids, self.links, self.text = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        for name, value in attributes:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href", "data", "action", "srcset"):
                self.links.append(value)

    def handle_data(self, data):
        self.text.append(data)
