"""Central and local DP: the clipped sum in numpy, TFF's own factories, and the noise's law.

Noise is drawn from a seed: the tolerances are those at which fresh draws would fail less than once
in 10^6.
"""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
from aggregation_helpers import SIZE, STRUCT, Aggregation, as_row, as_struct, draw
from scipy import stats

from tff_experiments import private_noise
from tff_experiments.aggregation import (
    correlated_noise,
    dp_fedavg,
    dp_ftrl,
    local_dp,
    private_mean,
)
from tff_experiments.privacy import matrix_factorization, mechanisms, plan
from tff_experiments.runtime import local

PLAN = plan.Hparams(clients_per_round=8, rounds=12)
ROWS = draw(8)


def aggregation(module, mechanism, planned=PLAN, seed_noise=0, **hparams):
    factory = module.build(module.Hparams(**hparams), mechanism, planned)
    made = Aggregation(factory)
    made._context = local.Context(local.Hparams(seed_noise=seed_noise))
    return made


def clipped_mean(rows, clip, clients=8):
    rows = rows.astype(np.float64)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows * np.minimum(1, clip / norms)).sum(0) / clients


@pytest.mark.parametrize("clip", [0.5, 14.0, 1e3])
def test_without_noise_it_is_the_mean_of_clipped_updates_whatever_their_weights(clip):
    made = aggregation(dp_fedavg, None, clip=clip, noise_multiplier=0.0)
    found = made.rows(ROWS, weights=np.arange(8) * 100)
    np.testing.assert_allclose(found, clipped_mean(ROWS, clip), rtol=1e-5, atol=1e-6 * clip)
    assert made.measured["noise_stddev"] == 0


def test_it_is_tffs_own_factory_without_noise():
    ours = aggregation(dp_fedavg, None, clip=3.0, noise_multiplier=0.0).rows(ROWS)
    theirs = tff.aggregators.DifferentiallyPrivateFactory.gaussian_fixed(0.0, 8, 3.0)
    found = of_tff(theirs, 1)[0]
    np.testing.assert_allclose(ours, found, rtol=1e-5, atol=1e-6)


def of_tff(factory, rounds):
    process = factory.create(STRUCT)

    @tff.federated_computation(
        process.initialize.type_signature.result, tff.FederatedType(STRUCT, tff.CLIENTS)
    )
    def next_fn(state, value):
        output = process.next(state, value)
        return output.state, output.result

    with tff.framework.get_context_stack().install(local.Context(local.Hparams())):
        state, results = process.initialize(), []
        for _ in range(rounds):
            state, result = next_fn(state, [as_struct(row) for row in ROWS])
            results.append(as_row(result))
    return results


def test_the_clip_follows_the_norms_as_tffs_does_without_noise():
    """The clip of each round shows in the norm of the mean."""
    made = aggregation(
        dp_fedavg, None, clip=0.1, noise_multiplier=0.0, adaptive=True, quantile=0.7, rate=0.5
    )
    ours = [made.rows(ROWS) for _ in range(12)]
    factory = tff.aggregators.DifferentiallyPrivateFactory.gaussian_adaptive(
        0.0, 8, 0.1, target_unclipped_quantile=0.7, learning_rate=0.5, clipped_count_stddev=0.0
    )
    np.testing.assert_allclose(ours, of_tff(factory, 12), rtol=1e-4, atol=1e-6)
    assert made.measured["clip"] > 1


@pytest.mark.parametrize("adaptive", [False, True])
def test_the_servers_noise_is_z_clip_of_each_coordinate_of_the_sum(adaptive):
    z, clip = 2.0, 0.5
    mechanism = (
        mechanisms.AdaptiveClipping(z, count_stddev=4.0) if adaptive else mechanisms.Gaussian(z)
    )
    made = aggregation(dp_fedavg, mechanism, clip=clip, adaptive=adaptive)
    noise = []
    for _ in range(10):
        found = made.rows(ROWS)
        clip = float(made.measured["clip"])
        noise.append((found - clipped_mean(ROWS, clip)) * 8 / clip)
    expected = mechanism.value_noise_multiplier if adaptive else z
    noise = np.concatenate(noise) / expected
    low, high = stats.chi2.ppf([0.5e-6, 1 - 0.5e-6], noise.size) / noise.size
    assert low < np.mean(noise**2) < high
    assert stats.kstest(noise, "norm").pvalue > 1e-6
    assert made.measured["noise_stddev"] == pytest.approx(expected * clip / 8, rel=1e-6)


