"""Vectors of integers modulo each segment's number, against Python's integers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tff_experiments.secure_sum.vectors import Layout, Segment

moduli = st.one_of(
    st.integers(0, 62).map(lambda bits: 2**bits),
    st.integers(1, 2**62),
    st.sampled_from([3, 10, 2**32 - 1, 2**32 + 1, 2**62 - 1]),
)
segments = st.lists(st.builds(Segment, st.integers(0, 9), moduli, st.none()), max_size=6)


def each_modulus(parts):
    return [modulus for length, modulus, _ in parts for _ in range(length)]


def vector_of(parts, seed):
    """Entries below their modulus, the largest among them."""
    rng = np.random.default_rng(seed)
    return np.array(
        [m - 1 if rng.random() < 0.3 else rng.integers(0, m) for m in each_modulus(parts)], np.int64
    )


@settings(deadline=None, max_examples=100, derandomize=True)
@given(segments, st.integers(1, 6))
def test_sums_are_modulo_each_segments_number(parts, count):
    layout = Layout(parts)
    total, wanted = layout.zeros(), [0] * len(each_modulus(parts))
    for i in range(count):
        vector = vector_of(parts, i)
        layout.add(total, layout.words(vector))
        wanted = [w + v for w, v in zip(wanted, vector.tolist(), strict=True)]
    wanted = [w % m for w, m in zip(wanted, each_modulus(parts), strict=True)]
    for got in (layout.vector(total), layout.vector(layout.unpack(layout.pack(total)))):
        assert got.tolist() == wanted
        assert got.dtype == np.int64


@settings(deadline=None, max_examples=100, derandomize=True)
@given(segments)
def test_a_vector_travels_in_the_bits_of_its_moduli(parts):
    layout = Layout(parts)
    vector = vector_of(parts, 0)
    data = layout.pack(layout.words(vector))
    assert layout.vector(layout.unpack(data)).tolist() == vector.tolist()
    # Neighbours of one modulus are packed together, each such run in whole bytes.
    runs = []
    for length, modulus, _ in parts:
        if runs and runs[-1][1] == modulus:
            runs[-1][0] += length
        else:
            runs.append([length, modulus])
    size = sum(-(-length * (modulus - 1).bit_length() // 8) for length, modulus in runs)
    assert len(data) == layout.num_bytes == size
    assert layout.length == len(vector)


def test_neighbours_of_one_modulus_are_one_run():
    parts = [Segment(1, 8), Segment(2, 8), Segment(0, 5), Segment(3, 8), Segment(4, 9)]
    runs = Layout(parts).runs
    assert [(run.length, run.modulus) for run in runs] == [(3, 8), (3, 8), (4, 9)]
    assert [run.dtype for run in runs] == [np.uint32, np.uint32, np.uint64]


LAYOUT = Layout([Segment(2, 10), Segment(1, 2**62)])


@pytest.mark.parametrize(
    "vector",
    [
        np.zeros(2, np.int64),
        np.zeros(4, np.int64),
        np.zeros((3, 1), np.int64),
        np.zeros(3, np.int32),
        np.zeros(3, np.uint64),
        np.zeros(3),
        np.zeros(3, object),
    ],
)
def test_another_shape_or_type_is_refused(vector):
    with pytest.raises(ValueError, match=rf"int64 vector of length 3, got {vector.dtype} \["):
        LAYOUT.words(vector)


@pytest.mark.parametrize("vector", [[10, 0, 0], [0, -1, 0], [0, 0, 2**62], [0, 0, -(2**63)]])
def test_entries_that_do_not_fit_are_refused(vector):
    with pytest.raises(ValueError, match=r"entries must be in 0 \.\. "):
        LAYOUT.words(np.array(vector))


def test_words_are_new():
    vector = np.array([1, 2, 3])
    words = LAYOUT.words(vector)
    words[0][0] = 9
    assert vector.tolist() == [1, 2, 3]


@pytest.mark.parametrize("modulus", [0, -4, 2**62 + 1])
def test_moduli_out_of_range_are_refused(modulus):
    with pytest.raises(ValueError, match=rf"1 \.\. 2\^62, got {modulus}"):
        Layout([Segment(1, modulus)])


def test_a_negative_length_is_refused():
    with pytest.raises(ValueError, match="length must be >= 0, got -1"):
        Layout([Segment(-1, 8)])


@pytest.mark.parametrize("more", [-1, 1])
def test_bytes_of_another_size_are_refused(more):
    size = LAYOUT.num_bytes + more
    with pytest.raises(ValueError, match=f"takes {size - more} bytes, got {size}"):
        LAYOUT.unpack(bytes(size))


def test_entries_that_are_not_below_the_modulus_are_refused_on_arrival():
    """Only moduli that are no power of two have any: 4 bits hold 10 to 15."""
    with pytest.raises(ValueError, match="below 10"):
        LAYOUT.unpack(b"\x0a" + bytes(LAYOUT.num_bytes - 1))


@pytest.mark.parametrize("parts", [[], [Segment(0, 10)], [Segment(0, 8), Segment(0, 3)]])
def test_nothing_is_summed_to_nothing(parts):
    layout = Layout(parts)
    words = layout.words(np.zeros(0, np.int64))
    layout.add(words, layout.zeros())
    assert layout.pack(words) == b""
    assert layout.vector(layout.unpack(b"")).shape == (0,)
