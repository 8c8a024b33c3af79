"""Every sickness is found in a real run that has it, and healthy runs have none."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from lab.diagnose.loops import digits, perceptron, train
from lab.diagnose.sick import ROWS

import rmsprop.torch
from rmsprop import DIALECTS

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("make", ROWS, ids=lambda make: make.__name__)
def test_a_sick_run_is_found_with_evidence_and_remedy(tmp_path, make):
    kind, severity, since, words = ROWS[make]
    diagnosis = make(tmp_path)
    found = {finding.kind: finding for finding in diagnosis.findings}
    assert kind in found, found
    finding = found[kind]
    assert finding.severity == severity
    assert not diagnosis.healthy
    assert words.lower() in f"{finding.evidence} {finding.remedy}".replace("\u00a0", " ").lower()
    assert any(map(str.isdigit, finding.evidence))
    if since is None:
        assert finding.since is None
    else:
        assert since[0] <= finding.since <= since[1]


def test_healthy_runs_raise_no_alarm(tmp_path):
    problems = "linear,wine,digits,bowl,bowl-noisy,diabetes"
    options = ["--seeds", "1", "--every", "5", "--problems", problems, "--results", str(tmp_path)]
    command = [sys.executable, "-m", "benchmarks.false_alarms", *options]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert output.returncode == 0, output.stderr
    with (tmp_path / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert [row for row in rows if row["by steps"] or row["by epochs"]] == []


# An ε above 1e-6 was chosen for gradients that are larger than these, and is rightly called too large for them.
@pytest.mark.parametrize("dialect", [name for name, row in DIALECTS.items() if row.rule.eps < 1e-6])
def test_no_dialect_is_sick_by_itself(tmp_path, dialect):
    model = perceptron()
    rule = DIALECTS[dialect].rule  # from v₀ = 1 the first steps are small, and the longer the memory the more of them
    lr = 5e-4 if not rule.initial_square_avg else 1e-2 if rule.decay < 0.95 else 5e-2
    optimizer = rmsprop.torch.RMSprop(model.parameters(), lr=lr, dialect=dialect)
    diagnosis = train(tmp_path, model, optimizer, digits(32), 200)
    assert [finding.headline for finding in diagnosis.findings if finding.severity in ("bad", "warning")] == []
