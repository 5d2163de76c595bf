"""Stochastic quantization: its grid, error bounds, bits, and that it is right on average."""

import numpy as np
import pytest
import tensorflow as tf
from aggregation_helpers import Aggregation, aggregate, draw, encode_often

from tff_experiments.aggregation import bit_packing, quantized

SIZE, BLOCK = 200, 64  # Four blocks, the last of them padded.


def codec(**hparams):
    return quantized.Quantizer(SIZE, quantized.Hparams(block=BLOCK, **hparams))


def vector():
    return np.random.default_rng(0).standard_normal(SIZE).astype(np.float32)


def grid(x, bits, spread):
    """(low, step) of each coordinate, float64, by the papers' formulas."""
    blocks = np.pad(x.astype(np.float64), (0, 4 * BLOCK - SIZE)).reshape(4, BLOCK)
    if spread == "norm":
        norm = np.linalg.norm(blocks, axis=1)
        low, step = -norm, norm / (2 ** (bits - 1) - 1)
    else:
        low = blocks.min(1)
        step = (blocks.max(1) - low) / (2**bits - 1)
    each = lambda values: np.repeat(values, BLOCK)[:SIZE]
    return each(low), each(step)


KINDS = [(1, "range"), (3, "range"), (8, "range"), (16, "range"), (2, "norm"), (5, "norm")]


@pytest.mark.parametrize(("bits", "spread"), KINDS)
def test_what_is_decoded_is_a_level_next_to_the_coordinate(bits, spread):
    x = vector()
    decoded = encode_often(codec(bits=bits, spread=spread), x, 20)
    low, step = grid(x, bits, spread)
    levels = (decoded - low) / step
    # float32 has 24 bits, of which the number of the level takes up to 16.
    np.testing.assert_allclose(levels, np.round(levels), atol=2.0 ** (bits - 22))
    assert (np.round(levels) >= 0).all() and (np.round(levels) <= 2**bits - 1).all()
    assert (np.abs(decoded - x) <= step * (1 + 2.0 ** (bits - 21))).all()


@pytest.mark.parametrize(("bits", "spread"), KINDS)
def test_it_is_right_on_average_and_its_error_within_the_bound(bits, spread):
    """A draw's standard deviation is step / 2 at most: 5 sigma of the mean of 2000."""
    x = vector()
    decoded = encode_often(codec(bits=bits, spread=spread), x, 2000)
    _, step = grid(x, bits, spread)
    # What float32 rounds is not random.
    assert (np.abs(decoded.mean(0) - x) <= 5 * step / 2 / np.sqrt(2000) + 1e-6).all()
    errors = ((decoded - x) ** 2).sum(1)
    bound = (step**2).sum() / 4
    assert errors.mean() <= bound * (1 + 1e-3)
    if spread == "norm":
        # QSGD, lemma 3.1, in each block.
        levels = 2 ** (bits - 1) - 1
        factor = min(BLOCK / levels**2, np.sqrt(BLOCK) / levels)
        assert errors.mean() <= factor * (x.astype(np.float64) ** 2).sum()


@pytest.mark.parametrize("spread", ["range", "norm"])
def test_equal_coordinates_and_zeros_are_exact(spread):
    for x in (np.zeros(SIZE), np.full(BLOCK, 0.3)):
        exact = quantized.Quantizer(len(x), quantized.Hparams(bits=4, block=BLOCK, spread=spread))
        if spread == "range" or not x.any():
            np.testing.assert_array_equal(encode_often(exact, x, 3), [np.float32(x)] * 3)


