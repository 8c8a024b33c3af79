"""The norm that gradients are clipped by: exact, and equal in any order, on any threads, by any instruction set."""

import math

import ml_dtypes
import numpy as np
import pytest

from rmsprop import Rule, clipping, native
from rmsprop.batch import Batch

DTYPES = ["float32", "float64", "float16", "bfloat16"]


def random_values(rng, dtype, spread):
    size = int(rng.integers(1, 6000))
    values = rng.standard_normal(size) * 10.0 ** (spread * rng.uniform(-1, 1, size))
    return values.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)


def summed(arrays, dtype, cut=None):
    """The kernel's sum over arrays, or over the pieces that they are cut into."""
    pieces = [piece for array in arrays for piece in (np.split(array, cut) if cut else [array]) if piece.size]
    batch = Batch(dtype, len(pieces), Rule())
    batch.place([piece.size for piece in pieces], [piece.ctypes.data for _ in range(3) for piece in pieces])
    words = np.zeros(clipping.WORDS, np.int64)
    assert native.squares([batch], words)(None, 4) == 0
    return words


@pytest.fixture
def every_instruction_set():
    before = native.instruction_set()
    yield [name for name in native.INSTRUCTION_SETS if _is_there(name)]
    native.use_instruction_set(before)


def _is_there(name):
    try:
        native.use_instruction_set(name)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("spread", [0, 4, 18])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_norm_is_the_same_in_any_order_and_by_any_kernel(dtype, spread, every_instruction_set):
    rng = np.random.default_rng(spread)
    for _ in range(10):
        arrays = [random_values(rng, dtype, min(spread, 4) if dtype == "float16" else spread) for _ in range(3)]
        whole = np.concatenate(arrays).astype(np.float64)
        expected = clipping.norm(clipping.squares(whole))
        assert expected == pytest.approx(math.sqrt(math.fsum(whole * whole)), rel=1e-9)
        assert clipping.norm(clipping.squares(rng.permutation(whole))) == expected
        assert clipping.norm(sum(clipping.squares(array) for array in arrays)) == expected
        for name in every_instruction_set:
            native.use_instruction_set(name)
            assert clipping.norm(summed(arrays, dtype)) == expected
            assert clipping.norm(summed(arrays, dtype, cut=[1, 17])) == expected


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_threads_do_not_matter(threads):
    values = np.random.default_rng(0).standard_normal(1_000_000).astype(np.float32)
    batch = Batch("float32", 1, Rule())
    batch.place([values.size], [values.ctypes.data] * 3)
    words = np.zeros(clipping.WORDS, np.int64)
    native.squares([batch], words)(None, threads)
    assert clipping.norm(words) == clipping.norm(clipping.squares(values))


# Their squares are the largest below 2⁹⁹⁹, and the smallest above.
FINITE, INFINITE = float.fromhex("0x1.6a09e667f3bccp+499"), float.fromhex("0x1.6a09e667f3bcdp+499")
ROWS = {
    "nothing": ([], 0.0),
    "zeros": ([0.0, -0.0], 0.0),
    "a triangle": ([3.0, -4.0], 5.0),
    "beyond float32's squares": ([3e30, 4e30], 5e30),
    "below float32's squares": ([3e-40, 4e-40], 5e-40),
    "an outlier": ([1.0] + [1e-7] * 1000, math.sqrt(1 + 1000e-14)),
    "infinite": ([1.0, -math.inf], math.inf),
    "NaN": ([math.nan, math.inf], math.nan),
    "too large for float64": ([1e200], math.inf),
    "a power of two": ([2.0**20], 2.0**20),
    "the largest finite square": ([FINITE], FINITE),
    "the smallest infinite square": ([INFINITE], math.inf),
    "far below float32's squares": ([1e-140, 2e-140], math.sqrt(5) * 1e-140),
    "eleven of the smallest weight": ([1e-150], math.sqrt(11 * 2.0**-1000)),
}


@pytest.mark.parametrize(("values", "expected"), ROWS.values(), ids=ROWS)
def test_norms(values, expected):
    array = np.array(values, np.float64)
    for words in (clipping.squares(array), summed([array], "float64")):
        assert clipping.norm(words) == pytest.approx(expected, rel=1e-10, abs=0.0, nan_ok=True)


