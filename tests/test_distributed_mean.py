"""Distributed DP: the mean without noise, its noise, rounding, the ring, TFF's own, real sizes.

Draws are functions of seeds: the tolerances are those at which fresh ones would fail less than once
in 10^6.
"""

import dataclasses
import time

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
from aggregation_helpers import SIZE, STRUCT, WEIGHT, Aggregation, as_row, as_struct, draw
from scipy import stats

from tff_experiments.aggregation import ddp_discrete_gaussian, ddp_skellam, distributed_mean
from tff_experiments.privacy import distributed
from tff_experiments.runtime import local
from tff_experiments.secure_sum import secagg

MODULES = {"discrete_gaussian": ddp_discrete_gaussian, "skellam": ddp_skellam}
N, DIM, CLIP = 8, 256, 2.0
ROWS = draw(N)
Z = stats.norm.isf(0.5e-6)


def mechanism(noise="skellam", **kwargs):
    fields = {"noise_multiplier": 1.0, "clip": CLIP, "num_clients": N, "dim": DIM, "bits": 16}
    return distributed.Distributed(noise=noise, **fields | kwargs)


def aggregation(made, *, seed_noise=0, secure_sum=None, **kwargs):
    module = MODULES[made.noise]
    found = Aggregation(module.build(module.Hparams(), made, None), **kwargs)
    found._context = local.Context(local.Hparams(seed_noise=seed_noise), secure_sum=secure_sum)
    return found


def clipped_mean(rows, clients=N):
    rows = np.asarray(rows, np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows * np.minimum(1, CLIP / norms)).sum(0) / clients


@pytest.mark.parametrize("noise", MODULES)
@pytest.mark.parametrize("bits", [8, 12, 16, 20, 24])
def test_without_noise_it_is_the_mean_of_clipped_updates_up_to_rounding(noise, bits):
    """Rounding moves a coordinate by less than a step a client, with variance of at most 1/4."""
    made = mechanism(noise, noise_multiplier=1e-9, bits=bits)
    found = aggregation(made).rows(ROWS, weights=np.arange(N))
    error = found - clipped_mean(ROWS)
    step = 1 / (made.scale * N)
    # Rotated back the errors stay as long: 256 coordinates of 8 roundings each.
    assert np.linalg.norm(error) < step * np.sqrt(DIM * N / 4) * 1.5 + 1e-5
    assert aggregation(made).rows(0 * ROWS) == pytest.approx(np.zeros(SIZE), abs=1e-9)


@pytest.mark.parametrize("noise", MODULES)
def test_the_noise_of_all_clients_together_is_z_clip(noise):
    made = mechanism(noise, noise_multiplier=3.0)
    rounds = aggregation(made)
    noisy = np.concatenate([rounds.rows(0 * ROWS) for _ in range(10)]) * N / (3.0 * CLIP)
    low, high = stats.chi2.ppf([0.5e-6, 1 - 0.5e-6], noisy.size) / noisy.size
    # Rounding of zeros adds nothing.
    assert low < np.mean(noisy**2) < high
    assert stats.kstest(noisy, "norm").pvalue > 1e-6
    assert rounds.measured["noise_stddev"] == pytest.approx(3.0 * CLIP / N)


def test_each_client_adds_its_share_and_more_where_dropouts_are_expected():
    planned = mechanism(num_clients=10, expected_dropout=0.2)
    assert planned.local_stddev == pytest.approx(CLIP / np.sqrt(8))
    rounds = aggregation(planned)
    # Eight of ten came: their noise together is what was planned, and the mean is over eight.
    noisy = np.concatenate([rounds.rows(0 * ROWS) for _ in range(10)]) * 8 / CLIP
    low, high = stats.chi2.ppf([0.5e-6, 1 - 0.5e-6], noisy.size) / noisy.size
    assert low < np.mean(noisy**2) < high


@pytest.mark.parametrize("noise", MODULES)
def test_under_secagg_it_is_the_sum_in_the_clear_bit_for_bit_in_a_ring_of_exactly_2_to_the_bits(
    noise,
):
    made = mechanism(noise, bits=13)
    plain = aggregation(made).rows(ROWS)
    rounds = aggregation(made, secure_sum=secagg.build(secagg.Hparams()))
    np.testing.assert_array_equal(rounds.rows(ROWS), plain)
    # Nothing else is summed: 256 words of 13 bits, and the protocol's own bytes.
    assert 256 * 13 / 8 <= rounds.round["secure_sum/upload_bytes_per_client"] < 256 * 13 / 8 + 5000


def test_sums_that_do_not_fit_wrap_around_and_no_more():
    """A sum at the edge of the ring comes back as its residue."""
    made = mechanism(noise_multiplier=1e-9, bits=8, k_stddevs=0.01)
    found = aggregation(made).rows(np.tile(ROWS[:1], (N, 1)))
    assert np.abs(found).max() * made.scale * N < 2**7 * np.sqrt(DIM)
    assert not np.allclose(found, clipped_mean(np.tile(ROWS[:1], (N, 1))), atol=0.01)


def test_rounding_is_unbiased_where_the_bound_does_not_bite():
    exact = tf.constant(np.linspace(-3, 3, 64))
    once = tf.function(distributed_mean.round_within)
    rounded = np.array([once(exact, 1e9) for _ in range(4000)])
    fraction = exact.numpy() - np.floor(exact.numpy())
    deviation = np.sqrt(fraction * (1 - fraction) / 4000)
    assert np.all(np.abs(rounded.mean(0) - exact.numpy()) <= Z * 1.3 * deviation + 1e-12)
    assert np.all(np.abs(rounded - exact.numpy()) < 1)


