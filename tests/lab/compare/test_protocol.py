"""A comparison does what the protocol says, goes on where it was, and is the same in other processes."""

import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import Future

import numpy as np
import pytest
import torch
from lab.compare.small import line

from rmsprop.lab.batched import Job
from rmsprop.lab.compare import Budget, compare
from rmsprop.lab.compare.cache import Cache
from rmsprop.lab.compare.protocol import BUDGETS, DEFAULT_OPTIMIZERS, budget_of, checked, reference, study_of
from rmsprop.lab.compare.search import points, searched, settings
from rmsprop.lab.errors import InputError, LostWorkerError
from rmsprop.lab.optimizers import OPTIMIZERS, choose
from rmsprop.lab.problems import Data

TINY = Budget(name="tiny", trials=4, studies=2, seeds=5)
NAMES = ("rmsprop", "sgd", "adam+swa")


@pytest.fixture(scope="module")
def found():
    return compare(line(), optimizers=NAMES, budget=TINY)


def numbers(comparison):
    """Everything but the seconds, which no two comparisons share."""
    return {**comparison.as_dict(), "seconds_per_step": None}


def test_every_optimizer_gets_the_same_points(found):
    for name in NAMES:
        for study in range(2):
            tried = [t for t in found.trials if (t.optimizer, t.study, t.widened) == (name, study, False)]
            assert [t.choice for t in tried] == settings(name, searched(name, 4), points(study, 4))
            assert {t.seed for t in tried} == {1_000_000 + study}


def test_seeds_of_tuning_are_never_reported(found):
    assert {run.seed for run in found.runs} == set(range(5))
    assert not {trial.seed for trial in found.trials} & {run.seed for run in found.runs}


def test_tuned_runs_use_the_best_setting_of_their_seeds_study(found):
    for run in found.runs:
        if run.track == "tuned":
            assert run.study == run.seed % 2
            mine = [t for t in found.trials if (t.optimizer, t.study) == (run.optimizer, run.study)]
            assert run.choice == min(mine, key=lambda trial: trial.score).choice
        else:
            assert (run.study, run.choice) == (None, choose(run.optimizer))


def test_every_optimizer_has_every_seed_in_both_tracks(found):
    assert Counter((run.track, run.optimizer, run.seed) for run in found.runs) == Counter(
        (track, name, seed) for track in ("defaults", "tuned") for name in NAMES for seed in range(5)
    )


def test_within_a_seed_all_begin_alike(found):
    for seed in range(5):
        assert len({run.curve.train[0] for run in found.runs if run.seed == seed}) == 1


def test_the_score_is_the_best_validation_objective(found):
    best = min(found.trials, key=lambda trial: trial.score)
    assert 0 < best.score < min(run.curve.validation[0] for run in found.runs)


def test_test_rows_are_read_for_reported_runs_alone(monkeypatch):
    asked = []
    from rmsprop.lab.compare import workers

    def spy(problem, batch, *, test, **options):
        asked.extend((job.seed >= 1_000_000, test) for job in batch)
        return train(problem, batch, test=test, **options)

    train = workers.train_together
    monkeypatch.setattr(workers, "train_together", spy)
    compare(line(), optimizers=["sgd"], budget=TINY)
    assert set(asked) == {(True, False), (False, True)}


def test_test_rows_have_no_part_in_tuning(found):
    others = Data(-100 * line().test.x, line().test.y + 7)
    again = compare(line(test=others), optimizers=NAMES, budget=TINY)
    assert again.trials == found.trials
    for run, other in zip(again.runs, found.runs, strict=True):
        assert run.choice == other.choice
        np.testing.assert_array_equal(run.curve.validation, other.curve.validation)
        assert math.isinf(run.curve.test) or run.curve.test != other.curve.test


def test_a_divergence_is_infinite_and_stays_in_the_count():
    found = compare(line(scale=5.0), optimizers=["sgd"], budget=TINY)
    for study in range(2):
        scores = [trial.score for trial in found.trials if trial.study == study and not trial.widened]
        assert len(scores) == 4
        assert 0 < scores.count(math.inf) < 4
    tuned = {run.choice for run in found.runs if run.track == "tuned"}
    assert all(math.isfinite(trial.score) for trial in found.trials if trial.choice in tuned)


def test_where_all_diverge_the_least_learning_rate_is_reported_and_said():
    found = compare(line(scale=1e4), optimizers=["sgd"], budget=TINY)
    assert all(trial.score == math.inf for trial in found.trials)
    least = {study: min(t.choice.lr for t in found.trials if t.study == study) for study in range(2)}
    assert all(run.choice.lr == least[run.study] for run in found.runs if run.track == "tuned")
    assert all(run.curve.diverged_at for run in found.runs)
    said = "SGD: every setting diverged in studies 1 and 2, and the least learning rate is reported."
    assert said in found.notes


