"""The algorithm box: what is typeset computes what the rule computes, and LaTeX has nothing to stumble over."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from lab.dialects.test_formulas import RULES, STEPS, by_the_reference, gradients
from matplotlib.mathtext import MathTextParser

from rmsprop import DIALECTS, Rule
from rmsprop.lab.dialects.latex import algorithm, escaped, typeset

GRADIENT = r"\State $g \leftarrow \nabla_{\theta} f_t(\theta)$"
PYTHON = {
    r"\left(": "(", r"\right)": ")", r"\mathbf{1}\left[": "(", r"\right]": ")",
    r"\operatorname{clip}": "np.clip", r"\operatorname{mean}": "np.mean", r"\max": "max", r"\sqrt": "np.sqrt",
    r"\hat{v}": "v_hat", r"\hat{m}": "m_hat", r"\theta": "theta", r"\eta": "lr",
    r"\cdot": "*", r"\geq": ">=", r"\leftarrow": "=", "^": "**", r"\,": " ",
}  # fmt: skip
# A rule with every part on that has a sign of its own.
BUSY = Rule(
    centered=True, bias_correction=True, momentum=0.5, nesterov=True, caution=True, averaged_momentum=True,
    delayed=True, weight_decay=0.1, weight_decay_mode="cautious", weight_decay_max_lr=0.5,
)  # fmt: skip


def lines(box):
    """The formulas within the loop of a box, in order."""
    loop = box.split("\\For{")[1].split("\\EndFor")[0]
    return [line.removeprefix("\\State $").removesuffix("$") for line in loop.splitlines()[1:] if line != GRADIENT]


def as_python(formula):
    for sign, code in PYTHON.items():
        formula = formula.replace(sign, code)
    group = r"\{((?:[^{}])*)\}"  # the innermost first
    while "{" in formula:
        formula, fractions = re.subn(r"\\frac" + group * 2, r"((\1) / (\2))", formula)
        if not fractions:
            formula = re.sub(r"(?<!\\frac)(?<!\})" + group, r"(\1)", formula, count=1)
    return formula


@pytest.mark.parametrize("rule", [*RULES, BUSY], ids=range(len(RULES) + 1))
def test_what_is_typeset_is_the_update(rule):
    rule = replace(rule, eps=1.0)  # far above what cancellation leaves of v − m², and no 0 / 0
    steps = "\n".join(map(as_python, lines(algorithm("torch", rule))))
    names = {
        "np": SimpleNamespace(sqrt=lambda x: np.sqrt(np.maximum(x, 0.0)), clip=np.clip, mean=np.mean),
        "theta": np.ones(5),
        "lr": 0.01,
        "v": np.full(5, rule.initial_average),
        **dict.fromkeys(("m", "b", "v_hat", "m_hat"), np.zeros(5)),
    }
    gradient = gradients()
    for names["t"] in range(1, STEPS + 1):
        names["g"] = gradient(names["theta"])
        if rule.init_from_gradient and names["t"] == 1:
            names["v"] = (names["g"] + rule.weight_decay * names["theta"] * rule.decays_weights("l2")) ** 2
        exec(steps, names)
    np.testing.assert_allclose(names["theta"], by_the_reference(rule), rtol=1e-9)  # of the same order as in formulas


def test_latex_can_read_every_line():
    rules = [*RULES, BUSY, Rule(decay=2e-5, bias_correction=True), Rule(decay=1e-5, bias_correction=True)]
    found = {line for rule in rules for lr in (None, 3e-4) for line in algorithm("sb3", rule, lr).splitlines()}
    parser = MathTextParser("path")
    for line in found:
        assert line.isascii()
        text, *rest = re.split(r"(?<!\\)\$", line)
        assert len(rest) % 2 == 0, line
        for formula in rest[::2]:
            parser.parse(f"${formula}$")
        for words in (text, *rest[1::2]):
            assert not re.search(r"(?<!\\)[_^&#]|(?<!^)(?<!\\)%", re.sub(r"^% .*", "", words)), line
        assert line.count("{") == line.count("}"), line


@pytest.mark.parametrize("lr", [None, 3e-4], ids=["symbol", "number"])
def test_the_learning_rate_is_a_symbol_until_it_is_known(lr):
    box = algorithm("torch", Rule(), lr)
    assert (r"\eta" in box, "0.0003" in box) == (lr is None, lr is not None)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_box_is_whole_and_names_its_source(dialect):
    row = DIALECTS[dialect]
    box = algorithm(dialect, row.rule)
    opened = []
    for kind, name in re.findall(r"\\(begin|end|For|EndFor)(?:\{(\w+)\})?", box):
        if kind in ("begin", "For"):
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    assert rf"\texttt{{{escaped(dialect)}}} ({escaped(row.source)}), as written by rmsprop " in box
    assert "changed to" not in box


def test_what_was_changed_is_in_the_caption():
    box = algorithm("keras_legacy", DIALECTS["keras_legacy"].rule_with(momentum=0.9, eps=1e-3))
    assert r", changed to eps 0.001, eps\_inside\_sqrt on, momentum 0.9, as written" in box


@pytest.mark.parametrize(
    ("formula", "latex"),
    [
        ("θ ← θ − lr·g / (√v + 1e-8)", r"\theta \leftarrow \theta - \frac{\eta \cdot g}{\sqrt{v} + 10^{-8}}"),
        ("v̂ = v / (1 − 1e-5ᵗ)", r"\hat{v} = \frac{v}{1 - \left(10^{-5}\right)^{t}}"),
        ("v ← 2.5e-7·v + g²", r"v \leftarrow 2.5 \cdot 10^{-7} \cdot v + g^{2}"),
        ("s = lr·(u + 0.5·b)", r"s = \eta \cdot \left(u + 0.5 \cdot b\right)"),
        ("c = (b·g > 0)", r"c = \mathbf{1}\left[b \cdot g > 0\right]"),
    ],
)
def test_a_formula_in_latex(formula, latex):
    assert typeset(formula) == latex


def test_only_the_mean_of_caution_is_over_all_elements():
    assert "all operations but the mean are elementwise" in algorithm("torch", BUSY)
    assert "all operations are elementwise" in algorithm("torch", Rule())


def test_no_gradient_no_step_is_a_note_below():
    assert r"\Statex where $0 / 0$ is $0$" in algorithm("torch", Rule(eps=0.0)).splitlines()


def test_every_sign_that_latex_would_obey_is_escaped():
    assert escaped("a_b & 5 % #1 {$}") == r"a\_b \& 5 \% \#1 \{\$\}"
    assert escaped("\\~^") == r"\textbackslash{}\textasciitilde{}\textasciicircum{}"
