from rmsprop.lab import drawing


def test_long_curves_are_thinned_to_their_ends():
    kept = drawing.thin(12_345)
    assert len(kept) <= drawing.MOST_POINTS
    assert (kept[0], kept[-1]) == (0, 12_344)
    assert drawing.thin(3) == [0, 1, 2]
    assert drawing.thin(1) == [0]
