"""State in 8 bits and in 16: what the codes hold, and that an average still forgets in them."""

from itertools import combinations

import numpy as np
import pytest

from rmsprop import codes
from rmsprop.storage import PACKINGS, SIGNED_DIGITS, decode, encode, encode_again, noise, state_noise

NAMES = ("square_avg", "grad_avg", "momentum_buffer")
MOST = np.uint32(0xFFFFFFFF)
COINS = {"down": np.uint32(0), "half": np.uint32(1 << 31), "up": MOST}


# Octaves in which a block keeps all digits, even if its largest number is rounded up into the next.
HELD = {"square_avg": 31, "grad_avg": 14, "momentum_buffer": 6}


def spread_out(rng, size, octaves, name):
    """Numbers over some octaves, of both signs where the array has both."""
    values = np.exp2(rng.uniform(-octaves, 0, size)) * (rng.choice([-1, 1], size) if name in SIGNED_DIGITS else 1)
    return values.astype(np.float32)


def there_and_back(name, values, bits, packing="8bit"):
    return decode(name, encode(name, values, np.broadcast_to(bits, values.shape), packing), packing)


@pytest.mark.parametrize("coin", COINS.values(), ids=COINS)
@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize(("name", "octaves"), [(n, o) for n in NAMES for o in (1, 5, 15, 31) if o < HELD[n]])
def test_what_is_packed_already_is_never_changed(name, packing, octaves, coin):
    rng = np.random.default_rng(0)
    values = spread_out(rng, 1000, octaves, name) * np.float32(1e-3)
    once = there_and_back(name, values, noise(0, 1, 0, np.arange(1000)), packing)
    assert np.array_equal(there_and_back(name, once, coin, packing), once)


@pytest.mark.parametrize("octaves", [1, 3, 6, 12, 31, 60])
@pytest.mark.parametrize("name", NAMES)
def test_what_was_packed_before_is_packed_as_it_was(name, octaves):
    """Where the largest number was rounded up into the next octave too, as it was in some of these blocks."""
    rng = np.random.default_rng(0)
    values = spread_out(rng, 128 * 500 + 3, octaves, name)
    for special in (0, np.inf, np.nan):
        values[rng.integers(0, values.size, 50)] = special
    once = there_and_back(name, values, rng.integers(0, 2**32, values.size, np.uint32))
    again = decode(name, encode_again(name, once), "8bit")
    assert np.array_equal(again.view(np.uint32), once.view(np.uint32))


@pytest.mark.parametrize("octaves", [1, 12, 60])
@pytest.mark.parametrize("name", NAMES)
def test_what_was_not_is_rounded_to_the_nearest_code(name, octaves):
    values = spread_out(np.random.default_rng(0), 300, octaves, name)
    for size in (0, 1, 128, 300):
        found = encode_again(name, values[:size])
        expected = encode(name, values[:size], np.full(size, COINS["half"]), "8bit")
        assert all(map(np.array_equal, found, expected))
        assert [each.dtype for each in found] == [np.uint8, np.uint16]


@pytest.mark.parametrize("octaves", [1, 3, 6, 12, 25])
@pytest.mark.parametrize("name", NAMES)
def test_packing_is_right_on_average(name, octaves):
    rng, index, tries = np.random.default_rng(1), np.arange(256), 5_000
    values = spread_out(rng, 256, octaves, name)
    total = np.zeros(256)
    for step in range(1, tries + 1):
        total += there_and_back(name, values, noise(7, step, 3, index))
    down, up = (there_and_back(name, values, coin).astype(np.float64) for coin in (np.uint32(0), MOST))
    gap = np.abs(up - down)
    assert (gap > 0).mean() > 0.9
    assert (np.minimum(down, up) <= values).all()
    assert (values <= np.maximum(down, up)).all()
    assert (np.abs(total / tries - values) <= gap * (5 * 0.5 / np.sqrt(tries) + 2.0**-17)).all()


# Octaves that a block goes over -> how near two codes are at most, as a share of the number.
NEAR = {3.8: 2**-6, 7.7: 2**-5, 15.6: 2**-4, 31.2: 2**-3}


@pytest.mark.parametrize(("octaves", "share"), NEAR.items())
def test_a_narrow_block_has_more_digits(octaves, share):
    values = np.exp2(np.linspace(-octaves, 0, 128)).astype(np.float32)
    down, up = (there_and_back("square_avg", values, coin) for coin in (np.uint32(0), MOST))
    assert ((up - down)[1:-1] <= share * values[1:-1]).all()
    assert ((up - down).max() / up.max()) > share / 4