def test_the_counts_noise_is_what_was_asked_for():
    """A round's clip tells the noisy count: log(C'/C) = -rate (b - quantile)."""
    factory = private_mean.PrivateMeanFactory(
        private_mean.Clipping(0.01, 0.5, 0.2, count_stddev=2.0),
        0.0,
        correlated_noise.Independent(),
        clients_per_round=100,
    )
    made = Aggregation(factory)
    made._context = local.Context(local.Hparams(seed_noise=0))
    clips = []
    for _ in range(201):
        made.rows(ROWS)
        clips.append(float(made.measured["clip"]))
    # 8 of 8 are above the clip: b = (8 * -1/2 + noise) / 100 + 1/2, far from 0 and 1.
    b = 0.5 - np.diff(np.log(clips)) / 0.2
    noise = ((b - 0.5) * 100 + 4) / 2.0
    low, high = stats.chi2.ppf([0.5e-6, 1 - 0.5e-6], 200) / 200
    assert low < np.mean(noise**2) < high
    assert abs(np.mean(noise)) < stats.norm.isf(0.5e-6) / np.sqrt(200)


@pytest.mark.parametrize("rounds", [1, 5, 8, 12])
def test_a_trees_prefix_sums_are_those_of_least_variance(monkeypatch, rounds):
    """Eagerly, with noise that is recorded: a prefix is a linear map of independent draws, whose
    squared coefficients must add to Honaker's variance of its nodes.
    """
    tree, basis, state = correlated_noise.Tree(8), 2 * rounds, None
    drawn = []

    def normal(shape):
        assert list(shape) == [2, basis]
        number = len(drawn)
        drawn.append(number)
        return tf.constant(np.eye(basis, dtype=np.float32)[[2 * number, 2 * number + 1]])

    monkeypatch.setattr(private_noise, "normal", normal)
    state, prefix = tree.first(basis), np.zeros(basis)
    for number in range(1, rounds + 1):
        state, noise = tree.next(state, basis)
        prefix += noise.numpy()
        in_tree = (number - 1) % 8 + 1
        expected = sum(2**level / (2 ** (level + 1) - 1) for level in bits_of(in_tree))
        expected += (number - 1) // 8 * (8 / 15)  # Full trees before.
        np.testing.assert_allclose(np.sum(prefix**2), expected, rtol=1e-5)


def bits_of(number):
    return [level for level in range(number.bit_length()) if number >> level & 1]


def test_a_nodes_estimate_has_a_right_mean():
    """Each node's own noise stands for the same sum: coefficients of a prefix over the draws of a
    path from leaf to root are those of an unbiased estimate, so that weights of a node and of what
    is below it add to one: seen with a signal that is the number of leaves below.
    """
    tree, signal = correlated_noise.Tree(8), []
    state = tree.first(1)

    def normal(shape):
        number = len(signal) + 1
        signal.append(number)
        above = 2 ** (int(np.log2(number & -number)) + 1)
        return tf.constant([[1.0], [float(above)]])

    original, private_noise.normal = private_noise.normal, normal
    try:
        prefix = 0.0
        for number in range(1, 9):
            state, noise = tree.next(state, 1)
            prefix += float(noise[0])
            assert prefix == pytest.approx(number, rel=1e-5)
    finally:
        private_noise.normal = original


