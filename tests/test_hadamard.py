"""Rotations against scipy's dense matrix."""

import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf

from tff_experiments.aggregation import hadamard

SEED = tf.constant([7, 3], tf.int64)


def draw(*shape):
    return tf.constant(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize("width", [2, 4, 8, 64, 2048])
def test_a_rotation_is_signs_and_a_hadamard_matrix(width):
    blocks = draw(3, width)
    signs = hadamard._signs(blocks.shape, SEED).numpy().astype(np.float64)
    assert set(np.unique(signs)) <= {-1, 1}
    wanted = (blocks.numpy() * signs) @ scipy.linalg.hadamard(width) / np.sqrt(width)
    # float32 sums of up to 2048 values of size 1 / 45.
    np.testing.assert_allclose(hadamard.rotate(blocks, SEED), wanted, atol=5e-6)


@pytest.mark.parametrize("repeats", [1, 2, 3])
def test_rotating_back_is_the_inverse(repeats):
    blocks = draw(5, 512)
    rotated = hadamard.rotate(blocks, SEED, repeats)
    np.testing.assert_allclose(tf.norm(rotated, axis=1), tf.norm(blocks, axis=1), rtol=1e-6)
    np.testing.assert_allclose(hadamard.rotate_back(rotated, SEED, repeats), blocks, atol=5e-6)


def test_other_seeds_are_other_rotations():
    blocks = draw(1, 64)
    rotated = [
        hadamard.rotate(blocks, tf.constant(seed, tf.int64)) for seed in ([7, 3], [7, 4], [8, 3])
    ]
    for i in range(3):
        assert np.abs(rotated[i] - rotated[i - 1]).max() > 0.1


def test_signs_are_fair_and_independent():
    """2^20 signs: the mean and the products of neighbours have a standard error of 2^-10."""
    signs = hadamard._signs([1, 2**20], SEED).numpy()[0].astype(np.float64)
    assert abs(signs.mean()) < 5 / 2**10
    assert abs((signs[1:] * signs[:-1]).mean()) < 5 / 2**10


@pytest.mark.parametrize(
    ("size", "count", "width"),
    [(1, 1, 2), (2, 1, 2), (3, 1, 4), (201, 1, 256), (4096, 1, 4096), (4097, 2, 4096)],
)
def test_a_vector_is_cut_into_blocks_and_joined(size, count, width):
    vector, blocks = draw(size), hadamard.Blocks(size, 4096)
    cut = blocks.cut(vector)
    assert cut.shape == [count, width] == [blocks.count, blocks.width]
    np.testing.assert_array_equal(blocks.join(cut), vector)
    np.testing.assert_array_equal(tf.reshape(cut, [-1])[size:], 0)


@pytest.mark.parametrize("block", [0, 1, 3, 2**17])
def test_blocks_that_are_no_power_of_two_are_refused(block):
    with pytest.raises(
        ValueError, match=rf"block must be a power of two in 2 .. 65536, got {block}"
    ):
        hadamard.check_block(block)