def test_averages_of_squares_become_zero_from_zero_alone():
    values = np.array([0, 1e-45, 1e-38, 1e-20, 1e-10, 1, 1e5], np.float32)
    for coin in COINS.values():
        assert np.array_equal(there_and_back("square_avg", values, coin) == 0, values == 0)
        for value in values:
            assert (there_and_back("square_avg", np.array([value]), coin) == 0) == (value == 0)


@pytest.mark.parametrize("coin", COINS.values(), ids=COINS)
def test_what_is_smaller_than_all_codes_becomes_the_smallest(coin):
    """The last of 6 digits in the exponent of what is below the normal numbers: 2⁻¹²⁶/2⁶."""
    assert (there_and_back("square_avg", np.array([1e-45, 1e-41], np.float32), coin) == 2.0**-132).all()


@pytest.mark.parametrize("coin", COINS.values(), ids=COINS)
def test_the_smallest_number_of_all_counts_beside_a_large_one(coin):
    small, large = there_and_back("square_avg", np.array([1e-45, 1.0], np.float32), coin)
    assert (0 < small < 2.0**-30, large) == (True, 1.0)


def test_there_is_a_code_for_what_the_largest_number_is_rounded_up_to():
    """Where digits are fewest, and the smallest number needs a code too."""
    bits = np.array([(254 << 20) - 1, 1], np.uint32)
    assert there_and_back("square_avg", bits.view(np.float32), MOST)[0].view(np.uint32) == 254 << 20


@pytest.mark.parametrize("coin", COINS.values(), ids=COINS)
@pytest.mark.parametrize("name", SIGNED_DIGITS)
def test_signed_numbers_near_the_smallest_keep_their_digits(name, coin):
    values = np.float32([1, -1.25, 1.5]) * np.float32(2.0**-100)
    assert np.array_equal(there_and_back(name, values, coin), values)


@pytest.mark.parametrize("coin", COINS.values(), ids=COINS)
@pytest.mark.parametrize("name", NAMES)
def test_infinity_and_nan_stay_and_spoil_no_neighbour(name, coin):
    values = np.array([np.inf, np.nan, 1.0, 0.0, 3e38, np.finfo(np.float32).max], np.float32)
    if name in SIGNED_DIGITS:
        values = np.append(values, np.float32([-np.inf, -3e38, np.finfo(np.float32).min]))
    found = there_and_back(name, values, coin)
    assert np.array_equal(np.isnan(found), np.isnan(values))
    assert (found[np.isnan(values)].view(np.uint32) == 0x7FC00000).all()
    assert np.array_equal(np.isinf(found), np.isinf(values))
    assert np.array_equal(np.signbit(found[np.isinf(values)]), np.signbit(values[np.isinf(values)]))
    only = np.full(3, np.inf, np.float32)
    assert np.array_equal(there_and_back(name, only, coin), only)


@pytest.mark.parametrize("name", NAMES)
def test_a_number_takes_few_bytes(name):
    values = np.ones(100_000, np.float32)
    stored = encode(name, values, noise(0, 1, 0, np.arange(values.size)), "8bit")
    assert sum(each.nbytes for each in stored) <= 1.02 * values.size
    assert [each.size for each in encode(name, values[:129], np.zeros(129, np.uint32), "8bit")] == [129, 2]
    assert [each.size for each in encode(name, values[:0], np.zeros(0, np.uint32), "8bit")] == [0, 0]


def test_each_array_has_random_bits_of_its_own():
    index = np.arange(4096)
    of_arrays = [state_noise(0, 1, 3, name, index) for name in NAMES]
    for mine, its in combinations([*of_arrays, noise(0, 1, 3, index), noise(0, 0, 3, index)], 2):
        assert abs(((mine / 2.0**32 - 0.5) * (its / 2.0**32 - 0.5)).mean() * 12) < 5 / 64


@pytest.mark.parametrize("apart", [1, 3, 8, 16])
def test_random_bits_are_spread_over_the_steps(apart):
    """Also over every third step, or every 16th: gradients may come that seldom."""
    steps, index = range(0, 128, apart), np.arange(1000)
    below = np.array([state_noise(0, step, 3, "square_avg", index) < 1 << 28 for step in steps])
    by_coins = np.sqrt(len(steps) / 16 * 15 / 16)
    assert below.sum(axis=0).std() < 0.8 * by_coins
    assert abs(below.mean() - 1 / 16) < 0.01