@pytest.mark.parametrize(
    ("scale", "name", "low", "high"),
    [(0.1, "rmsprop", 0.1, 10.0), (30.0, "sgd", 1e-5, 1e-3)],
    ids=["the best is at the upper end", "all diverge"],
)
def test_a_range_that_holds_no_best_is_widened_once_and_that_is_said(scale, name, low, high):
    budget = Budget(name="tiny", trials=4, studies=1, seeds=1)
    found = compare(line(scale=scale), optimizers=[name, "adam"], budget=budget)
    first, widened = ([t for t in found.trials if t.optimizer == name and t.widened is w] for w in (False, True))
    assert len(widened) == 4
    assert [t.choice for t in widened] != [t.choice for t in first]
    assert all(low < trial.choice.lr < high for trial in widened)
    best = min((*first, *widened), key=lambda trial: trial.score)
    assert best in widened
    assert next(run.choice for run in found.runs if (run.track, run.optimizer) == ("tuned", name)) == best.choice
    about = [note for note in found.notes if "the best lr lay in the outer tenth of its range in study 1" in note]
    named = [label for note in about for label in note.partition(":")[0].split(", ")]
    assert len(about) == 1  # a note of both, if both were widened
    beyond = {trial.optimizer for trial in found.trials if trial.widened}
    assert named == [choose(n).label for n in (name, "adam") if n in beyond]


def test_progress_tells_phases_counts_and_standings():
    told = []
    found = compare(line(), optimizers=NAMES, budget=TINY, on_progress=told.append)
    phases = list(dict.fromkeys(progress.phase for progress in told))
    assert phases in (["timing", "tuning", "reporting"], ["timing", "tuning", "widening", "reporting"])
    for phase in phases[1:]:
        last = [progress for progress in told if progress.phase == phase][-1]
        assert last.done == last.total
        assert last.cached == 0
        assert set(last.standings) == set(NAMES)
    tuned = [run.curve.validation.min() for run in found.runs if (run.track, run.optimizer) == ("tuned", "sgd")]
    assert told[-1].standings["sgd"] == np.median(tuned)


def test_progress_counts_optimizers_while_timing_and_epochs_of_a_batch_while_training():
    told = []
    compare(line(epochs=8), optimizers=NAMES, budget=TINY, on_progress=told.append)
    timing = [(progress.done, progress.total) for progress in told if progress.phase == "timing"]
    assert timing[0] == (0, len(NAMES))
    assert timing[-1] == (len(NAMES), len(NAMES))
    tuning = [progress.done for progress in told if progress.phase == "tuning"]
    assert tuning == sorted(tuning)
    assert len(set(tuning)) > 5  # there are two batches at most


def test_a_step_is_timed_once_per_machine(tmp_path, monkeypatch):
    first, again = (
        compare(line(), optimizers=["sgd", "adam"], budget=TINY, cache=tmp_path).seconds_per_step for _ in range(2)
    )
    assert again == first
    monkeypatch.setattr("rmsprop.lab.compare.cache.platform.node", lambda: "another machine")
    other = compare(line(), optimizers=["sgd", "adam"], budget=TINY, cache=tmp_path).seconds_per_step
    assert other != first


def test_facts_say_what_was_compared(found):
    facts = found.facts
    assert (facts.problem, facts.rows, facts.parameters) == ("line", (36, 12, 12), 4)
    assert (facts.epochs, facts.batch_size, facts.steps_per_epoch) == (3, 12, 3)
    assert found.evaluations == dict.fromkeys(NAMES, 1)
    assert found.reference == "rmsprop"
    assert set(found.versions) == {"rmsprop", "torch", "numpy", "python"}
    assert all(0 < found.seconds_per_step[name] < 1 for name in NAMES)


@pytest.mark.parametrize(
    ("rows", "said"), [(36, "to a fifth of the training rows, on which"), (9, "to the rows that it trains on, because")]
)
def test_rows_held_out_and_evaluations_are_said(rows, said):
    problem = line(train=Data(line().train.x[:rows], line().train.y[:rows]))
    budget = Budget(name="b", trials=1, studies=1, seeds=2)
    found = compare(problem, optimizers=["rmsprop", "rmsprop-hd", "rmsprop-marthe"], budget=budget)
    assert found.evaluations == {"rmsprop": 1, "rmsprop-hd": 1, "rmsprop-marthe": 4}
    about = [note for note in found.notes if "is fitted" in note]
    assert len(about) == 1
    assert about[0].startswith(f"RMSProp + MARTHE: its learning rate is fitted {said}")


