"""DRIVE: scales by the paper's formulas, its errors, what is unbiased and what is not, its bits."""

import numpy as np
import pytest
import scipy.linalg
import tensorflow as tf
from aggregation_helpers import Aggregation, aggregate, draw, encode_often

from tff_experiments.aggregation import bit_packing, drive, hadamard

SIZE, BLOCK = 1000, 256  # Four blocks, the last of them padded.
TIMES = 1000


def codec(size=SIZE, **hparams):
    return drive.Drive(size, drive.Hparams(block=BLOCK, **hparams))


def gaussian():
    return np.random.default_rng(0).standard_normal(SIZE).astype(np.float32)


def relative_errors(decoded, x):
    return ((decoded - x) ** 2).sum(1) / (x.astype(np.float64) ** 2).sum()


@pytest.mark.parametrize("unbiased", [True, False])
def test_a_message_has_the_papers_signs_and_scales(unbiased):
    x = gaussian()
    message = codec(unbiased=unbiased).encode(tf.constant(x))
    blocks = np.pad(x.astype(np.float64), (0, 4 * BLOCK - SIZE)).reshape(4, BLOCK)
    signs = hadamard._signs([4, BLOCK], tf.concat([message["seed"], [0]], 0)).numpy()
    rotated = (blocks * signs) @ scipy.linalg.hadamard(BLOCK) / np.sqrt(BLOCK)
    norms = np.abs(rotated).sum(1)
    scales = (blocks**2).sum(1) / norms if unbiased else norms / BLOCK
    np.testing.assert_allclose(message["scales"], scales, rtol=1e-5)
    sent = bit_packing.unpack(message["signs"], 1, 4 * BLOCK).numpy().reshape(4, BLOCK)
    sure = np.abs(rotated) > 1e-5  # Others may have either sign in float32.
    np.testing.assert_array_equal(sent[sure], (rotated > 0)[sure])


def test_the_error_is_the_papers_for_vectors_whose_coordinates_are_alike():
    """1 - 2 / pi and pi / 2 - 1, up to blocks of 256 and the scatter of 1000 draws."""
    x = np.random.default_rng(0).standard_normal(4 * BLOCK).astype(np.float32)
    biased = relative_errors(encode_often(codec(len(x), unbiased=False), x, TIMES), x)
    unbiased = relative_errors(encode_often(codec(len(x)), x, TIMES), x)
    assert biased.mean() == pytest.approx(1 - 2 / np.pi, rel=0.02)
    assert unbiased.mean() == pytest.approx(np.pi / 2 - 1, rel=0.02)


def one_block(*values):
    return np.pad(np.array(values, np.float32), (0, BLOCK - len(values)))


VECTORS = {
    "one": one_block(1),
    "two equal": one_block(1, 1),  # Half of the rotated coordinates are 0: the worst there is.
    "two": one_block(1, 0.5),
    "three": one_block(1, -1, 1),
    "decaying": one_block(*0.7 ** np.arange(BLOCK)),
    "dense": gaussian()[:BLOCK],
}


@pytest.mark.parametrize("name", VECTORS)
def test_the_biased_error_is_at_most_half_of_any_vector(name):
    x = VECTORS[name]
    errors = relative_errors(encode_often(codec(BLOCK, unbiased=False), x, 200), x)
    # In expectation; 5 sigma of the draws' own scatter, and float32.
    assert errors.mean() <= 0.5 + 5 * errors.std() / np.sqrt(200) + 1e-5
    if name == "one":
        np.testing.assert_allclose(errors, 0, atol=1e-10)


def deviations(x, **hparams):
    """Of the mean of many draws, in standard errors; the largest of a block."""
    decoded = encode_often(codec(len(x), **hparams), x, TIMES)
    sigma = np.maximum(decoded.std(0, ddof=1) / np.sqrt(TIMES), 1e-6)
    return np.abs(decoded.mean(0) - x) / sigma


def test_the_unbiased_scale_is_right_on_average():
    """Of 256 coordinates none is beyond 5 sigma; of the biased scale's mean most are."""
    assert deviations(VECTORS["dense"]).max() < 5
    assert np.median(deviations(VECTORS["dense"], unbiased=False)) > 5


def test_of_two_coordinates_one_rotation_is_biased_and_two_mend_it():
    x = VECTORS["two"]
    decoded = encode_often(codec(BLOCK), x, 20)
    np.testing.assert_allclose(decoded, [one_block(1.25)] * 20, atol=1e-5)
    assert deviations(x, repeats=2).max() < 5


def test_clients_have_rotations_of_their_own_and_errors_average_out():
    """64 equal clients: 0.57 / 64 with errors that are independent, 0.57 with one rotation."""
    rows = np.repeat(draw(1), 64, axis=0)
    got, measured = aggregate(drive, rows)
    (nmse,) = relative_errors(got[None], rows[0])
    # Of a block of 256, of which 55 coordinates are padding, whose errors are dropped.
    wanted = (np.pi / 2 - 1) * 201 / 256
    assert measured["mean_value"]["nmse"] == pytest.approx(wanted, rel=0.1)
    assert nmse == pytest.approx(measured["mean_value"]["nmse"] / 64, rel=0.5)


@pytest.mark.parametrize(
    ("block", "bits"), [(4096, 256 + 32 + 64), (64, 256 + 4 * 32 + 64), (2, 256 + 101 * 32 + 64)]
)
def test_bits_are_those_of_the_message(block, bits):
    """201 coordinates, a sign each in blocks and words, scales and a seed."""
    aggregation = Aggregation(drive.build(drive.Hparams(block=block)))
    aggregation.rows(draw(3))
    assert aggregation.measured["mean_value"]["uplink_bits"] == bits
    assert aggregation.round["bytes/uplink_per_client"] == bits / 8 + 8


def test_rounds_and_seeds_draw_other_rotations():
    rows = draw(2)
    first = Aggregation(drive.build(drive.Hparams()), seed=1)
    one, two = first.rows(rows), first.rows(rows)
    assert np.abs(one - two).max() > 0.01
    np.testing.assert_array_equal(Aggregation(drive.build(drive.Hparams()), seed=1).rows(rows), one)
    other = Aggregation(drive.build(drive.Hparams()), seed=2).rows(rows)
    assert np.abs(other - one).max() > 0.01


def test_zeros_and_no_client_give_zero():
    got, _ = aggregate(drive, np.zeros((2, 201)))
    np.testing.assert_array_equal(got, 0)
    got, measured = aggregate(drive, np.zeros((0, 201)))
    np.testing.assert_array_equal(got, 0)
    assert measured["mean_value"] == {"uplink_bits": 0, "nmse": 0}


def test_knobs_out_of_range_are_refused():
    with pytest.raises(ValueError, match="repeats must be >= 1, got 0"):
        drive.Hparams(repeats=0)
    with pytest.raises(ValueError, match="block must be a power of two"):
        drive.Hparams(block=5000)
