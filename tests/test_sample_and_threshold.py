"""Zhu et al.'s theorem against exact probabilities of votes in a sample."""

import math

import numpy as np
import pytest
from scipy import stats

from tff_experiments.privacy import sample_and_threshold

N, M, THETA = 400, 40, 7
PLAN = sample_and_threshold.SampleAndThreshold(N, M, THETA, rounds=1)


def told(holders):
    """Probability that a word which so many of N hold gets THETA votes or more of M."""
    return stats.hypergeom(N, holders, M).sf(THETA - 1)


def test_what_is_told_is_epsilon_delta_close_whoever_is_taken_out():
    holders = np.arange(1, N + 1)
    here, without = told(holders), told(holders - 1)
    factor = math.exp(PLAN.epsilon)
    for p, q in ((here, without), (without, here), (1 - here, 1 - without)):
        assert np.all(p <= factor * q + PLAN.delta)
    assert np.all(1 - without <= factor * (1 - here) + PLAN.delta)
    # A word of just enough holders shows that delta is not there for nothing.
    assert told(THETA) - factor * told(THETA - 1) > 0


def test_epsilon_and_delta_are_those_of_the_paper():
    assert PLAN.epsilon == pytest.approx(math.log(1 + 1 / (N / (M * THETA) - 1)))
    assert PLAN.delta == pytest.approx(5 / (4 * 5040))


@pytest.mark.parametrize("epsilon", [1.0, 4.0])
def test_calibration_draws_as_many_as_the_target_allows(epsilon):
    found = sample_and_threshold.calibrate(epsilon, delta=1e-5, num_clients=10**5, rounds=10)
    assert found.delta <= 1e-5 < sample_and_threshold._delta(found.threshold - 1)
    # Corollary 1: m = n (e^(epsilon / L) - 1) / (theta e^(epsilon / L)).
    grown = math.exp(epsilon / 10)
    assert found.clients_per_round == int(10**5 * (grown - 1) / (found.threshold * grown))
    assert found.epsilon <= epsilon < found.epsilon * 1.01


@pytest.mark.parametrize(
    ("n", "m", "theta", "said"),
    [
        (400, 40, 3, "threshold of 4 to sqrt"),
        (400, 40, 21, "threshold of 4 to sqrt"),
        (400, 19, 7, "20 to 50 clients in a round"),
        (400, 51, 7, "20 to 50 clients in a round"),
    ],
)
def test_outside_of_the_theorem_there_is_no_guarantee(n, m, theta, said):
    with pytest.raises(ValueError, match=said):
        sample_and_threshold.SampleAndThreshold(n, m, theta, rounds=1)
