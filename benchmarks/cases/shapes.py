"""The shapes of well-known models' parameters."""

from __future__ import annotations

from benchmarks.cases.case import Shapes

MLP: Shapes = ((64, 64), (64,), (64, 64), (64,), (10, 64), (10,))


def resnet50(width: int) -> Shapes:
    """Return the shapes of a ResNet-50's 161 parameters.

    Args:
        width: Channels of the first stage; 64 in the original (He et al., arXiv 1512.03385).
    """
    shapes: list[tuple[int, ...]] = [(width, 3, 7, 7), (width,), (width,)]
    channels = width
    for stage, blocks in enumerate((3, 4, 6, 3)):
        inner = width * 2**stage
        for block in range(blocks):
            convolutions = [(inner, channels, 1, 1), (inner, inner, 3, 3), (4 * inner, inner, 1, 1)]
            if block == 0:
                convolutions.append((4 * inner, channels, 1, 1))
            for shape in convolutions:
                shapes += [shape, shape[:1], shape[:1]]  # the convolution, the scale and shift of its batch norm
            channels = 4 * inner
    return (*shapes, (1000, channels), (1000,))


def transformer(width: int, blocks: int, tokens: int) -> Shapes:
    """Return the shapes of an encoder's parameters: 16 per block, and two embeddings.

    Args:
        width: Of the residual stream.
        blocks: How many.
        tokens: In the vocabulary, and positions.
    """
    dense = [(width, width), (width,)]
    wide, narrow = [(4 * width, width), (4 * width,)], [(width, 4 * width), (width,)]
    norm = [(width,), (width,)]
    block = [*dense * 4, *norm, *wide, *narrow, *norm]  # queries, keys, values and what they become
    return (*block * blocks, (tokens, width), (tokens, width))
