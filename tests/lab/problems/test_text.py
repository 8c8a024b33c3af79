import torch

from rmsprop.lab.problems import load
from rmsprop.lab.problems.builtin.text import CharacterNetwork


def test_each_target_is_the_character_after_its_input():
    for data in load("english").parts.values():
        assert torch.equal(data.x[:, 1:], data.y[:, :-1])


def test_the_text_is_english():
    train = load("english").train
    # A space and the letter e are the most frequent characters; sorted by code, the space is the first letter.
    assert train.x.flatten().bincount().argmax() == 0
    assert 2.7 < load("english").constant_loss < 3.2


def test_no_row_is_in_two_parts():
    parts = [{tuple(row) for row in data.x.tolist()} for data in load("english").parts.values()]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]


def test_an_output_depends_on_what_was_before_it_only():
    model = CharacterNetwork(5, width=8)
    text = torch.tensor([[0, 1, 2, 3, 4, 0], [0, 1, 2, 4, 4, 0]])
    first, second = model(text)
    assert torch.equal(first[:3], second[:3])
    assert not torch.isclose(first[3:], second[3:]).all(dim=-1).any()


def test_it_is_torchs_recurrent_network():
    model, theirs = CharacterNetwork(7, width=4), torch.nn.RNN(4, 4, batch_first=True)
    theirs.weight_ih_l0.data = torch.eye(4)
    theirs.bias_ih_l0.data.zero_()
    theirs.weight_hh_l0.data = model.recurrent.weight.data
    theirs.bias_hh_l0.data = model.recurrent.bias.data
    text = torch.randint(7, (3, 9), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model(text), model.output(theirs(model.input(text))[0]))
