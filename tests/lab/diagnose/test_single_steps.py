"""A log of single steps, of which several make a point of the curve that is judged: the step itself is named."""

import math

import pytest

from rmsprop.lab.diagnose.history import History, Series
from rmsprop.lab.diagnose.rules import diagnose

FEW = [0.3 + math.exp(-n / 60) for n in range(400)]


@pytest.mark.parametrize(
    ("losses", "headline", "evidence"),
    [
        ([1.0, *[30.0] * 119], "diverged at step 2", "rose to 30"),
        ([*[1.0] * 30, *[30.0] * 90], "diverged at step 31", "rose to 30"),
        ([*FEW[:208], *[20.0] * 192], "diverged at step 209", "rose to 20"),
        ([*FEW[:50], *[12.0] * 3, *FEW[53:208], *[20.0] * 192], "diverged at step 209", "rose to 20"),
        ([*FEW[:262], 12.0, *FEW[263:]], "spikes since step 263", "in step 263 it reached 12"),
    ],
    ids=["at once", "within a stretch", "in mid-run", "after a spike", "a spike"],
)
def test_of_single_steps_the_step_itself_is_named(losses, headline, evidence):
    train = Series(tuple(range(1, len(losses) + 1)), tuple(losses))
    found = diagnose(History(name="steps", source="a test", unit="step", train=train)).findings[0]
    assert found.headline == headline
    assert evidence in found.evidence