@pytest.mark.parametrize(
    ("values", "counted"), [([1.0, np.inf], [1, 0]), ([1.0, INFINITE], [1, 0]), ([np.inf, np.nan], [0, 1])]
)
def test_a_part_with_infinities_or_nan_is_counted_and_nothing_else_of_it(values, counted):
    array = np.array(values)
    for words in (clipping.squares(array), summed([array], "float64")):
        assert words[-2:].tolist() == counted
        assert not words[:-2].any()


def test_a_sum_of_many_equal_numbers_does_not_overflow():
    """Squares just below half of the next limb's weight: an integer of 64 bits holds 2²⁴ of them, and no more."""
    value, size = math.sqrt(2.0**39 - 1.0), 2**24 + 8
    found = clipping.norm(clipping.squares(np.broadcast_to(np.float64(value), size)))
    assert found == pytest.approx(value * math.sqrt(size), rel=1e-12)


def test_the_lowest_limb_has_one_below():
    assert clipping.limb_of(5e-324) == clipping.LOWEST_LIMB + 1


def test_what_quotients_are_multiplied_with():
    rows = [
        ([], 1.0, 1.0),
        ([4.0], 1.0, 0.25),
        ([4.0, -4.0], 2.0, 0.5),
        ([4.0], 4.0, 1.0),
        ([4.0], 5.0, 1.0),
        ([math.inf], 1.0, 1.0),
        ([math.nan], 1.0, 1.0),
        ([0.0], 1.0, 1.0),
    ]
    values, limits, scales = zip(*rows, strict=True)
    words = np.stack([clipping.squares(np.array(each)) for each in values])
    assert clipping.update_scales(words, list(map(len, values)), np.array(limits)).tolist() == list(scales)


@pytest.mark.parametrize("limit", [None, 1e-300, 0.5, 40, math.inf, np.float32(0.25), np.array(3)])
def test_a_limit_is_a_float_or_none(limit):
    found = clipping.check_limit("max_grad_norm", limit)
    assert found == limit
    assert limit is None or type(found) is float


def test_a_half_of_a_limbs_weight_belongs_to_the_one_below():
    for limb in range(-3, 4):
        at = 2.0 ** (40 * limb - 1)
        assert (clipping.limb_of(at), clipping.limb_of(np.nextafter(at, np.inf))) == (limb - 1, limb)


BAD = [
    (0.0, ValueError, "Invalid max_grad_norm: 0.0 (allowed: a number above 0, or None for no limit)"),
    (-1, ValueError, "Invalid max_grad_norm: -1 (allowed: a number above 0, or None for no limit)"),
    (math.nan, ValueError, "Invalid max_grad_norm: nan (allowed: a number above 0, or None for no limit)"),
    ("1", TypeError, "Invalid max_grad_norm: '1' is a str (allowed: a number above 0, or None for no limit)"),
    (True, TypeError, "Invalid max_grad_norm: True is a bool (allowed: a number above 0, or None for no limit)"),
]


@pytest.mark.parametrize(("value", "error", "message"), BAD)
def test_limits_that_mean_nothing_are_refused(value, error, message):
    with pytest.raises(error) as raised:
        clipping.check_limit("max_grad_norm", value)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("grad_norm", "param_norm", "ratio", "expected"),
    [
        (4.0, 200.0, 0.01, 0.5),
        (2.0, 200.0, 0.01, 1.0),
        (4.0, 0.0, 0.01, 1e-3 * 0.01 / 4.0),  # parameters of 0 can move
        (5e-7, 5e-4, 1e-4, 1e-3 * 1e-4 / 1e-6),  # a gradient is not divided by less than 1e-6
        (1e-3 * 1e-4, 1e-3, 1e-4, 1e-3 * 1e-4 / 1e-6),  # one at its limit is, as in timm
        (0.0, 0.0, 0.01, 1.0),
    ],
)
def test_a_unit_is_scaled_to_a_ratio_of_its_parameters(grad_norm, param_norm, ratio, expected):
    assert clipping.unit_factors(np.array([grad_norm]), np.array([param_norm]), ratio) == expected


def test_a_row_longer_than_a_part_has_the_sum_of_its_parts():
    row = np.full(2**20 + 3, 0.5, np.float32)
    assert np.array_equal(clipping.row_squares(row[None])[0], clipping.squares(row))
    assert clipping.norm(clipping.squares(row)) == math.sqrt(0.25 * row.size)


def test_rows_without_numbers_have_a_norm_of_zero():
    assert clipping.norms(clipping.row_squares(np.zeros((3, 0), np.float32))).tolist() == [0.0, 0.0, 0.0]
