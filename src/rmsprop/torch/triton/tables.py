"""How memory is laid out in the tables that the kernels read, in words of 8 bytes, and what they are launched with."""

# No `from __future__ import annotations` here and beside: Triton reads the annotations themselves.

import triton
import triton.language as tl

from rmsprop.layout import NUMBERS_BYTES

# Per tensor: addresses of parameter, square_avg or grad_var, grad_avg and momentum_buffer, the number of elements, the
# tensor's first program, which row of numbers it takes, and the address of what rounding took off it. For random bits
# their seed, the number of the parameter, where its elements are in the whole (see `Place` in native/noise.hpp), and
# address and size of a counter of steps that is on the device. For state in 8 bits the addresses of the scales of its
# three arrays. The addresses of gradients have a table of their own.
WORDS_PER_TENSOR = tl.constexpr(18)
LOST = tl.constexpr(7)
SEED, NUMBER, FIRST, RUN, STRIDE = (tl.constexpr(word) for word in range(8, 13))
COUNTER, COUNTER_BYTES = tl.constexpr(13), tl.constexpr(14)
SPREAD_SCALES, MEAN_SCALES, BUFFER_SCALES = (tl.constexpr(word) for word in range(15, 18))
# Per row of numbers: the struct `rmsprop_rule` of native/rmsprop.h, then the address and the size of a learning rate
# that is on the device.
LR_ADDRESS, LR_BYTES = tl.constexpr(NUMBERS_BYTES // 8), tl.constexpr(NUMBERS_BYTES // 8 + 1)
WORDS_PER_RULE = tl.constexpr(NUMBERS_BYTES // 8 + 2)

# Elements that a program updates at a time. Four per thread are 16 bytes of a float32 array; with eight the compiler
# needs three times the registers, and a third of the warps fit on a multiprocessor.
BLOCK = 1024
_PER_THREAD = 4
_TYPES = {"float32": tl.float32, "float64": tl.float64, "float16": tl.float16, "bfloat16": tl.bfloat16}


def types(dtype: str, packing: str | None = None) -> dict[str, tl.dtype]:
    """Return the kernel's ``STORED``, ``WORKING`` and ``KEPT``.

    Args:
        dtype: That of the parameters, a key of `rmsprop.layout.DTYPES`.
        packing: What state is packed into. Default None: it is not.
    """
    working = tl.float64 if dtype == "float64" else tl.float32
    kept = {None: working, "bfloat16": tl.bfloat16, "8bit": tl.uint8}[packing]
    return {"STORED": _TYPES[dtype], "WORKING": working, "KEPT": kept}


def launch_options(warp_size: int, block: int = BLOCK) -> dict[str, int | bool]:
    """Return what a kernel is launched with whose programs work on blocks of some size.

    Args:
        warp_size: How many threads are in a warp of the device.
        block: How many elements are in a block.
    """
    return {"num_warps": block // least_block(warp_size), "enable_fp_fusion": False}


def least_block(warp_size: int) -> int:
    """Return how many elements the threads of one warp work on: never less than share a scale in 8 bits."""
    return _PER_THREAD * warp_size


@triton.jit
def part_of(tensors, owners, span, BLOCK: tl.constexpr):
    """Return which tensor this program works on, its row in the table, the first element, and the size.

    Args:
        tensors: The table.
        owners: Which tensor each program works on.
        span: On how many blocks it does.
        BLOCK: How many elements are in one.
    """
    tensor = tl.load(owners + tl.program_id(0)).to(tl.int64)
    row = tensors + tensor * WORDS_PER_TENSOR
    return tensor, row, (tl.program_id(0).to(tl.int64) - tl.load(row + 5)) * span * BLOCK, tl.load(row + 4)
