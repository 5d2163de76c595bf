"""Packing: a long number in base 2^b, by Python's integers, block by block."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tff_experiments.secure_sum import packing


def words_of(bits):
    """Entries and words of a block: the fewest entries that fill whole words."""
    lanes = next(n for n in range(1, 65) if n * bits % 64 == 0)
    return lanes, lanes * bits // 64


def packed(entries, bits):
    """What `pack` makes: words of all blocks, word by word; then the rest as one number."""
    if bits == 32:
        return b"".join((entry % 2**32).to_bytes(4, "little") for entry in entries)
    lanes, num_words = words_of(bits)
    rows = len(entries) // lanes
    blocks = [
        sum(entries[lane * rows + row] % 2**bits << (bits * lane) for lane in range(lanes))
        for row in range(rows)
    ]
    words = [block >> (64 * word) & (2**64 - 1) for word in range(num_words) for block in blocks]
    rest = entries[rows * lanes :]
    tail = sum(entry % 2**bits << (bits * i) for i, entry in enumerate(rest))
    data = b"".join(word.to_bytes(8, "little") for word in words)
    return data + tail.to_bytes((len(rest) * bits + 7) // 8, "little")


def random_entries(length, bits):
    rng = np.random.default_rng([length, bits])
    top = np.uint64(2**bits - 1)
    entries = rng.integers(0, 2**64, length, np.uint64)
    # Ones everywhere, too: what leaks into a neighbour shows.
    return np.where(rng.random(length) < 0.3, top, entries & top)


@pytest.mark.parametrize("bits", range(65))
def test_any_width_is_packed_as_a_number_and_comes_back(bits):
    for length in (0, 1, 2, 63, 64, 65, 129, 500):
        entries = random_entries(length, bits)
        data = packing.pack(entries, bits)
        assert data == packed(entries.tolist(), bits)
        assert len(data) == packing.num_bytes(length, bits) == -(-length * bits // 8)
        back = packing.unpack(data, length, bits)
        np.testing.assert_array_equal(back, entries)
        assert back.dtype == np.uint64


@settings(deadline=None, max_examples=100, derandomize=True)
@given(st.integers(0, 64), st.lists(st.integers(0, 2**64 - 1), max_size=200))
def test_bits_above_the_width_are_cut(bits, entries):
    data = packing.pack(np.array(entries, np.uint64), bits)
    assert data == packed(entries, bits)
    back = packing.unpack(data, len(entries), bits)
    assert back.tolist() == [entry % 2**bits for entry in entries]


@pytest.mark.parametrize("bits", [1, 7, 20, 31, 32])
def test_32_bit_entries_are_packed_as_64_bit_ones(bits):
    entries = random_entries(1000, bits)
    data = packing.pack(entries.astype(np.uint32), bits)
    assert data == packing.pack(entries, bits)
    back = packing.unpack(data, 1000, bits, np.uint32)
    assert back.dtype == np.uint32
    np.testing.assert_array_equal(back, entries)


@pytest.mark.parametrize("bits, length", [(0, 0), (0, 9), (1, 9), (20, 33), (64, 3)])
@pytest.mark.parametrize("more", [-1, 1, 8])
def test_another_number_of_bytes_is_refused(bits, length, more):
    size = packing.num_bytes(length, bits) + more
    if size >= 0:
        with pytest.raises(ValueError, match=f"bits take {size - more} bytes, got {size}"):
            packing.unpack(bytes(size), length, bits)


@pytest.mark.parametrize("bits", [1, 20, 31, 35])
def test_any_bytes_unpack_to_entries_below_the_width(bits):
    data = np.random.default_rng(bits).bytes(packing.num_bytes(77, bits))
    entries = packing.unpack(data, 77, bits)
    assert entries.max() < 2**bits
    # The last byte's spare bits carry nothing.
    assert packing.pack(entries, bits)[:-1] == data[:-1]