def test_banded_noise_is_the_solution_of_its_matrix(monkeypatch):
    rounds, bands, size = 12, 4, 3
    c = matrix_factorization.toeplitz_coefficients(rounds, bands)
    z = np.random.default_rng(0).standard_normal((rounds, size)).astype(np.float32)
    drawn = iter(z)
    monkeypatch.setattr(private_noise, "normal", lambda shape: tf.constant(next(drawn)))
    banded, found = correlated_noise.Banded(c), []
    state = banded.first(size)
    for _ in range(rounds):
        state, noise = banded.next(state, size)
        found.append(noise.numpy())
    matrix = sum(np.diag(np.full(rounds - j, c[j]), -j) for j in range(bands))
    np.testing.assert_allclose(found, np.linalg.solve(matrix, z), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("noise", ["tree", "banded"])
def test_dp_ftrls_noise_in_the_prefix_sum_is_as_computed(noise):
    """12 rounds of zeros, 201 coordinates: variances of the last prefix sum."""
    z, clip = 3.0, 0.5
    if noise == "tree":
        mechanism = mechanisms.TreeAggregation(z, restart_every=8)
        variance = 8 / 15 + 4 / 7  # A full tree of 8, and a node of 4.
    else:
        mechanism = mechanisms.BandedFactorization(z, bands=4)
        c = matrix_factorization.toeplitz_coefficients(12, 4)
        matrix = sum(np.diag(np.full(12 - j, c[j]), -j) for j in range(4))
        variance = np.sum((np.ones(12) @ np.linalg.inv(matrix)) ** 2)
    made = aggregation(dp_ftrl, mechanism, noise=noise, clip=clip)
    total = sum(made.rows(np.zeros((8, SIZE))) for _ in range(12)) * 8 / (z * clip)
    low, high = stats.chi2.ppf([0.5e-6, 1 - 0.5e-6], SIZE) / SIZE
    assert low < np.mean(total**2) / variance < high


def test_local_noise_is_each_clients_own():
    made = aggregation(local_dp, mechanisms.LocalGaussian(2.0), clip=0.5)
    noise = [(made.rows(ROWS) - clipped_mean(ROWS, 0.5)) * 8 for _ in range(5)]
    noise = np.concatenate(noise) / (2.0 * 0.5 * np.sqrt(8))
    low, high = stats.chi2.ppf([0.5e-6, 1 - 0.5e-6], noise.size) / noise.size
    assert low < np.mean(noise**2) < high


@pytest.mark.parametrize("attack", [np.float32(1e38), np.float32(-3e38)])
def test_no_client_moves_the_sum_by_more_than_the_clip(attack):
    """Coordinates whose squares overflow float32."""
    made = aggregation(dp_fedavg, None, clip=0.5, noise_multiplier=0.0)
    honest = made.rows(np.zeros((8, SIZE)))
    rows = np.zeros((8, SIZE), np.float32)
    rows[3] = attack
    assert np.linalg.norm((made.rows(rows) - honest) * 8) == pytest.approx(0.5, rel=1e-5)


def test_nobody_in_a_poisson_round_is_still_a_noisy_release():
    made = aggregation(dp_fedavg, mechanisms.Gaussian(1.0), clip=1.0)
    assert np.any(made.rows(np.zeros((0, SIZE)), np.zeros(0)))


def test_weights_are_not_sent():
    sizes = []
    for module, mechanism in ((dp_fedavg, None), (local_dp, mechanisms.LocalGaussian(1.0))):
        made = aggregation(module, mechanism)
        made.rows(ROWS)
        sizes.append(made.round["bytes/uplink_per_client"])
    # 201 float32, and for dp_fedavg one bit's float32, with or without adaptive clipping.
    assert sizes == [4 * SIZE + 4, 4 * SIZE]


@pytest.mark.parametrize(
    ("module", "hparams"),
    [
        (dp_fedavg, {"clip": 0.0}),
        (dp_fedavg, {"quantile": 1.0}),
        (dp_fedavg, {"noise_multiplier": -1.0}),
        (dp_ftrl, {"clip": -1.0}),
        (local_dp, {"noise_multiplier": 0.0}),
    ],
)
def test_what_is_out_of_range_is_refused(module, hparams):
    with pytest.raises(ValueError, match="must be"):
        module.Hparams(**hparams)
