"""`ratings` and `words`: their rows are what their docstrings say, and their models what the textbooks have."""

import math

import pytest
import torch
from torch.nn import functional

from rmsprop.lab.embeddings import give_rows
from rmsprop.lab.problems import load
from rmsprop.lab.problems.builtin.ratings import ITEMS, USERS, Factors
from rmsprop.lab.problems.builtin.words import SkipGram


@pytest.fixture(scope="module", params=["ratings", "words"])
def problem(request):
    return load(request.param)


def test_a_batch_has_the_gradients_of_its_rows_alone(problem):
    model, rows = problem.model(0), slice(0, problem.batch_size)
    give_rows(model, rows=True)
    problem.objective(model.parameters(), model(problem.train.x[rows]), problem.train.y[rows]).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.is_sparse, name
        touched = parameter.grad.coalesce().indices()[0]
        assert len(touched) < 0.5 * len(parameter), name
        assert set(touched.tolist()) <= set(problem.train.x[rows].flatten().tolist())


def test_no_pair_is_rated_twice_and_all_ids_are_in_range():
    pairs = torch.cat([part.x for part in load("ratings").parts.values()])
    assert len({tuple(pair) for pair in pairs.tolist()}) == len(pairs)
    assert (pairs >= 0).all()
    assert (pairs < torch.tensor([USERS, ITEMS])).all()


def test_stars_are_whole_and_from_1_to_5():
    problem = load("ratings")
    mean = -problem.train.y.min() + 1  # of a thousand one-star ratings some are in each part
    for part in problem.parts.values():
        stars = part.y + mean
        torch.testing.assert_close(stars, stars.round(), rtol=0, atol=1e-6)
        assert stars.round().unique().tolist() == [1, 2, 3, 4, 5]


def test_popularity_is_zipfs_but_for_pairs_that_were_drawn_before():
    """Of rank r there are about 1/r as many as of the first: a slope of −1, flatter at the head, where pairs repeat."""
    counts = load("ratings").train.x[:, 1].bincount(minlength=ITEMS).double()
    sums = torch.stack([counts[low : 2 * low].sum() for low in (16, 32, 64, 128, 256)])
    # Σ 1/r from n to 2n is log 2 for any n, so that these are equal; three standard errors of some 900 are 10 %.
    assert (sums / sums.mean() - 1).abs().max() < 0.25
    assert (counts == 0).float().mean() < 0.5
    assert counts.median() <= 5


def test_the_penalty_is_of_what_a_row_looks_up():
    model = Factors(3, 4)
    torch.nn.init.normal_(model.items.weight)
    user, item = model.users.weight[2], model.items.weight[1]
    rating, squares = model(torch.tensor([[2, 1]]))[0]
    assert rating.item() == pytest.approx((user[:4] @ item[:4] + user[4] + item[4]).item(), rel=1e-6)
    assert squares.item() == pytest.approx((user @ user + item @ item).item(), rel=1e-6)
    outputs, stars = torch.tensor([[0.5, 2.0], [1.0, 4.0]]), torch.tensor([0.0, 0.0])
    problem = load("ratings")
    assert problem.loss(outputs, stars).item() == pytest.approx(0.625 + 0.05 * 3.0)
    assert problem.metric.of(outputs, stars).item() == pytest.approx(math.sqrt(0.625))


def test_a_word_is_followed_by_the_next_row():
    """What follows a word, at the place that the target says, is the word of the next row, but at the end of a part."""
    for part in load("words").parts.values():
        follower = part.x[torch.arange(len(part)), 1 + part.y]
        assert torch.equal(follower[:-1], part.x[1:, 0])


def test_ids_are_ranks_and_the_first_is_the():
    problem = load("words")
    counts = torch.cat([part.x[:, 0] for part in problem.parts.values()]).bincount()
    assert counts.argmax() == 0
    # The pages whole have ranks in order; of their beginning, tens of words have.
    tens = counts[:50].view(5, 10).sum(dim=1)
    assert torch.equal(tens.argsort(descending=True), torch.arange(5))


def test_places_are_even_and_others_are_drawn_flatter_than_words_occur():
    train = load("words").train
    shares = train.y.bincount() / len(train)
    assert (shares - 1 / 6).abs().max() < 4 * math.sqrt(5 / 36 / len(train))  # four standard errors
    others = torch.ones(len(train), 6, dtype=torch.bool)
    others[torch.arange(len(train)), train.y] = False
    drawn, occur = (x.bincount(minlength=2).double() for x in (train.x[:, 1:][others], train.x[:, 0]))
    # Of the first to the tenth word: the ratio to the power of 3/4.
    assert math.log(drawn[0] / drawn[9]) / math.log(occur[0] / occur[9]) == pytest.approx(0.75, abs=0.1)


def test_the_loss_is_that_of_negative_sampling_and_a_new_model_knows_nothing():
    problem, model = load("words"), SkipGram(5, width=2)
    logits = torch.tensor([[1.0, -2.0, 0.5, 0.0, 3.0, -1.0]])
    signs = torch.tensor([-1.0, 1.0, -1.0, -1.0, -1.0, -1.0])
    meant = -functional.logsigmoid(signs * logits).sum().item()
    assert problem.loss(logits, torch.tensor([1])).item() == pytest.approx(meant, rel=1e-6)
    assert model(torch.tensor([[0, 1, 2]]))[0].tolist() == pytest.approx([-math.log(5)] * 2)
    assert problem.evaluate(problem.model(0), problem.test)[0] == pytest.approx(problem.constant_loss, rel=1e-5)
