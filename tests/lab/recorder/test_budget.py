"""How often the recorder measures."""

from lab.recorder.loops import loop, perceptron

import rmsprop.torch
from rmsprop.lab import Recorder
from rmsprop.lab.recorder import budget
from rmsprop.lab.recorder.file import read


def test_how_often_is_decided_by_what_it_costs(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(budget, "perf_counter", lambda: now[0])
    plan = budget.MeasuringBudget(0, None)
    measured, step, cost = [], 0, 0.002
    while now[0] < 100.0:
        step += 1
        if plan.measures(step):
            plan.spent(cost)
            now[0] += cost
            plan.measured(step)
            measured.append(step)
        now[0] += 0.01
    assert measured[:6] == [1, 2, 3, 4, 5, 7]
    free = 1 + sum(step in (1000, 2000, 5000) for step in measured)  # the first, and those whatever it costs
    assert (len(measured) - free) * cost <= budget.ALLOWANCE + budget.STATISTICS_SHARE * now[0]
    assert len(measured) * cost >= 0.3 * budget.STATISTICS_SHARE * now[0]


def test_a_slow_machine_leaves_no_run_without_measurements(monkeypatch):
    monkeypatch.setattr(budget, "perf_counter", lambda: 0.0)
    plan = budget.MeasuringBudget(0, None)
    measured = []
    for step in range(1, 2001):
        if plan.measures(step):
            plan.spent(5.0 if step == 1 else 0.2)  # the first doesn't count, the second spends all that is free
            plan.measured(step)
            measured.append(step)
    assert measured == [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000]


def test_a_run_on_a_slow_machine_is_recorded_at_those_steps(path, monkeypatch):
    monkeypatch.setattr(budget, "ALLOWANCE", 0.0)
    monkeypatch.setattr(budget, "STATISTICS_SHARE", 1e-9)
    model = perceptron()
    optimizer = rmsprop.torch.RMSprop(model.parameters())
    with Recorder(optimizer, path, model=model) as recorder:
        loop(model, optimizer, 120, recorder)
    assert [row.step for row in read(path).statistics] == [1, 2, 5, 10, 20, 50, 100]
