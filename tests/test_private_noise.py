"""Noise that privacy rests on: its distribution against scipy's, and how it enters a round.

Draws are a function of a key, so that these tests never fail by chance; the tolerances are those at
which fresh draws would fail less than once in 10^6.
"""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
from scipy import stats

from tff_experiments import private_noise
from tff_experiments.runtime import local, sessions

N = 200_000
# |z| of a standard normal above this: 10^-6 of all.
Z = stats.norm.isf(0.5e-6)
CASES = [
    ("normal", 1.0, stats.norm()),
    *(("skellam", s, stats.skellam(s * s / 2, s * s / 2)) for s in (0.3, 1.0, 7.5, 400.0, 4000.0)),
    *(("discrete_gaussian", s, stats.dlaplace(1.0)) for s in (0.6, 1.0, 7.5, 400.0)),
]


def discrete_gaussian(stddev):
    """The distribution by its definition."""
    k = np.arange(-int(20 * stddev) - 20, int(20 * stddev) + 21)
    p = np.exp(-(k.astype(np.longdouble) ** 2) / (2 * stddev**2))
    return stats.rv_discrete(values=(k, (p / p.sum()).astype(np.float64)))


def draw(distribution, stddev, *key, n=N):
    noise = private_noise.Noise(distribution, stddev, (n,))
    return private_noise.draw(noise, private_noise.repeatable(*key))


@pytest.mark.parametrize(("distribution", "stddev", "law"), CASES)
def test_mean_variance_and_distribution_are_the_laws(distribution, stddev, law):
    if distribution == "discrete_gaussian":
        law = discrete_gaussian(stddev)
    x = draw(distribution, stddev, distribution, stddev).astype(np.float64)
    mean, variance, _, excess = (float(m) for m in law.stats(moments="mvsk"))
    assert abs(x.mean() - mean) < Z * np.sqrt(variance / N)
    assert abs(x.var() - variance) < Z * variance * np.sqrt((excess + 2) / N)
    if distribution == "normal":
        assert stats.kstest(x, law.cdf).pvalue > 1e-6
        return
    # As many cells as the law has mass for, at least 20 draws in each.
    edges = np.unique(law.ppf(np.linspace(0, 1, 41)[1:-1]))
    cells = np.diff(np.concatenate([[0.0], law.cdf(edges), [1.0]]))
    counts = np.bincount(np.searchsorted(edges, x), minlength=len(cells))
    keep = cells * N > 20
    chi2 = np.sum((counts - N * cells)[keep] ** 2 / (N * cells)[keep])
    assert chi2 < stats.chi2.isf(1e-6, keep.sum())


@pytest.mark.parametrize(("distribution", "stddev"), [("skellam", 3.0), ("discrete_gaussian", 3.0)])
def test_the_tail_beyond_four_deviations_is_the_laws(distribution, stddev):
    law = stats.skellam(4.5, 4.5) if distribution == "skellam" else discrete_gaussian(3.0)
    x = draw(distribution, stddev, "tail", n=4_000_000)
    expected = 2 * law.sf(12) * len(x)
    assert expected > 100
    assert abs((np.abs(x) > 12).sum() - expected) < Z * np.sqrt(expected)


def test_the_normals_tail_is_symmetric_and_reaches_beyond_four_deviations():
    x = draw("normal", 1.0, "tail", n=4_000_000)
    expected = stats.norm.sf(4) * len(x)
    for side in (x, -x):
        assert abs((side > 4).sum() - expected) < Z * np.sqrt(expected)


@pytest.mark.parametrize("random", [0, 1, 2**64 - 1, 2**64 - 2, 2**63])
def test_extreme_bits_give_finite_values_within_the_stated_bounds(random):
    bits = lambda n: np.full(n, random, np.uint64)
    x = private_noise.draw(private_noise.Noise("normal", 1.0, (3,)), bits)
    assert np.all(np.abs(x) < 8.3)
    for name in ("skellam", "discrete_gaussian"):
        found = private_noise.draw(private_noise.Noise(name, 100.0, (3,)), bits)
        assert np.all(np.abs(found) < 1000) and found.dtype == np.int64


@pytest.mark.parametrize(
    ("name", "stddev", "law"),
    [("skellam", 2.0, stats.skellam(2, 2)), ("discrete_gaussian", 2.0, discrete_gaussian(2.0))],
)
def test_each_integer_has_its_probability_to_what_the_module_says(name, stddev, law):
    """The table's thresholds, as multiples of 2^-63, against the law: no draws."""
    table = private_noise._table(name, stddev)
    above = table._rising[::-1].astype(np.float64) / 2.0**63
    # From the smallest: scipy's `sf` is 1 less a sum.
    pmf = law.pmf(np.arange(1, len(above) + 30))
    exact = 2 * np.cumsum(pmf[::-1])[::-1][: len(above)]
    # scipy's own probabilities are good to about 10^-13.
    assert np.all(np.abs(above - exact) < exact * 2.0**-40 + 2.0**-62)


