"""Figure 11, use it: one setting as a line of code for each framework."""

from __future__ import annotations

import math

from rmsprop.lab.explain.content import FigureContent
from rmsprop.lab.explain.controls import Figure, Menu, Slider, Switch

# Framework -> its import, its function, what that is given first, its names of the settings, and whether ε is inside
# the root.
FRAMEWORKS = {
    "PyTorch": ("torch", "torch.optim.RMSprop", "params", ("lr", "alpha", "eps"), False),
    "rmsprop.torch": ("rmsprop.torch", "rmsprop.torch.RMSprop", "params", ("lr", "alpha", "eps"), False),
    "Keras": ("keras", "keras.optimizers.RMSprop", "", ("learning_rate", "rho", "epsilon"), True),
    "JAX": ("optax", "optax.rmsprop", "", ("learning_rate", "decay", "eps"), True),
    "NumPy": ("rmsprop.numpy", "rmsprop.numpy.RMSprop", "arrays", ("lr", "decay", "eps"), False),
}


def data() -> dict[str, object]:
    """Return what the script needs to write the same lines."""
    return {"frameworks": {name: list(of) for name, of in FRAMEWORKS.items()}}


def literal(value: float) -> str:
    """Return a number as one writes it in Python.

    Args:
        value: The number.

    Returns:
        Its text.

    Examples:
        >>> literal(0.99), literal(1e-8), literal(0.0003)
        ('0.99', '1e-8', '0.0003')
    """
    if value >= 1e-4 or value == 0.0:
        return f"{value:g}"
    return f"1e{round(math.log10(value))}"


def _content(framework: str, lr: float, rho: float, eps: float, momentum: float, centered: bool) -> FigureContent:
    module, function, first, names, inside = FRAMEWORKS[framework]
    given = [first] if first else []
    given += [f"{name}={literal(value)}" for name, value in zip(names, (lr, rho, eps), strict=True)]
    given += [f"momentum={literal(momentum)}"] if momentum else []
    given += ["centered=True"] if centered else []
    return FigureContent(
        plots=(),
        readouts={
            "call": f"import {module}\noptimizer = {function}({', '.join(given)})",
            "floor": math.sqrt(eps) if inside else eps,
            "first": 1.0 / math.sqrt(1.0 - rho),
            "half_life": math.log(2.0) / -math.log(rho),
        },
    )


FIGURE = Figure(
    name="use",
    controls=(
        Menu(name="framework", options=tuple(FRAMEWORKS), start="PyTorch"),
        Slider(name="lr", values=(1e-5, 1e-4, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1), start=0.001),
        Slider(name="rho", values=(0.5, 0.9, 0.95, 0.99, 0.999), start=0.99),
        Slider(name="eps", values=(1e-10, 1e-8, 1e-7, 1e-6, 1e-5, 0.001), start=1e-8),
        Slider(name="momentum", values=(0.0, 0.5, 0.9), start=0.0),
        Switch(name="centered", start=False),
    ),
    answer=1,
    content=_content,
    data=data,
)
