"""What few bits are tried on: a transformer that reads characters, and a small network that reads digits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from rmsprop.lab.problems import load
from rmsprop.lab.problems.builtin.text import help_pages

LENGTH, WIDTH, BLOCKS = 64, 320, 8
VALIDATION_ROWS = 256


class CharacterTransformer(nn.Module):
    """A transformer that guesses each next character, about 10 million parameters.

    Args:
        letters: The size of the alphabet.
        width: A multiple of 64, which is the width of a head.
        blocks: The number of blocks.
    """

    mask: Tensor

    def __init__(self, letters: int, width: int = WIDTH, blocks: int = BLOCKS) -> None:
        super().__init__()
        self.letters, self.places = nn.Embedding(letters, width), nn.Embedding(LENGTH, width)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, width // 64, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
            for _ in range(blocks)
        )
        self.norm, self.output = nn.LayerNorm(width), nn.Linear(width, letters)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(LENGTH), persistent=False)

    def forward(self, text: Tensor) -> Tensor:
        """Return the logits of the next letter at each place."""
        length = text.shape[1]
        hidden = self.letters(text) + self.places.weight[:length]
        mask = self.mask[:length, :length].to(hidden.dtype)
        for block in self.blocks:
            hidden = block(hidden, src_mask=mask, is_causal=True)
        output: Tensor = self.output(self.norm(hidden))
        return output


@dataclass(frozen=True)
class Task:
    """A problem, and how it is trained.

    Args:
        make: Makes the model.
        batches: Yields inputs and targets without end, from a generator.
        validation: All inputs and targets that tell the loss.
        compute: In which dtype the model computes while it trains.
        steps: How many steps.
        warm_up: Over so many of them the learning rate rises; then it falls to 0 along a cosine.
        lrs: The learning rates that are tried with float32; the best of them is for all.
    """

    make: Callable[[], nn.Module]
    batches: Callable[[torch.Generator], Iterator[tuple[Tensor, Tensor]]]
    validation: tuple[Tensor, Tensor]
    compute: torch.dtype
    steps: int
    warm_up: int
    lrs: tuple[float, ...]


@cache
def _text() -> tuple[Tensor, Tensor, int]:
    """Return the text as numbers, nine tenths to train on and a tenth to validate on, and the size of its alphabet."""
    pages = help_pages()
    numbers = {letter: number for number, letter in enumerate(sorted(set(pages)))}
    text = torch.tensor([numbers[letter] for letter in pages])
    cut = 9 * len(text) // 10
    return text[:cut], text[cut:], len(numbers)


def characters() -> Task:
    """Return the task of guessing each next character of the help pages that come with Python."""
    train, validation, letters = _text()
    rows = validation[: VALIDATION_ROWS * LENGTH + 1]

    def batches(generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            starts = torch.randint(len(train) - LENGTH, (4, 1), generator=generator)
            places = starts + torch.arange(LENGTH + 1)
            yield train[places[:, :-1]], train[places[:, 1:]]

    held_out = rows[:-1].reshape(-1, LENGTH), rows[1:].reshape(-1, LENGTH)
    lrs = (2e-4, 4e-4, 8e-4)
    return Task(lambda: CharacterTransformer(letters), batches, held_out, torch.bfloat16, 600, 50, lrs)


def digits() -> Task:
    """Return the task of reading digits with the lab's small convolutional network."""
    problem = load("digits-cnn")

    def batches(generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            for rows in torch.randperm(len(problem.train), generator=generator).split(32):
                yield problem.train.x[rows], problem.train.y[rows]

    held_out = problem.validation.x, problem.validation.y
    lrs = (1.2e-4, 2.4e-4, 5e-4, 1e-3)
    return Task(problem.make_model, batches, held_out, torch.float32, 8_000, 50, lrs)


TASKS = {"digits": digits, "characters": characters}


def training_loss(model: nn.Module, x: Tensor, y: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the cross-entropy of a model that computes in a dtype, whatever its weights are kept in.

    Args:
        model: The model.
        x: Inputs.
        y: Which class each of them is, or each of their places.
        dtype: The dtype.
    """
    weights = {name: param.to(dtype) for name, param in model.named_parameters()}
    logits = functional_call(model, weights, (x,)).float()
    return cross_entropy(logits.flatten(0, -2), y.flatten())