def test_rounding_keeps_within_the_bound_that_is_accounted_for():
    """A bound that about half of the tries meet."""
    exact = tf.constant(np.full(4096, 0.5))
    norms = [np.linalg.norm(distributed_mean.round_within(exact, np.sqrt(2048))) for _ in range(50)]
    assert max(norms) <= np.sqrt(2048)


def test_updates_as_long_as_can_be_stay_within_the_bound_after_rotation_and_rounding(monkeypatch):
    """What leaves the rounding, for updates at the clip, and rotations that lengthen by floats."""
    made, seen = mechanism(bits=10), []
    original = distributed_mean.round_within

    def spy(exact, norm):
        rounded = original(exact, norm)
        seen.append((float(tf.norm(tf.cast(rounded, tf.float64))), norm))
        return tf.zeros_like(rounded)

    monkeypatch.setattr(distributed_mean, "round_within", spy)
    monkeypatch.setattr(
        distributed_mean.private_noise, "integers", lambda *args: tf.zeros([DIM], tf.int64)
    )
    factory = distributed_mean.DistributedMeanFactory(made)
    for i in range(20):
        vector = tf.constant(1e3 * ROWS[i % N])
        factory._encode(vector, tf.constant([5, i], tf.int64))
    assert all(length <= norm == made.scaled_l2_norm for length, norm in seen) and len(seen) == 20


def tff_sum(rows, noise):
    """TFF's own distributed DP, its inner factory as in `ddp_secure_aggregator`."""
    factory = tff.learning.ddp_secure_aggregator(
        noise_multiplier=noise,
        expected_clients_per_round=N,
        bits=20,
        zeroing=False,
    )
    process = factory.create(STRUCT)
    native = tff.backends.native.transform_to_native_form(process.next)
    typed = tff.framework.ConcreteComputation.with_type(native, process.next.type_signature)

    @tff.federated_computation(
        process.initialize.type_signature.result, tff.FederatedType(STRUCT, tff.CLIENTS)
    )
    def next_fn(state, value):
        output = typed(state, value)
        return output.state, output.result

    with tff.framework.get_context_stack().install(local.Context(local.Hparams())):
        return next_fn(process.initialize(), [as_struct(row) for row in rows])[1]


def test_without_noise_tffs_factory_gives_the_same_mean():
    """TFF's clip starts at 0.1, and adapts afterwards: updates are shorter here."""
    short = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True) * 0.09
    theirs = as_row(tff_sum(short, 1e-6))
    ours = aggregation(mechanism(noise_multiplier=1e-9, bits=20, clip=0.1)).rows(short)
    wanted = short.astype(np.float64).mean(0)
    np.testing.assert_allclose(ours, wanted, atol=2e-5)
    np.testing.assert_allclose(theirs, wanted, atol=2e-5)


CNN = [(3, 3, 1, 32), (32,), (3, 3, 32, 64), (64,), (9216, 128), (128,), (128, 62), (62,)]


def test_with_the_emnist_cnns_weights_it_compiles_and_runs_in_seconds():
    """1,206,590 weights in 2^21 coordinates; the goal is 20 s, on a quiet machine."""
    value_type = tff.to_type([tff.TensorType(np.float32, shape) for shape in CNN])
    start = time.perf_counter()
    made = aggregation(mechanism(dim=2**21, num_clients=2), value_type=value_type)
    rng = np.random.default_rng(0)
    values = [[rng.standard_normal(s).astype(np.float32) * 1e-3 for s in CNN] for _ in range(2)]
    found = made.values(values)
    seconds = time.perf_counter() - start
    assert seconds < 60, f"{seconds:.1f} s"
    wanted = [np.mean([v[i] for v in values], 0) for i in range(len(CNN))]
    scale = min(1.0, CLIP / np.sqrt(sum(np.sum(x**2) for x in values[0])))
    noise = np.concatenate([np.ravel(f - w * scale) for f, w in zip(found, wanted, strict=True)])
    assert np.std(noise) == pytest.approx(CLIP / 2, rel=0.01)


@pytest.mark.parametrize("size", [128, 257])
def test_a_mechanism_for_another_length_is_refused(size):
    kind = tff.to_type([tff.TensorType(np.float32, [size])])
    with pytest.raises(ValueError, match=f"for {DIM} coordinates, not {size}"):
        distributed_mean.DistributedMeanFactory(mechanism()).create(kind, WEIGHT)


@pytest.mark.parametrize("bits", [7, 25])
def test_bits_out_of_range_are_refused(bits):
    with pytest.raises(ValueError, match=r"bits must be in 8 .. 24"):
        ddp_skellam.Hparams(bits=bits)
    assert dataclasses.asdict(ddp_skellam.Hparams())["bits"] == 16


@pytest.mark.slow
def test_with_noise_tffs_factory_has_the_same_law():
    """Both are z clip / n of a coordinate of the mean; TFF's draws are functions of a seed here.

    TFF's clip adapts: of 0.5 it keeps a part for the count (0.05 n), and updates get more noise.
    """
    z = (0.5**-2 - (2 * 0.05 * N) ** -2) ** -0.5  # Andrew et al. 2021, theorem 1.
    found = as_row(tff_sum(0 * ROWS, 0.5)) * N / (z * 0.1)
    low, high = stats.chi2.ppf([0.5e-6, 1 - 0.5e-6], SIZE) / SIZE
    assert low < np.mean(found**2) < high
    ours = aggregation(mechanism(noise_multiplier=z, clip=0.1, bits=20)).rows(0 * ROWS)
    assert stats.ks_2samp(found, ours * N / (z * 0.1)).pvalue > 1e-6