@pytest.mark.parametrize(("bits", "spread"), KINDS)
def test_bits_are_those_of_the_message(bits, spread):
    """On the wire: 201 coordinates in a block of 256, or in four of 64."""
    for block, padded in ((256, 256), (64, 256)):
        hparams = quantized.Hparams(bits=bits, spread=spread, block=block)
        aggregation = Aggregation(quantized.build(hparams))
        aggregation.rows(draw(3))
        scales = (64 if spread == "range" else 32) * padded // block
        wanted = 64 * -(-padded // (64 // bits)) + scales
        assert aggregation.measured["mean_value"]["uplink_bits"] == wanted
        # Beside it a weight and the error, float32 each.
        assert aggregation.round["bytes/uplink_per_client"] == wanted / 8 + 8


def test_the_error_that_is_reported_is_that_of_the_clients():
    """Of equal clients the mean's error is theirs over their number."""
    rows = np.repeat(draw(1), 400, axis=0)
    got, measured = aggregate(quantized, rows, bits=2)
    nmse = ((got - rows[0]) ** 2).sum() / (rows[0].astype(np.float64) ** 2).sum()
    # The sum of 201 coordinates' squares, each known to sqrt(2 / 201) = 10 %: 5 sigma.
    assert measured["mean_value"]["nmse"] / 400 == pytest.approx(nmse, rel=0.5)


def spiky(clients):
    """Updates with all weight on one coordinate of which the range is made."""
    rows = 0.01 * draw(clients)
    rows[:, 17] = 1.0
    return rows


def test_a_rotation_makes_the_range_small():
    """Suresh et al., section 3: 2 log(d) instead of d; here by a factor of about 10."""
    rows = spiky(10)
    errors = []
    for rotation in (False, True):
        _, measured = aggregate(quantized, rows, bits=4, rotation=rotation)
        errors.append(measured["mean_value"]["nmse"])
    assert errors[1] < errors[0] / 4


def test_a_rotated_mean_is_right_on_average_and_each_round_rotates_anew():
    """60 rounds of 10 clients at 4 bits; errors by the rounds' own scatter: 5 sigma of 201."""
    rows, weights = spiky(10), np.arange(1, 11)
    wanted = np.average(rows.astype(np.float64), axis=0, weights=weights)
    aggregation = Aggregation(quantized.build(quantized.Hparams(bits=4, rotation=True)), seed=2)
    got = np.array([aggregation.rows(rows, weights) for _ in range(60)])
    error = got.mean(0) - wanted
    assert (np.abs(error) <= 5 * got.std(0, ddof=1) / np.sqrt(60)).all()
    key = aggregation.state["value_sum_process"][0]
    assert key[1] == 60
    # One rotation for all rounds would give one set of directions: errors of full rank say no.
    assert np.linalg.matrix_rank(got - wanted, tol=1e-6) == 60


def test_16_bits_with_a_rotation_are_the_mean():
    rows, weights = draw(6), np.arange(1, 7)
    got, _ = aggregate(quantized, rows, weights, bits=16, rotation=True)
    wanted = np.average(rows.astype(np.float64), axis=0, weights=weights)
    # A range of about 8 in 2^16 steps of 1.2e-4.
    np.testing.assert_allclose(got, wanted, atol=1.2e-4)


def test_no_client_gives_zero():
    got, measured = aggregate(quantized, np.zeros((0, 201)), rotation=True)
    np.testing.assert_array_equal(got, 0)
    assert measured["mean_value"] == {"uplink_bits": 0, "nmse": 0}


def test_knobs_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"bits must be in 2 .. 16 with spread=norm, got 1"):
        quantized.Hparams(bits=1, spread="norm")
    with pytest.raises(ValueError, match=r"bits must be in 1 .. 16 with spread=range, got 17"):
        quantized.Hparams(bits=17)
    with pytest.raises(ValueError, match=r"block must be a power of two"):
        quantized.Hparams(block=100)


def test_the_message_has_the_packed_levels():
    message = codec(bits=4).encode(tf.constant(vector()))
    levels = bit_packing.unpack(message["levels"], 4, 4 * BLOCK)
    assert message["levels"].shape == [16] and message["scales"].shape == [4, 2]
    assert levels.numpy().min() == 0 and levels.numpy().max() == 15