def test_skellams_of_large_variance_are_as_bessel_functions_say():
    """Debye's expansion meets scipy's scaled Bessel function where both hold."""
    k = np.arange(0, 20_000, 97)
    ours = private_noise._skellam(k, 1.1e7)
    np.testing.assert_allclose(ours, stats.skellam.pmf(k, 5.5e6, 5.5e6), rtol=2e-9, atol=1e-30)


def test_neighbours_are_independent():
    """Products of neighbours and of two keys' draws have mean 0."""
    x, y = (draw("normal", 1.0, key).astype(np.float64) for key in "ab")
    for product in (x[1:] * x[:-1], x * y):
        assert abs(product.mean()) < Z / np.sqrt(len(product))


def test_the_systems_bits_are_never_the_same():
    one, other = private_noise.from_system(100), private_noise.from_system(100)
    assert len(np.unique(np.concatenate([one, other]))) == 200


VECTOR = tff.TensorType(np.float32, [5])


def noisy_process():
    """Clients add noise to zeros, the server too; the result is (sum, server's noise)."""

    @tff.tensorflow.computation(VECTOR)
    def at_client(x):
        return x + private_noise.normal([5]), private_noise.integers("skellam", 50.0, 4)

    @tff.tensorflow.computation(*at_client.type_signature.result)
    def at_server(total, integers):
        return total, integers, private_noise.normal([5]), private_noise.normal([5])

    @tff.federated_computation(
        tff.FederatedType(np.int32, tff.SERVER), tff.FederatedType(VECTOR, tff.CLIENTS)
    )
    def next_fn(state, x):
        sent = tff.federated_map(at_client, x)
        sums = (tff.federated_sum(sent[0]), tff.federated_sum(sent[1]))
        return state, tff.federated_map(at_server, sums)

    return next_fn


def rounds(next_fn, clients, **kwargs):
    context = local.Context(local.Hparams(**kwargs))
    with tff.framework.get_context_stack().install(context):
        found = [next_fn(0, [np.zeros(5, np.float32)] * clients)[1] for _ in range(2)]
    context.close()
    return [[np.asarray(leaf) for leaf in leaves] for leaves in found]


def test_noise_differs_from_run_to_run_round_to_round_and_place_to_place():
    next_fn = noisy_process()
    runs = rounds(next_fn, 2) + rounds(next_fn, 2)
    for leaf in range(4):
        values = [tuple(found[leaf]) for found in runs]
        assert len(set(values)) == 4 and all(np.any(value) for value in values)
    assert not np.array_equal(runs[0][2], runs[0][3]), "two places of one graph share noise"


def test_with_a_seed_it_is_repeatable_on_any_number_of_workers_and_is_said_not_to_be_private(
    caplog,
):
    next_fn = noisy_process()
    one = rounds(next_fn, 3, seed_noise=1, client_workers=1)
    other = rounds(next_fn, 3, seed_noise=1, client_workers=3)
    for a, b in zip(one, other, strict=True):
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)
    assert "NOT private" in caplog.text
    assert not np.array_equal(one[0][2], rounds(next_fn, 3, seed_noise=2)[0][2])
    assert not np.array_equal(one[0][2], one[1][2])


def test_clients_have_noise_of_their_own():
    """The sum of 400 has 400 times the variance of one, over 2 rounds of 5 and 4 coordinates."""
    found = rounds(noisy_process(), 400, seed_noise=3)
    x = np.concatenate([leaves[0] for leaves in found]) / 20
    y = np.concatenate([leaves[1] for leaves in found]) / (20 * 50)
    z = np.concatenate([x, y])
    low, high = stats.chi2.ppf([0.5e-6, 1 - 0.5e-6], len(z)) / len(z)
    assert low < np.mean(z**2) < high


def test_a_runtimes_seed_moves_no_noise():
    """The same seed of the run: what it seeds can't give the noise away."""
    next_fn = noisy_process()
    found = []
    for _ in range(2):
        context = local.Context(local.Hparams(), seed=7)
        with tff.framework.get_context_stack().install(context):
            found.append(np.asarray(next_fn(0, [np.zeros(5, np.float32)])[1][2]))
    assert not np.array_equal(*found)


@pytest.mark.parametrize(
    "ask", [lambda: private_noise.normal([3]), lambda: private_noise.integers("skellam", 2.0, 3)]
)
def test_where_nobody_feeds_it_a_graph_fails(ask):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        asked = ask()
        with pytest.raises(tf.errors.InvalidArgumentError, match="minval < maxval"):
            session.run(asked)


def test_inside_of_a_function_of_the_graph_it_is_refused():
    @tff.tensorflow.computation
    def nested():
        @tf.function
        def inner():
            return private_noise.normal([2])

        return inner()

    with pytest.raises(ValueError, match=r"can't be asked for inside of a tf\.function"):
        sessions.Function(nested, "part")


@pytest.mark.parametrize("stddev", [0.0, -1.0, float("nan")])
def test_no_noise_is_refused(stddev):
    with pytest.raises(ValueError, match="stddev must be > 0"):
        private_noise.Noise("skellam", stddev, (1,))
