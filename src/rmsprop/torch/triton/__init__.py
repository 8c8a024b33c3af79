"""The Triton kernels, in the arithmetic of `rmsprop.reference`, to the bit.

- `update`: the update of one element, on numbers in working precision, which `numbers` reads.
- `storage`: how a block of stored numbers becomes such ones and back, with `codes` for 8 bits and `noise` for chances.
- `kernel`: all tensors of a step in one launch, from `tables`; `measures`: what has to be known of them before it.
- `rows`: the rows that a sparse gradient has.
- `norm`: the exact sum of squares that gradients are clipped by.

Every operation rounds once, in the written order, as in ``native``: √ and ÷ are the correctly rounded ones, and the
launch forbids fused multiply-add. All of this needs Triton; `rmsprop.torch.gpu` imports it when a GPU is to be used.
"""

from rmsprop.torch.triton import kernel, measures, norm, rows, storage, tables  # noqa: F401
