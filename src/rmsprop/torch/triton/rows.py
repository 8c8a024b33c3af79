"""The update of rows that have gradients: sums of these, decay to date, and the update of all tensors' elements.

``native/rows.cpp`` states the same operations. Rows that share scales of packed state are a unit, which one program
brings to date and updates.
"""

import triton
import triton.language as tl

from rmsprop.decays import BITS
from rmsprop.torch.triton.numbers import read_numbers
from rmsprop.torch.triton.storage import arrays_of, read_param, read_state, write_param, write_state
from rmsprop.torch.triton.update import is_infinite, updated

# Per segment of steps that decay averages alike (`rmsprop.decays.Segments`), in words of 8 bytes: the step before it,
# whether averages are corrected, what all later segments keep and lose, what 2ⁿ steps keep, and what these lose.
_LATER, _KEPT = tl.constexpr(2), tl.constexpr(4)
_BITS = tl.constexpr(BITS)
WORDS_PER_SEGMENT = tl.constexpr(4 + 2 * BITS)
_NOWHERE = tl.constexpr(1 << 62)


@triton.jit
def _after(segment, steps):
    # What so many steps of a segment leave of averages, and what they don't.
    powers = (segment + _KEPT).to(tl.pointer_type(tl.float64))
    kept, lost = tl.full((), 1.0, tl.float64), tl.full((), 0.0, tl.float64)
    for bit in range(_BITS):
        is_set = ((steps >> bit) & 1) != 0
        lost = tl.where(is_set, lost + kept * tl.load(powers + _BITS + bit), lost)
        kept = tl.where(is_set, kept * tl.load(powers + bit), kept)
    return kept, lost


@triton.jit
def _shares_since(segments, count, last, now):
    # What the steps from one, not counted, to now leave of averages, and what they don't.
    kept, lost = tl.full((), 1.0, tl.float64), tl.full((), 0.0, tl.float64)
    if (last < now) & (count > 0):
        kept, lost = _shares_of(segments, count, last, now)
    return kept, lost


@triton.jit
def _shares_of(segments, count, last, now):
    which = tl.full((), 0, tl.int64)
    for nth in range(1, count):
        which += (tl.load(segments + nth * WORDS_PER_SEGMENT) <= last).to(tl.int64)
    segment = segments + which * WORDS_PER_SEGMENT
    end = tl.load(segment + WORDS_PER_SEGMENT, mask=which + 1 < count, other=0)
    end = tl.where(which + 1 < count, end, now)
    kept, lost = _after(segment, end - last)
    if tl.load(segment + 1) != 0:
        _, gone = _after(segment, last)
        _, gone_at_end = _after(segment, end)
        kept, lost = kept * (gone / gone_at_end), lost / gone_at_end
    later = (segment + _LATER).to(tl.pointer_type(tl.float64))
    return kept * tl.load(later), lost + kept * tl.load(later + 1)


@triton.jit
def _kept_of(kept, average, like):
    return tl.where(is_infinite(average), average, kept * average).to(like.dtype)


@triton.jit
def _to_date(spread, mean, kept, lost, CENTERED: tl.constexpr):
    # `rmsprop.rows.up_to_date`, in float64 and rounded once.
    wide = spread.to(tl.float64)
    if CENTERED:
        center = mean.to(tl.float64)
        wide = wide + lost * tl.where(lost == 0.0, 0.0, center * center)  # 0 times an infinite one is no number
        mean = _kept_of(kept, center, mean)
    return _kept_of(kept, wide, spread), mean


@triton.jit
def _summed(
    grads,
    rows,
    order,
    first,
    unit,
    start,
    left,
    entries,
    width,
    per_unit,
    WORKING: tl.constexpr,
    BLOCK: tl.constexpr,
):
    # The gradients of a block of a unit, added up in the order in which they are given. The first one of a row that is
    # a unit is copied: added to 0, −0 would lose its sign.
    element = start + tl.arange(0, BLOCK)
    of_row = element // width
    is_begun = (of_row >= 0) & (per_unit > 1)
    sums = tl.full((BLOCK,), 0, WORKING)
    nth, row = first, tl.load(rows + first)
    while row // per_unit == unit:
        is_its = (of_row == row) & (tl.arange(0, BLOCK) < left)
        place = (tl.load(order + nth) - row) * width + element
        value = tl.load(grads + place, mask=is_its, other=0.0).to(WORKING)
        sums = tl.where(is_its, tl.where(is_begun, sums + value, value), sums)
        is_begun = is_begun | is_its
        nth += 1
        row = tl.load(rows + nth, mask=nth < entries, other=_NOWHERE)
    return sums


