"""Random ops as functions of (seed, round): the same bits again, and each op's distribution."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_federated as tff
from scipy import stats

from tff_experiments.runtime import random_ops, randomness, sessions, tensorflow_part

N = 20_000
LOGITS = np.log([[0.2, 0.3, 0.5]]).astype(np.float32)


def clipped_normal(means, stdevs, low, high, shape):
    return tf.raw_ops.ParameterizedTruncatedNormal(
        shape=shape, means=means, stdevs=stdevs, minvals=low, maxvals=high
    )


def any_ints():
    return tf.raw_ops.NonDeterministicInts(shape=[N], dtype=tf.int64)


def times():
    return tf.map_fn(lambda _: tf.timestamp(), tf.zeros([500], tf.float64))


# Op -> (how it is drawn from, its distribution).
CASES = {
    "RandomUniform": (lambda: tf.random.uniform([N]), stats.uniform()),
    "RandomStandardNormal": (lambda: tf.random.normal([N]), stats.norm()),
    "TruncatedNormal": (lambda: tf.random.truncated_normal([N]), stats.truncnorm(-2, 2)),
    "RandomUniformInt": (lambda: tf.random.uniform([N], 3, 9, tf.int32), stats.randint(3, 9)),
    # Half of the values, so that the order is in the moments.
    "RandomShuffle": (lambda: tf.random.shuffle(tf.range(2 * N))[:N], stats.randint(0, 2 * N)),
    "Multinomial": (
        lambda: tf.random.categorical(LOGITS, N)[0],
        stats.rv_discrete(values=([0, 1, 2], [0.2, 0.3, 0.5])),
    ),
    "RandomGamma": (lambda: tf.random.gamma([N], 3.0), stats.gamma(3)),
    "RandomPoissonV2": (lambda: tf.random.poisson([N], 4.0), stats.poisson(4)),
    "ParameterizedTruncatedNormal": (
        lambda: clipped_normal(1.0, 2.0, 1.0, 5.0, [N]),
        stats.truncnorm(0, 2, loc=1, scale=2),
    ),
    "Timestamp": (times, stats.uniform(0, 1.6e9)),
    "NonDeterministicInts": (any_ints, stats.uniform(-(2.0**63), 2.0**64)),
}


def function(draw):
    return sessions.Function(tff.tensorflow.computation(draw), "part")


def run(compiled, *, seed=0, round_num=1):
    return [np.asarray(leaf) for leaf in compiled([], seed=seed, round_num=round_num)]


def is_a_function_of_seed_and_round(draw):
    """Whether two builds, called in another order, draw the same; other seeds and rounds differ."""
    one, two = function(draw), function(draw)
    settings = [(0, 1), (0, 2), (1, 1), (2, 1)]
    bits = {s: run(one, seed=s[0], round_num=s[1])[0].tobytes() for s in settings}
    again = {s: run(two, seed=s[0], round_num=s[1])[0].tobytes() for s in reversed(settings)}
    return bits == again and len(set(bits.values())) == len(settings)


@pytest.mark.parametrize("name", random_ops.BY_NAME)
def test_an_op_is_a_function_of_seed_and_round_of_the_same_distribution(name):
    """Five sigma of the mean and the variance of n draws, the latter from the kurtosis."""
    draw, wanted = CASES[name]
    part = tensorflow_part.unpack(tff.tensorflow.computation(draw), "part")
    bodies = [part.graph_def.node, *(f.node_def for f in part.graph_def.library.function)]
    assert name in {node.op for body in bodies for node in body}
    assert is_a_function_of_seed_and_round(draw)
    # Two ops of one kind differ.
    sample, other = run(function(lambda: (draw(), draw())))
    assert np.any(sample != other)
    sample = sample.astype(np.float64)
    mean, variance, excess = (float(moment) for moment in wanted.stats(moments="mvk"))
    assert sample.mean() == pytest.approx(mean, abs=5 * np.sqrt(variance / len(sample)))
    assert sample.var() == pytest.approx(variance, rel=5 * np.sqrt((excess + 2) / len(sample)))
    least, largest = wanted.support()
    assert least <= sample.min() and sample.max() <= largest


def test_a_shuffle_is_a_permutation_of_rows():
    (rows,) = run(function(lambda: tf.random.shuffle(tf.reshape(tf.range(40), [20, 2]))))
    np.testing.assert_array_equal(rows[np.argsort(rows[:, 0])], np.arange(40).reshape(20, 2))


def test_rows_and_columns_have_their_own_parameters():
    """Gamma and Poisson: a column each; a clipped normal: a row each. Nine sigma of the means."""
    far = np.array([0.0, 100.0, 200.0], np.float32)
    draws = lambda: (
        clipped_normal(far, [1.0] * 3, far - 1, far + 1, [3, N // 2, 2]),
        tf.random.gamma([N], [1.0, 9.0]),
        tf.random.poisson([N], [1.0, 9.0]),
    )
    clipped, gamma, poisson = run(function(draws))
    np.testing.assert_allclose(clipped.mean(axis=(1, 2)), far, atol=9 / np.sqrt(N))
    np.testing.assert_allclose(gamma.mean(axis=0), [1, 9], atol=27 / np.sqrt(N))
    np.testing.assert_allclose(poisson.mean(axis=0), [1, 9], atol=27 / np.sqrt(N))


def in_a_loop():
    step = lambda i, drawn: (i + 1, drawn.write(i, tf.random.uniform([])))
    return tf.while_loop(lambda i, _: i < 30, step, (0, tf.TensorArray(tf.float32, 30)))[1].stack()


def in_a_function():
    twice = tf.function(lambda: tf.random.uniform([]))
    return tf.stack([twice() for _ in range(12)])


def in_a_parallel_map():
    draw = lambda _: tf.random.uniform([])
    return (
        tf.data.Dataset.range(200).map(draw, num_parallel_calls=8).batch(200).get_single_element()
    )


@pytest.mark.parametrize("draw", [in_a_loop, in_a_function, in_a_parallel_map])
def test_each_run_of_one_op_draws_anew(draw):
    assert is_a_function_of_seed_and_round(draw)
    (drawn,) = run(function(draw))
    # Draws of 23 bits: two of 200 agree once in 400 times.
    assert len(set(drawn)) == len(drawn)


def shuffled(seed=None):
    return tf.data.Dataset.range(40).shuffle(40, seed=seed).batch(40).get_single_element()


@pytest.mark.parametrize("wrap", [lambda draw: draw, tf.function], ids=["graph", "function"])
def test_shuffled_data_take_seeds_from_the_keys_unless_they_have_some(wrap):
    assert is_a_function_of_seed_and_round(lambda: wrap(shuffled)())
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        wanted = session.run(wrap(shuffled)(seed=7))
    seeded = function(lambda: wrap(shuffled)(seed=7))
    for seed, round_num in itertools.product((0, 1), (1, 2)):
        np.testing.assert_array_equal(run(seeded, seed=seed, round_num=round_num)[0], wanted)


@pytest.mark.parametrize("is_read", [True, False], ids=["read", "in_function"])
def test_initial_values_are_drawn_from_the_keys(is_read):
    def draw():
        variable = tf.Variable(tf.random.normal([3]))
        inner = tf.function(lambda: variable.assign_add(tf.random.normal([3])))
        return variable.read_value() if is_read else inner()

    assert is_a_function_of_seed_and_round(draw)


def test_functions_that_draw_are_inlined():
    """A model with dropout must be optimized together with its gradient. All calls of the run."""
    inner = tf.function(lambda: tf.random.uniform([3]))
    outer = tf.function(lambda: inner() + 1)
    part = tensorflow_part.unpack(tff.tensorflow.computation(lambda: outer()), "part")
    with tf.Graph().as_default() as graph:
        imported = sessions.import_part(part, "part", [])
    trace = tf.compat.v1.RunOptions(trace_level=tf.compat.v1.RunOptions.FULL_TRACE)
    metadata = tf.compat.v1.RunMetadata()
    with sessions.session(graph, threads=1) as session:
        session.run(imported.results, imported.keys_feed(0, 1, ""), trace, metadata)
    nodes = [node for device in metadata.step_stats.dev_stats for node in device.node_stats]
    calls = [n.node_name for n in nodes if " = StatefulPartitionedCall(" in n.timeline_label]
    assert sorted(calls) == ["part/StatefulPartitionedCall", f"part/{randomness.SET_KEYS}"]


def test_numbers_of_ops_do_not_depend_on_names_of_functions():
    """Function libraries are sorted by name: the same graph twice, its functions' names swapped."""

    def draws(*names):
        def draw():
            functions = [lambda k=k: tf.random.uniform([2]) * 10.0**k for k in range(2)]
            for inner, name in zip(functions, names, strict=True):
                inner.__name__ = name
            return tf.stack([tf.function(inner)() for inner in functions])

        return run(function(draw))[0]

    np.testing.assert_array_equal(draws("a", "z"), draws("z", "a"))


def test_keys_are_pure_and_all_different():
    settings = list(
        itertools.product((0, 1, 11), (1, 2, 11), ("client/1", "client/11", "server/1"))
    )
    found = [randomness.keys(*setting, 12) for setting in settings]
    for setting, keys in zip(settings, found, strict=True):
        np.testing.assert_array_equal(keys, randomness.keys(*setting, 12))
        assert keys.dtype == np.int64 and not keys[:, :2].any()
    assert len({key for keys in found for key in keys[:, 2]}) == 12 * len(settings)
