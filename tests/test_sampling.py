"""Client sampling: the stated law, and nothing but (seed, round)."""

import numpy as np
import pytest

from tff_experiments import sampling

COUNTS = np.arange(1, 21)


def draw(how, rounds, num_clients=5, seed=0):
    return [
        sampling.sample(COUNTS, num_clients, how=how, seed=seed, round_num=r)
        for r in range(1, rounds + 1)
    ]


@pytest.mark.parametrize("how", sampling.BY_NAME)
def test_a_round_does_not_depend_on_the_rounds_before(how):
    seventh = sampling.sample(COUNTS, 5, how=how, seed=3, round_num=7)
    np.testing.assert_array_equal(draw(how, 8, seed=3)[6], seventh)
    assert any(
        not np.array_equal(a, b) for a, b in zip(draw(how, 5), draw(how, 5, seed=1), strict=True)
    )


@pytest.mark.parametrize("how", ["uniform", "weighted", "round_robin"])
def test_cohorts_hold_so_many_different_clients(how):
    for cohort in draw(how, 50):
        assert len(cohort) == len(set(cohort)) == 5


def test_uniform_takes_each_client_equally_often():
    # 4,000 rounds, probability 1/4: sigma is 27, five of them allow for 20 clients.
    taken = np.bincount(np.concatenate(draw("uniform", 4000)), minlength=20)
    assert np.abs(taken - 1000).max() < 5 * 27.4


def test_poisson_cohorts_vary_as_a_binomial_does():
    sizes = np.array([len(cohort) for cohort in draw("poisson", 4000)])
    # Binomial(20, 1/4): mean 5, variance 3.75; five sigma of either estimate.
    assert abs(sizes.mean() - 5) < 5 * np.sqrt(3.75 / 4000)
    assert abs(sizes.var() - 3.75) < 5 * 3.75 * np.sqrt(2 / 4000)


def test_weighted_by_examples_draws_one_client_in_proportion():
    first = np.concatenate(draw("weighted", 8000, num_clients=1))
    taken = np.bincount(first, minlength=20)
    expected = 8000 * COUNTS / COUNTS.sum()
    assert (np.abs(taken - expected) < 5 * np.sqrt(expected)).all()


@pytest.mark.parametrize("num_clients", [3, 5, 7])
def test_round_robin_keeps_the_minimum_separation_and_leaves_nobody_out(num_clients):
    last, gaps = {}, []
    for round_num, cohort in enumerate(draw("round_robin", 60, num_clients)):
        gaps += [round_num - last[c] for c in cohort if c in last]
        last.update(dict.fromkeys(cohort, round_num))
    assert min(gaps) == 20 // num_clients and len(last) == 20


def test_a_round_may_have_several_draws_that_are_of_their_own():
    take = lambda **draw: sampling.sample(COUNTS, 5, how="uniform", seed=0, round_num=3, **draw)
    first, second, again = take(), take(draw=1), take(draw=1)
    np.testing.assert_array_equal(first, draw("uniform", 3)[2])
    np.testing.assert_array_equal(second, again)
    assert not np.array_equal(first, second)


def test_more_clients_than_there_are_is_refused():
    with pytest.raises(ValueError, match=r"clients_per_round must be in 1 .. 20, .* got 21"):
        sampling.sample(COUNTS, 21, how="uniform", seed=0, round_num=1)


def test_an_unknown_way_is_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"one of \['poisson', 'round_robin', 'uniform'"):
        sampling.sample(COUNTS, 2, how="random", seed=0, round_num=1)


def test_a_stream_takes_every_row_once_before_any_again_and_knows_no_past():
    rounds = [sampling.stream(10, 7, seed=0, round_num=r) for r in range(1, 11)]
    passes = np.concatenate(rounds).reshape(7, 10)
    np.testing.assert_array_equal(np.sort(passes, 1), np.tile(np.arange(10), (7, 1)))
    assert len({tuple(order) for order in passes}) == 7
    np.testing.assert_array_equal(sampling.stream(10, 7, seed=0, round_num=6), rounds[5])
    assert not np.array_equal(sampling.stream(10, 7, seed=1, round_num=6), rounds[5])


def test_a_round_of_a_stream_may_be_longer_than_the_data():
    first = sampling.stream(3, 8, seed=0, round_num=1)
    assert list(np.bincount(first)) in ([3, 3, 2], [3, 2, 3], [2, 3, 3])


def test_a_subset_is_the_same_in_all_rounds_and_keeps_the_order():
    names = [f"client_{i:02d}" for i in range(50)]
    some = sampling.subset(names, 7, seed=0)
    assert some == sampling.subset(names, 7, seed=0) == sorted(set(some)) and len(some) == 7
    assert some != sampling.subset(names, 7, seed=1)
    assert sampling.subset(names, 0, seed=0) == names == sampling.subset(names, 60, seed=0)