def test_random_bits_of_different_periods_are_independent():
    index = np.arange(4096)
    one, other = (state_noise(0, step, 3, "square_avg", index) / 2.0**32 for step in (100, 228))
    assert abs(((one - 0.5) * (other - 0.5)).mean() * 12) < 5 / 64
    within = np.corrcoef(one[:-1], one[1:])[0, 1]
    assert abs(within) < 5 / 64


@pytest.mark.parametrize(("octaves", "digits"), [(3, 6), (7, 5), (15, 4), (28, 3)])
def test_logarithms_of_what_is_not_negative_are_right_on_average(octaves, digits):
    """Rounded up is more often than it would be for the numbers themselves, as `encode_positive` says."""
    rng, index, tries = np.random.default_rng(2), np.arange(2048), 2_000
    values = spread_out(rng, 2048, octaves, "square_avg").reshape(-1, 128)
    values[:, :2] = 1, 2.0**-octaves  # so that all blocks have as many digits
    values = values.reshape(-1)
    down, up = (there_and_back("square_avg", values, coin).astype(np.float64) for coin in (np.uint32(0), MOST))
    inside = up > down
    gap = np.where(inside, up - down, 1)
    f = (values - down) / gap
    chance = f + f * (1 - f) * 2.0 ** -(digits + 1)
    ups = np.zeros(2048)
    for step in range(tries):
        found = there_and_back("square_avg", values, noise(7, step, 3, index))
        ups += (found - down) / gap
    strayed = (ups / tries - chance)[inside]
    assert abs(strayed.mean()) < 5 * 0.5 / np.sqrt(tries * strayed.size)
    shares = gap / down
    logarithmic = (np.log1p(f * shares) / np.log1p(shares))[inside]
    assert abs((chance[inside] - logarithmic).mean()) < abs((f[inside] - logarithmic).mean()) / 1.5


def after_a_change(packing, decay, name="square_avg", size=4096, spread=0.0, quieter=20):
    """Return √(v/exact) after 31 of 32 coordinates have become some times quieter, 4/(1 − ρ) steps ago."""
    rng, index, loss = np.random.default_rng(0), np.arange(size), 1 - decay
    scale = np.exp(spread * rng.standard_normal(size).clip(-3, 3) / 2)
    v = (scale**2).astype(np.float32)
    exact = v.astype(np.float64)
    now = scale * np.where(index % 32 == 0, 1, 1 / quieter)
    for step in range(1, round(4 / loss) + 1):
        square = np.square((rng.standard_normal(size) * now).astype(np.float32))
        exact += loss * (square - exact)
        bits = state_noise(0, step, 0, name, index)
        v = there_and_back(name, v + np.float32(loss) * (square - v), bits, packing)
    return np.sqrt(v / exact)


# How far the median is from 1, and within what 90 % of the coordinates are, in blocks of v that are equal and in blocks
# that are lognormal with σ = 2.5, where small v stand beside large ones.
GOALS = {
    "bfloat16": ("bfloat16", 0.0, 0.01, 0.05),
    "bfloat16, far apart": ("bfloat16", 2.5, 0.01, 0.05),
    "8bit": ("8bit", 0.0, 0.01, 0.08),
    "8bit, far apart": ("8bit", 2.5, 0.03, 0.3),
}


@pytest.mark.parametrize("decay", [0.9, 0.99, 0.999])
@pytest.mark.parametrize(("packing", "spread", "median", "within"), GOALS.values(), ids=GOALS)
def test_an_average_forgets(packing, spread, median, within, decay):
    ratio = after_a_change(packing, decay, spread=spread)
    assert abs(np.median(ratio) - 1) < median
    assert 1 - within < np.quantile(ratio, 0.05)
    assert np.quantile(ratio, 0.95) < 1 + within


@pytest.mark.parametrize("decay", [0.9, 0.99, 0.999])
@pytest.mark.parametrize("louder", [1, 20])
def test_an_average_stays_and_rises(louder, decay):
    """Though what is right on average is the logarithm."""
    ratio = after_a_change("8bit", decay, size=2048, spread=2.5, quieter=1 / louder)
    assert abs(np.median(ratio) - 1) < 0.03


def test_there_are_as_many_scales_as_blocks():
    assert [codes.blocks(size) for size in (0, 1, 128, 129, 256)] == [0, 1, 1, 2, 2]
