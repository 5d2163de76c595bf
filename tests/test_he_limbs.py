"""Sums of limbs give the sums of entries, whatever their moduli; oracle: Python's integers."""

import numpy as np
import pytest
from he_helpers import sum_of, vector_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tff_experiments.secure_sum import he_limbs, stages, vectors


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 5), st.one_of(st.integers(1, 2**62), st.sampled_from([2**62, 2**32, 7]))
        ),
        max_size=4,
    ),
    st.integers(1, 2**45),
    st.integers(1, 20),
    st.integers(0, 10**6),
)
def test_sums_of_limbs_give_sums_of_entries(segments, capacity, num_clients, seed):
    segments = [vectors.Segment(*segment) for segment in segments]
    layout, rng = vectors.Layout(segments), np.random.default_rng(seed)
    limbs = he_limbs.Limbs(layout, capacity)
    rows = [vector_of(rng, segments) for _ in range(num_clients)]
    cut = [limbs.split(row) for row in rows]
    for row in cut:
        assert row.shape == (limbs.length,) and row.min(initial=0) >= 0
        assert row.max(initial=0) <= capacity
    words = limbs.join(sum(cut), num_clients)
    assert layout.vector(words).tolist() == sum_of(segments, rows)


def test_the_largest_sums_do_not_wrap():
    segments = [vectors.Segment(2, 2**62), vectors.Segment(2, 2**62 - 1)]
    layout = vectors.Layout(segments)
    row = np.array([2**62 - 1] * 2 + [2**62 - 2] * 2)
    # The capacity with the widest limbs: 100 clients' limbs sum to less than 2^60.
    limbs = he_limbs.Limbs(layout, (2**60 - 1) // 100)
    words = limbs.join(100 * limbs.split(row), 100)
    assert layout.vector(words).tolist() == sum_of(segments, [row] * 100)


def test_an_entry_takes_the_fewest_limbs():
    run = vectors.Run(1, 2**36)
    assert he_limbs.cut(run, 2**36 - 1) == (1, 36, 2**36 - 1)
    assert he_limbs.cut(run, 2**36 - 2) == (2, 18, 2**18 - 1)
    # An entry that is known to be smaller than the modulus needs less.
    small = vectors.Run(1, 2**36, 2**30)
    assert he_limbs.cut(small, 2**30) == (1, 31, 2**30)
    assert he_limbs.cut(small, 2**30 - 1) == (2, 16, 2**16 - 1)
    assert he_limbs.cut(vectors.Run(1, 1), 1).number == 0
    # A modulus that is no power of two needs no more room than its largest entry.
    assert he_limbs.cut(vectors.Run(1, 1001), 1000) == (1, 10, 1000)


def test_impossible_sums_are_refused():
    limbs = he_limbs.Limbs(vectors.Layout([vectors.Segment(2, 100)]), 1000)
    for bad in ([0, 301], [-1, 0]):
        with pytest.raises(stages.ProtocolError, match="altered"):
            limbs.join(np.array(bad), 3)
    with pytest.raises(ValueError, match="at least 1"):
        he_limbs.Limbs(vectors.Layout([]), 0)
