"""What the accountant assumes of sampling, against what the sampler does."""

import numpy as np
import pytest

from tff_experiments import sampling
from tff_experiments.privacy import participation


def test_every_way_of_sampling_has_an_assumption():
    kinds = {
        how: type(participation.from_sampling(how, num_clients=20, clients_per_round=5))
        for how in sampling.BY_NAME
    }
    assert kinds == {
        "poisson": participation.Poisson,
        "uniform": participation.FixedSize,
        "round_robin": participation.MinSeparation,
        "weighted": participation.DataDependent,
    }


@pytest.mark.parametrize(("num_clients", "cohort"), [(20, 5), (23, 5), (7, 4), (9, 9), (11, 1)])
def test_round_robin_keeps_the_separation_that_is_assumed(num_clients, cohort):
    how = participation.from_sampling(
        "round_robin", num_clients=num_clients, clients_per_round=cohort
    )
    rounds = [
        sampling.sample(np.ones(num_clients), cohort, how="round_robin", seed=3, round_num=r)
        for r in range(1, 100)
    ]
    gaps = [
        np.diff([r for r, clients in enumerate(rounds) if c in clients]) for c in range(num_clients)
    ]
    assert min(map(np.min, gaps)) == how.separation


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: participation.MinSeparation(0), "separation must be >= 1, got 0"),
        (lambda: participation.Poisson(10, 11), "clients_per_round must be in 1 .. 10"),
        (lambda: participation.FixedSize(10, 0), "clients_per_round must be in 1 .. 10"),
        (
            lambda: participation.from_sampling("shuffled", num_clients=9, clients_per_round=3),
            "client_sampling must be one of",
        ),
    ],
)
def test_nonsense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