@triton.jit(do_not_specialize=["segment_count", "now", "entries", "count", "width", "per_unit"])
def update_rows(
    tensor,
    rule,
    grads,
    rows,
    order,
    last,
    segments,
    segment_count,
    now,
    entries,
    count,
    width,
    per_unit,
    STORED: tl.constexpr,
    WORKING: tl.constexpr,
    KEPT: tl.constexpr,
    CENTERED: tl.constexpr,
    BUFFER: tl.constexpr,
    ROUNDING: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Bring the averages of units that have gradients to the step before, and update them: a program per gradient.

    Args:
        tensor: A row of `tables.WORDS_PER_TENSOR` words.
        rule: A row of `tables.WORDS_PER_RULE` words.
        grads: Gradients of rows, in the order in which they are given.
        rows: Which row each is of, ascending.
        order: And which of the gradients it is.
        last: Per unit the step to which its averages are up to date.
        segments: A row of `WORDS_PER_SEGMENT` words per segment of steps that decay averages alike.
        segment_count: How many there are; with 0 averages stay as they are.
        now: The step before this one.
        entries: How many gradients there are.
        count: How many rows the parameter has.
        width: How many numbers are in each.
        per_unit: How many rows are a unit.
        STORED: The type of the parameter and its gradients.
        WORKING: The type of the arithmetic.
        KEPT: The type of the state.
        CENTERED: Whether the rule is centered.
        BUFFER: What there is beside averages: "none", "momentum", or the "iterate" that the parameter averages.
        ROUNDING: How parameters of 16 bits are rounded.
        BLOCK: How many elements are updated at a time.
    """
    first, now = tl.program_id(0).to(tl.int64), now.to(tl.int64)
    unit = tl.load(rows + first) // per_unit
    if tl.load(rows + first - 1, mask=first > 0, other=_NOWHERE) // per_unit == unit:
        return  # another program's
    arrays, numbers = arrays_of(tensor, tl.load(tensor), STORED, KEPT), read_numbers(rule, None, None, WORKING)
    kept, lost = _shares_since(segments, segment_count, tl.load(last + unit).to(tl.int64), now)
    begin = unit * per_unit * width
    size = tl.minimum(per_unit * width, count.to(tl.int64) * width - begin)
    for nth in range((size + BLOCK - 1) // BLOCK):
        start, left = begin + nth * BLOCK, size - nth * BLOCK
        g = _summed(grads, rows, order, first, unit, start, left, entries, width, per_unit, WORKING, BLOCK)
        p = read_param(arrays, tensor, start, left, WORKING, ROUNDING, BLOCK, False)
        spread, mean, buffer = read_state(arrays, tensor, start, left, CENTERED, BUFFER, BLOCK, False)
        spread, mean = _to_date(spread, mean, kept, lost, CENTERED)
        p, spread, mean, buffer = updated(g, numbers[2], p, spread, mean, buffer, numbers, None, None, CENTERED, BUFFER)
        write_param(arrays, p, tensor, now + 1, start, left, ROUNDING, BLOCK, False)
        write_state(arrays, (spread, mean, buffer), tensor, now + 1, start, left, CENTERED, BUFFER, BLOCK, False)
    tl.store(last + unit, (now + 1).to(tl.int32))


@triton.jit(do_not_specialize=["segment_count", "now", "count", "width", "per_unit"])
def settle_rows(
    tensor,
    last,
    segments,
    segment_count,
    now,
    count,
    width,
    per_unit,
    WORKING: tl.constexpr,
    KEPT: tl.constexpr,
    CENTERED: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Bring the averages of all units to a step: a program per unit.

    Args:
        tensor: As for `update_rows`, and so are the other arguments.
        last: Per unit the step to which its averages are up to date.
        segments: What steps did to averages.
        segment_count: How many segments there are.
        now: The step.
        count: How many rows the parameter has.
        width: How many numbers are in each.
        per_unit: How many rows are a unit.
        WORKING: The type of the arithmetic.
        KEPT: The type of the state.
        CENTERED: Whether there are two averages.
        BLOCK: How many elements are brought to date at a time.
    """
    unit, now = tl.program_id(0).to(tl.int64), now.to(tl.int64)
    before = tl.load(last + unit).to(tl.int64)
    if before >= now:
        return
    arrays = arrays_of(tensor, tl.load(tensor), WORKING, KEPT)
    kept, lost = _shares_since(segments, segment_count, before, now)
    begin = unit * per_unit * width
    size = tl.minimum(per_unit * width, count.to(tl.int64) * width - begin)
    for nth in range((size + BLOCK - 1) // BLOCK):
        start, left = begin + nth * BLOCK, size - nth * BLOCK
        spread, mean, buffer = read_state(arrays, tensor, start, left, CENTERED, "none", BLOCK, False)
        spread, mean = _to_date(spread, mean, kept, lost, CENTERED)
        write_state(arrays, (spread, mean, buffer), tensor, now, start, left, CENTERED, "none", BLOCK, False)
    tl.store(last + unit, now.to(tl.int32))
