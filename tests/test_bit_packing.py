"""Integers of few bits come back from words, and take as many as they should."""

import numpy as np
import pytest
import tensorflow as tf

from tff_experiments.aggregation import bit_packing


@pytest.mark.parametrize("bits", range(1, 33))
def test_integers_come_back(bits):
    rng = np.random.default_rng(bits)
    for count in (0, 1, 63, 64, 65, 1000):
        integers = rng.integers(0, 2**bits, count)
        integers[:1] = 2**bits - 1
        words = bit_packing.pack(tf.constant(integers), bits)
        assert words.dtype == tf.int64
        # Whole words of floor(64 / bits) integers.
        assert words.shape == [int(np.ceil(count / (64 // bits)))]
        assert bit_packing.num_words(count, bits) == len(words)
        np.testing.assert_array_equal(bit_packing.unpack(words, bits, count), integers)


def test_bits_stand_where_they_are_said_to_stand():
    words = bit_packing.pack(tf.constant([1, 2, 15] + [0] * 12 + [8, 3]), 4)
    # As numbers of 64 bits with a sign: the last of a word has the sign's bit.
    np.testing.assert_array_equal(words, [1 + (2 << 4) + (15 << 8) - (8 << 60), 3])