def test_epochs_and_rows_per_step_may_be_others():
    facts = compare(line(), optimizers=["sgd"], budget=TINY, seeds=1, epochs=2, batch_size=36).facts
    assert (facts.epochs, facts.batch_size, facts.steps_per_epoch) == (2, 36, 1)


def test_an_interrupted_comparison_goes_on_where_it_was(found, tmp_path, monkeypatch):
    def interrupt(progress):
        if progress.phase == "reporting" and progress.standings:  # a batch is whole
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compare(line(), optimizers=NAMES, budget=TINY, cache=tmp_path, on_progress=interrupt)
    told = []
    again = compare(line(), optimizers=NAMES, budget=TINY, cache=tmp_path, on_progress=told.append)
    assert numbers(again) == numbers(found)
    assert next(p for p in told if p.phase == "tuning").cached == 24
    assert next(p for p in told if p.phase == "reporting").cached > 0

    monkeypatch.setattr("rmsprop.lab.compare.workers.train_together", None)  # nothing is left to train
    assert numbers(compare(line(), optimizers=NAMES, budget=TINY, cache=tmp_path)) == numbers(found)


def test_runs_are_trained_with_the_same_others_after_an_interruption(tmp_path, monkeypatch):
    """How sums are rounded may depend on who is trained along, and the result must not depend on an interruption."""
    from rmsprop.lab.compare import workers

    def spy(problem, batch, **options):
        batches.append(tuple(batch))
        return train(problem, batch, **options)

    def interrupt(progress):
        if progress.phase == "reporting" and progress.done > 8:
            raise KeyboardInterrupt

    train, batches = workers.train_together, []
    monkeypatch.setattr(workers, "train_together", spy)
    monkeypatch.setattr(workers, "_LEAST_AT_ONCE", 4)
    monkeypatch.setattr(workers, "_MOST_AT_ONCE", 4)
    compare(line(), optimizers=NAMES, budget=TINY)
    whole, batches = batches, []
    assert len(whole) > 10
    with pytest.raises(KeyboardInterrupt):
        compare(line(), optimizers=NAMES, budget=TINY, cache=tmp_path, on_progress=interrupt)
    assert len(batches) < len(whole)
    compare(line(), optimizers=NAMES, budget=TINY, cache=str(tmp_path))
    assert list(dict.fromkeys(batches)) == whole  # the one that was interrupted is begun anew


@pytest.mark.parametrize(("epochs", "size"), [(3, 128), (500, 128), (10_000, 16)])
def test_batches_are_as_large_as_the_time_allows(epochs, size):
    from rmsprop.lab.compare.workers import _at_once

    assert _at_once(line(), epochs, 12) == size


def test_a_damaged_file_in_the_cache_is_computed_again_and_said(found, tmp_path):
    compare(line(), optimizers=NAMES, budget=TINY, cache=tmp_path)
    next(tmp_path.rglob("*.json")).write_text("{")
    again = compare(line(), optimizers=NAMES, budget=TINY, cache=tmp_path)
    assert again.runs[0].curve.test == found.runs[0].curve.test
    assert again.notes[-1] == "1 damaged file in the cache had to be computed again."


def test_more_processes_give_the_same_and_fill_the_same_cache(found, tmp_path):
    elsewhere = compare(line(), optimizers=NAMES, budget=TINY, jobs=2, cache=tmp_path)
    assert numbers(elsewhere) == numbers(found)
    assert len(list(tmp_path.rglob("*.json"))) == len(found.trials) + len({(r.choice, r.seed) for r in found.runs})


KILLED = """
import sys
from pathlib import Path
from lab.compare.small import line
from rmsprop.lab.compare import Budget, compare
print("begun", flush=True)
compare(line(epochs=30), optimizers=["rmsprop", "sgd"], budget=Budget(name="", trials=40, studies=5, seeds=40),
        jobs=2, cache=Path(sys.argv[1]))
"""


def test_a_killed_comparison_leaves_whole_files_and_no_process(tmp_path):
    tests = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([tests, *sys.path])}
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], env=environment, stdout=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not list(tmp_path.rglob("*.json")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)  # the pipe ends with the last process that holds it, and its children do
    told = []

    def stop(progress):
        told.append(progress)
        if progress.phase == "tuning":
            raise KeyboardInterrupt

    budget = Budget(name="", trials=40, studies=5, seeds=40)
    with pytest.raises(KeyboardInterrupt):
        compare(line(epochs=30), optimizers=["rmsprop", "sgd"], budget=budget, cache=tmp_path, on_progress=stop)
    assert 0 < told[-1].cached == len(list(tmp_path.rglob("*.json"))) < told[-1].total


