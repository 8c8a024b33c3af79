import torch
from torch.nn.functional import conv2d, max_pool2d

from rmsprop.lab.problems import load


def test_it_is_torchs_convolution_and_pooling():
    problem = load("digits-cnn")
    model, pixels = problem.model(0), problem.train.x[:5]
    maps = conv2d(pixels.reshape(5, 1, 8, 8), model.convolution.weight.reshape(16, 1, 3, 3), model.convolution.bias)
    # Ours has the channels last.
    expected = model.output(max_pool2d(maps, 2).relu().movedim(1, -1).flatten(1))
    torch.testing.assert_close(model(pixels), expected)
