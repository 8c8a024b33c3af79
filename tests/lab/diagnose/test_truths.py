"""Histories whose truth is known: it is found, and nothing that isn't so."""

from pathlib import Path

import pytest

from benchmarks.confusion import Judged, cases, judge, shares
from benchmarks.histories import NOISES, TRUTHS
from rmsprop.lab.diagnose.readers import histories
from rmsprop.lab.diagnose.rules import diagnose

FILES = sorted((Path(__file__).parent / "histories").glob("*.csv"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_truth_that_a_file_is_named_for_is_found(path):
    truth = path.stem.split("_")[-1]
    found = diagnose(histories(path)[0])
    kinds = [finding.kind for finding in found.findings]
    assert kinds[0] == TRUTHS[truth]
    assert set(kinds) <= {TRUTHS[truth], "converged"}
    assert found.healthy == (truth in ("healthy", "falling"))


@pytest.mark.parametrize("form", ["Keras CSV", "recorder"])
def test_false_alarms_and_misses_are_one_in_twenty_at_most(form):
    judged = [judge(*case) for case in cases([form], range(3))]
    assert max(shares(judged)) <= 1 / 20


@pytest.mark.parametrize("form", ["Keras CSV", "epoch and batch CSV", "step CSV", "trainer_state.json"])
def test_so_it_is_where_noise_is_a_fifth_of_every_loss(form):
    judged = [judge(*case) for case in cases([form], range(12)) if case[2] == max(NOISES)]
    assert max(shares(judged)) <= 1 / 20


@pytest.mark.parametrize(
    ("truth", "found", "missed", "alarm"),
    [
        ("healthy", ["converged"], False, False),
        ("healthy", ["overfitting"], True, True),
        ("spike", ["spikes", "converged"], False, False),
        ("plateau", ["plateau", "warm-up too hot"], False, True),
        ("nan", [], True, False),
    ],
)
def test_what_counts_as_a_miss_and_as_a_false_alarm(truth, found, missed, alarm):
    judged = Judged("a format", truth, 0.0, 0, found)
    assert (judged.is_missed, judged.is_false_alarm) == (missed, alarm)