def test_an_interruption_that_another_thread_receives_is_not_left_for_the_end_of_a_batch(monkeypatch):
    from rmsprop.lab.compare import workers

    endless: Future[None] = Future()
    giving_up = threading.Timer(60.0, endless.set_exception, [AssertionError("it waited for the batch")])

    class Pool:
        def submit(self, *_):
            threading.Timer(0.1, signal.raise_signal, [signal.SIGINT]).start()
            giving_up.start()
            return endless

    crew = workers.Workers(line(), 3, 12, Cache(None, {}), Pool(), 2)
    try:
        with pytest.raises(KeyboardInterrupt):
            crew.run([Job(choice=choose("sgd"), seed=0)], test=False, on_done=lambda *_: None)
        assert not endless.done()
    finally:
        giving_up.cancel()


def dying():
    if os.environ.get("PYTEST_OF_THE_PARENT") != str(os.getpid()):
        os._exit(1)
    return torch.nn.Linear(3, 1)


def test_a_process_that_ends_before_its_time_is_said(monkeypatch):
    monkeypatch.setenv("PYTEST_OF_THE_PARENT", str(os.getpid()))
    with pytest.raises(LostWorkerError, match="ended before its time"):
        compare(line(make_model=dying), optimizers=["sgd"], budget=TINY, jobs=2)


def test_the_budgets_are_what_the_documentation_says():
    assert [(b.trials, b.studies, b.seeds) for b in BUDGETS.values()] == [(4, 2, 6), (5, 3, 20), (20, 5, 50)]
    assert len(DEFAULT_OPTIMIZERS) == 8
    assert set(DEFAULT_OPTIMIZERS) <= set(OPTIMIZERS)


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
def test_reported_seeds_are_spread_over_the_studies(budget):
    counts = Counter(study_of(seed, budget) for seed in range(budget.seeds))
    assert len(counts) == budget.studies
    assert max(counts.values()) - min(counts.values()) <= 1


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["sgd", "rmsprop"], "rmsprop"),
        (["sgd", "rmsprop-keras", "rmsprop-torch"], "rmsprop-keras"),
        (["sgd", "adam"], "sgd"),
    ],
)
def test_the_reference_is_rmsprop_where_there_is_one(names, expected):
    assert reference(names) == expected


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: budget_of("huge", None), "there is no budget 'huge': choose one of quick, standard, full"),
        (lambda: budget_of("quick", 0), "seeds is 0: it must be a whole number from 1 to 100000"),
        (lambda: checked([]), "no optimizer is given to compare: name at least one"),
        (lambda: checked(["sgd", "adam", "sgd"]), "the optimizer sgd is given twice: name it once"),
        (lambda: checked(["swa", "rmsprop+swa"]), "the optimizer rmsprop+swa is given twice: name it once"),
        (lambda: compare(line(), epochs=0), "epochs is 0: it must be a whole number from 1"),
        (lambda: compare(line(), batch_size=0), "batch_size is 0: it must be a whole number from 1"),
        (lambda: compare(line(), jobs=0), "jobs is 0: it must be a whole number from 1"),
        (lambda: compare(line(), jobs=1.5), "jobs is 1.5: it must be a whole number from 1"),
        (lambda: compare(line(), epochs="3"), "epochs is '3': it must be a whole number from 1"),
        (lambda: compare(line(), seeds=True), "seeds is True: it must be a whole number from 1 to 100000"),
        (lambda: compare(line(), budget=5), "budget is 5: give one of quick, standard, full, or a Budget"),
        (lambda: checked("sgd"), "optimizers is the text 'sgd': give a list of names"),
        (
            lambda: checked(["sgd", None]),
            f"there is no optimizer 'None': choose from {', '.join(OPTIMIZERS)}; +swa or +ema may follow each, "
            "and swa and ema alone are RMSProp's",
        ),
        (
            lambda: compare("digits"),
            "problem is 'digits': give a Problem, such as rmsprop.lab.problems.load makes of a name",
        ),
        (
            lambda: compare(line(loss=lambda outputs, targets: (outputs - targets).square())),
            "problem line: the loss returned a tensor of shape (12, 1) and dtype torch.float32: it must return one "
            "number, a tensor without dimensions",
        ),
        (
            lambda: compare(line(test=Data(line().test.x * math.nan, line().test.y))),
            "problem line: test.x holds NaN or infinite values: leave these rows out",
        ),
    ],
)
def test_a_mistake_is_one_sentence(call, message):
    with pytest.raises(InputError) as refused:
        call()
    assert str(refused.value) == message
