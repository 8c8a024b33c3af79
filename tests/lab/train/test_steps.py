"""What sees to the learning rate in the place of a schedule: in a run, in its report, and in what it refuses."""

from dataclasses import replace

import pytest
import torch

from rmsprop.lab.errors import InputError
from rmsprop.lab.problems import load
from rmsprop.lab.train.earlier import over_earlier
from rmsprop.lab.train.runs import begin
from rmsprop.lab.train.settings import SCHEDULE_FREE, TUNED_SCHEDULES, resolve
from rmsprop.lab.train.training import Training
from rmsprop.torch import HypergradientDescent, RMSprop, ScheduleFreeRMSprop

SHORT = {"problem": "wine", "epochs": 4, "batch_size": 32}


def trained(**given):
    problem = load("wine")
    settings = resolve(SHORT | given)
    training = Training(problem, settings)
    return training, [training.run_epoch() for _ in range(settings.epochs)]


def by_hand(problem, optimizer, model, settings):
    """The loop that a person writes."""
    from rmsprop.lab.problems.conventions import row_order

    for epoch in range(1, settings.epochs + 1):
        for rows in torch.split(row_order(settings.seed, epoch, len(problem.train)), settings.batch_size):
            optimizer.zero_grad()
            problem.objective(model.parameters(), model(problem.train.x[rows]), problem.train.y[rows]).backward()
            optimizer.step()


def test_hypergradients_are_those_of_the_optimizer():
    training, epochs = trained(schedule="hypergradient", lr=1e-4)
    problem, settings = training.problem, training.settings
    model = problem.model(settings.seed)
    decay = settings.rule.weight_decay
    optimizer = RMSprop(model.parameters(), lr=1e-4, weight_decay=decay)
    HypergradientDescent(optimizer)
    by_hand(problem, optimizer, model, settings)
    assert epochs[-1].lr == optimizer.param_groups[0]["lr"] > 1e-4
    assert all(map(torch.equal, model.parameters(), training.model.parameters()))


def test_schedule_free_is_the_optimizer_and_its_average_is_what_counts():
    training, epochs = trained(schedule=SCHEDULE_FREE, lr=0.01, warmup=2.0, weight_decay=0.1)
    problem, settings = training.problem, training.settings
    model = problem.model(settings.seed)
    steps = 2 * training.steps_per_epoch
    optimizer = ScheduleFreeRMSprop(model.parameters(), lr=0.01, warmup_steps=steps, weight_decay=0.1)
    optimizer.train()
    by_hand(problem, optimizer, model, settings)
    assert all(map(torch.equal, model.parameters(), training.model.parameters()))  # y, from which it goes on
    optimizer.eval()
    assert problem.evaluate(model, problem.validation)[0] == epochs[-1].validation_loss
    training.take(settings.epochs)
    assert all(map(torch.equal, model.parameters(), training.model.parameters()))
    assert [epoch.lr for epoch in epochs] == pytest.approx([0.005, 0.01, 0.01, 0.01])


def test_marthe_fits_its_learning_rate_to_rows_on_which_it_does_not_train(monkeypatch):
    seen = []
    objective = Training._objective
    monkeypatch.setattr(Training, "_objective", lambda self, rows: seen.append(rows.tolist()) or objective(self, rows))
    training, epochs = trained(schedule="marthe", lr=1e-4)
    rows = len(training.problem.train)
    of_training, of_rate = ({row for some in seen[first::2] for row in some} for first in (0, 1))
    assert len(of_rate) == rows // 5
    assert of_training == {*range(rows)} - of_rate
    tuner = training.steps.tuner
    assert tuner.gradients == tuner.validation_gradients == training.step
    assert epochs[-1].lr > 1e-4


def test_batch_norm_sees_the_average():
    def fresh():
        return torch.nn.Sequential(torch.nn.Linear(13, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 3))

    problem = replace(load("wine"), make_model=fresh)
    training = Training(problem, resolve(SHORT | {"schedule": SCHEDULE_FREE, "lr": 0.05}))
    for _ in range(4):
        training.run_epoch()
    layer, norm, _ = training.model
    batches = [batch.mean(0) for batch in map(layer, training._inputs())]
    with training.optimizer.evaluating():
        averaged = [batch.mean(0) for batch in map(layer, training._inputs())]
    for means, agree in ((averaged, True), (batches, False)):
        assert torch.allclose(norm.running_mean, torch.stack(means).mean(0), atol=1e-5) == agree


@pytest.mark.parametrize("schedule", [*TUNED_SCHEDULES, SCHEDULE_FREE])
def test_the_report_draws_the_learning_rate_and_a_note_says_what_happens(tmp_path, schedule):
    with begin(SHORT | {"schedule": schedule}, tmp_path / "run") as run:
        list(run.train())
        result = run.finish(None)
    assert any(note.startswith(f"{schedule}: ") for note in run.notes)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert f"each epoch's last step: {schedule}" in page.replace("&#39;", "'")
    rates = [epoch.lr for epoch in result.epochs]
    assert (len(set(rates)) > 1) == (schedule in TUNED_SCHEDULES)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"schedule": "hypergradient", "warmup": 1.0}, "--warmup sets the learning rate that --schedule hypergradient"),
        (
            {"schedule": "marthe", "average": "swa"},
            "--average swa needs a constant learning rate, which --schedule ",
        ),
        ({"schedule": SCHEDULE_FREE, "average": "ema"}, "--average ema and --schedule schedule-free would average"),
        ({"schedule": SCHEDULE_FREE, "average": "swa"}, "--average swa and --schedule schedule-free would average"),
        ({"schedule": SCHEDULE_FREE, "delayed": True}, "--schedule schedule-free has no --delayed: leave one of them"),
        (
            {"schedule": SCHEDULE_FREE, "weight_decay_mode": "cautious"},
            "--schedule schedule-free has no --weight-decay-mode cautious: leave one of them out",
        ),
        (
            {"schedule": SCHEDULE_FREE, "momentum": 0.9},
            "--schedule schedule-free can't be used with this rule: ",
        ),
        (
            {"schedule": SCHEDULE_FREE, "centered": True},
            "--schedule schedule-free can't be used with this rule: ",
        ),
        (
            {"schedule": "hypergradient", "gamma": 0.5},
            "--gamma is for --schedule step or exponential or plateau",
        ),
    ],
)
def test_what_contradicts_itself_is_refused_in_a_sentence(given, message):
    with pytest.raises(InputError) as refused:
        Training(load("wine"), resolve(SHORT | given))
    assert str(refused.value).startswith(message)


def test_schedule_free_has_a_rule_of_its_own_unless_told_otherwise():
    rule = resolve(SHORT | {"schedule": SCHEDULE_FREE}).rule
    assert (rule.decay, rule.bias_correction) == (0.999, True)
    rule = resolve(SHORT | {"schedule": SCHEDULE_FREE, "decay": 0.9, "bias_correction": False}).rule
    assert (rule.decay, rule.bias_correction) == (0.9, False)
    earlier = resolve(SHORT | {"schedule": SCHEDULE_FREE, "eps": 1e-6}).as_dict()
    again = resolve(over_earlier({"problem": "wine", "schedule": "cosine"}, earlier)).rule
    assert (again.decay, again.bias_correction, again.eps) == (0.99, False, 1e-6)
