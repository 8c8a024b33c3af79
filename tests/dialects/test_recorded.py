"""The recorded outputs belong to the inputs of today."""

from pathlib import Path

import pytest
from dialects.frameworks import FRAMEWORKS, RECORDED, recording
from dialects.recorders.record import inputs
from dialects.trajectories import CASES, FRAMEWORK_CASES, gradients

from rmsprop import DIALECTS

# The versions that the table of dialects names.
RELEASES = {
    "paddle": ("paddlepaddle", "3.3.1"),
    "mxnet": ("mxnet", "1.9.1"),
    "chainer": ("chainer", "7.8.1"),
    "chainer_graves": ("chainer", "7.8.1"),
    "mlx": ("mlx", "0.32.4"),
}


def test_every_recording_is_used():
    assert {path.stem for path in Path(RECORDED).iterdir()} == set(RELEASES)


@pytest.mark.parametrize("framework", RELEASES)
def test_a_recording_was_made_from_these_inputs(framework):
    found = recording(framework)
    assert found["framework"] == framework
    assert found["gradients"] == gradients().tolist()
    assert found["cases"].keys() == set(FRAMEWORK_CASES[framework])
    for name, case in found["cases"].items():
        assert {key: case[key] for key in ("settings", "learning_rates", "start", "still")} == inputs(CASES[name])


@pytest.mark.parametrize("framework", RELEASES)
def test_a_recording_names_the_release_that_the_row_names(framework):
    package, release = RELEASES[framework]
    assert recording(framework)["versions"][package] == release
    dialect = DIALECTS[FRAMEWORKS[framework].dialect]
    assert framework == "chainer_graves" or release in dialect.source


@pytest.mark.parametrize("framework", RELEASES)
def test_a_row_has_a_learning_rate_unless_the_framework_demands_one(framework):
    dialect = DIALECTS[FRAMEWORKS[framework].dialect]
    assert recording(framework)["needs_learning_rate"] == (dialect.lr is None)
