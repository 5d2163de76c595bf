"""Questions in knobs: each mechanism has an answer, and defaults follow the sampling."""

import dataclasses
import typing

import pytest

from tff_experiments.privacy import distributed, mechanisms, plan

SMALL = plan.Hparams(num_clients=100, clients_per_round=10, rounds=20)
KINDS = typing.get_args(typing.get_type_hints(plan.Hparams)["mechanism"])
CORRELATED = ("tree_aggregation", "banded_factorization")


def ask(target=None, **changes):
    return plan.answer(dataclasses.replace(SMALL, **changes), target)


@pytest.mark.parametrize("mechanism", KINDS)
def test_every_mechanism_has_noise_for_a_target(mechanism):
    sampling = "round_robin" if mechanism in CORRELATED else "poisson"
    found = ask(3.0, mechanism=mechanism, client_sampling=sampling, count_stddev=100.0)
    assert 2.99 < found.planned <= 3.0 and found.actual == found.planned
    noise = found.budget.mechanism.noise_multiplier
    again = ask(
        mechanism=mechanism,
        client_sampling=sampling,
        noise_multiplier=noise,
        count_stddev=100.0,
    )
    assert again.planned == found.planned


def test_correlation_is_as_long_as_no_client_comes_twice():
    of = lambda kind: ask(mechanism=kind, client_sampling="round_robin").budget.mechanism
    assert of("tree_aggregation") == mechanisms.TreeAggregation(1.0, restart_every=10)
    assert of("banded_factorization") == mechanisms.BandedFactorization(1.0, bands=10)


def test_count_has_the_noise_that_tff_gives_it():
    from tensorflow_federated.python.aggregators import differential_privacy as dp

    found = ask(mechanism="adaptive_clipping", noise_multiplier=0.5).budget.mechanism
    tffs = dp.adaptive_clip_noise_params(0.5, expected_clients_per_round=10)
    assert (found.value_noise_multiplier, found.count_stddev) == pytest.approx(tffs, rel=1e-12)


def test_delta_is_one_client():
    assert ask().budget.delta == 1 / 100
    assert ask(delta=1e-6).budget.delta == 1e-6


def test_dropouts_take_noise_from_sums_of_the_clients_own_only():
    skellam, gaussian = (ask(mechanism=kind, dropout=0.3) for kind in ("skellam", "gaussian"))
    assert skellam.actual > skellam.planned
    assert gaussian.actual == gaussian.planned
    made_up_for = ask(mechanism="skellam", dropout=0.3, expected_dropout=0.3)
    assert made_up_for.actual == made_up_for.planned
    not_needed = ask(mechanism="skellam", expected_dropout=0.3)
    assert not_needed.actual < not_needed.planned


def test_weights_are_padded_to_what_is_rotated():
    found = ask(mechanism="skellam", dim=1_018_174).budget.mechanism
    assert isinstance(found, distributed.Distributed) and found.dim == 2**20


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(rounds=0), "rounds must be >= 1, got 0"),
        (dict(bands=-1), "bands must be >= 0, got -1"),
        (dict(clip=0.0), "clip must be > 0, got 0.0"),
        (dict(dropout=1.0), r"dropout must be in \[0, 1\), got 1.0"),
        (dict(clients_per_round=101), "clients_per_round must be in 1 .. 100"),
        (dict(client_sampling="weighted"), "no accountant covers clients drawn by their numbers"),
        (dict(mechanism="tree_aggregation"), "take client_sampling round_robin"),
        (dict(mechanism="skellam", bits=3), "3 bits is too small for 10 clients"),
        (dict(delta=-1.0), r"delta must be in \(0, 1\)"),
    ],
)
def test_what_has_no_answer_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ask(**changes)
