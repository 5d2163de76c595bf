"""Counts, means and histograms against plain numpy: exact, noisy, with clients that drop out."""

import dataclasses
import math

import numpy as np
import pytest
from analytics_helpers import PLAIN, SECAGG, ask, numbers, prepare, words

from tff_experiments import runtime
from tff_experiments.analytics import study
from tff_experiments.clients import availability, participation
from tff_experiments.privacy import plan

HELD = numbers([1, 2, 2], [], [9, 2], [0, 12])
DOMAIN = tuple("0123456789")


@pytest.mark.parametrize(
    ("own", "expected"), [({}, 7), ({"at_least": 2.0}, 5), ({"max_per_client": 2}, 6)]
)
def test_the_count_is_numpys(own, expected):
    result = ask(prepare("count", HELD, own))
    assert result.answer.estimates == [expected]
    # The truth knows no bound on what a client brings.
    assert result.answer.truth == [7 if "max_per_client" in own else expected]


def test_words_that_are_one_are_counted():
    assert ask(prepare("count", words("a b a", "b", "a"), {"word": "a"})).answer.estimates == [3]


def test_the_bound_of_a_count_is_of_what_is_counted():
    """The first client's other words take no place of its two that count."""
    made = prepare(
        "count", words("b b b b a b b a a", "b", "a"), {"word": "a", "max_per_client": 2}
    )
    assert ask(made).answer.estimates == [3]


def test_the_mean_is_numpys_after_clipping_to_the_range():
    clipped = np.array([1, 2, 2, 9, 2, 0, 10])
    answer = ask(prepare("mean", HELD)).answer
    # A client's sum is cut to multiples of 2^-16 of half the range.
    assert answer.estimates[0] == pytest.approx(clipped.mean(), abs=5 * 2**-16)
    assert answer.truth[0] == pytest.approx(28 / 7)


def test_in_the_mean_over_clients_each_counts_once_and_empty_ones_not():
    answer = ask(prepare("mean", HELD, {"weighting": "clients", "upper": 12.0})).answer
    assert answer.truth[0] == pytest.approx(np.mean([5 / 3, 5.5, 6]))
    assert answer.estimates[0] == pytest.approx(answer.truth[0], abs=6 * 2**-16)


@pytest.mark.parametrize("contribution", ["all", "distinct"])
def test_the_histogram_is_numpys(contribution):
    own = {"bins": 5, "contribution": contribution}
    answer = ask(prepare("histogram", HELD, own)).answer
    edges = np.array([0, 2, 4, 6, 8, np.inf])
    of_each = [np.histogram(x, edges)[0] for x in HELD.numbers]
    expected = np.sum(np.minimum(of_each, 1) if contribution == "distinct" else of_each, axis=0)
    np.testing.assert_array_equal(answer.estimates, expected)
    np.testing.assert_array_equal(answer.truth, expected)


def test_words_outside_of_the_public_list_are_in_no_bin():
    answer = ask(prepare("histogram", words("a b x", "b", domain=("b", "a", "c")))).answer
    assert answer.names == ["b", "a", "c"]
    np.testing.assert_array_equal(answer.estimates, [2, 1, 0])


def test_once_around_all_clients_in_small_cohorts_is_the_exact_histogram():
    held = numbers(*([i % 10] * (i % 4) for i in range(12)), domain=DOMAIN)
    asked = {"client_sampling": "round_robin", "clients_per_round": 3, "rounds": 4}
    answer = ask(prepare("histogram", held, asked=asked)).answer
    np.testing.assert_array_equal(answer.estimates, answer.truth)


def test_under_secagg_who_drops_out_is_missing_and_the_rest_stands_for_all(monkeypatch):
    held = numbers(*([i] for i in range(10)), domain=DOMAIN)
    made = prepare("histogram", held, asked={"expected_dropout": 0.2})
    result = ask(made, monkeypatch, protocol=SECAGG, leaving=(3, 7))
    expected = np.ones(10) * 10 / 8
    expected[[3, 7]] = 0
    np.testing.assert_allclose(result.answer.estimates, expected, rtol=1e-12)
    assert result.metrics[0]["secure_sum/survivors"] == 8


def test_a_round_with_too_few_clients_tells_nothing(monkeypatch):
    made = prepare("count", HELD)
    result = ask(made, monkeypatch, protocol=SECAGG, leaving=(1, 2, 3))
    assert result.answer is None
    assert ("aborted", "1 rounds: too few clients were left") in result.lines


BINS, CLIENTS = 2048, 8
NOISY = {"mechanism": "gaussian", "noise_multiplier": 2.0}


def noisy(mechanism, protocol, monkeypatch=None, leaving=()):
    """The noise in a wide histogram, and the result it is from."""
    held = numbers(*([i, i + 0.5, i + 0.5] for i in range(CLIENTS)))
    asked = {**NOISY, "mechanism": mechanism, "bits": 24}
    made = prepare("histogram", held, {"bins": BINS, "max_per_client": 3}, asked)
    result = ask(made, monkeypatch, protocol=protocol, leaving=leaving, seed_noise=5)
    truth = result.answer.truth.copy()
    for client in leaving:
        places = (np.array(held.numbers[client]) / 10 * BINS).astype(int)
        np.subtract.at(truth, places, 1)
    return result.answer.estimates - truth, result


def stddev_within(noise, expected):
    # The standard deviation of 2048 draws is off by 1 / sqrt(4096) = 1.6 % on average.
    assert noise.std() == pytest.approx(expected, rel=0.07)
    assert abs(noise.mean()) < 5 * expected / math.sqrt(BINS)


def planned(mechanism, **more):
    """Epsilon as `scripts/privacy.py` has it."""
    return plan.answer(
        plan.Hparams(
            mechanism=mechanism, num_clients=CLIENTS, clients_per_round=CLIENTS, rounds=1,
            client_sampling="round_robin", noise_multiplier=2.0, clip=3.0, dim=BINS, bits=24,
            **more,
        )
    )  # fmt: skip


def test_the_servers_noise_is_multiplier_times_the_norm_and_epsilon_is_the_privacy_rooms():
    noise, result = noisy("gaussian", SECAGG)
    # A client's three values may be in one bin: the norm is 3.
    stddev_within(noise, 2.0 * 3.0)
    assert result.answer.noise_stddev == 6.0
    assert result.metrics[0]["privacy/epsilon"] == planned("gaussian").actual


def test_distributed_noise_of_those_who_came_under_secagg_and_its_epsilon(monkeypatch):
    noise, result = noisy("skellam", SECAGG, monkeypatch, leaving=(0, 5))
    # Six of eight shares of the variance arrived.
    stddev_within(noise, 6.0 * math.sqrt(6 / 8))
    answer = planned("skellam", dropout=0.25)
    assert result.metrics[0]["privacy/epsilon"] == answer.actual
    assert answer.actual > answer.planned


def test_local_noise_is_that_of_all_clients_together():
    noise, result = noisy("local_gaussian", PLAIN)
    stddev_within(noise, 6.0 * math.sqrt(CLIENTS))
    assert result.metrics[0]["privacy/epsilon"] == planned("local_gaussian").actual


def test_discrete_gaussian_noise():
    noise, result = noisy("discrete_gaussian", SECAGG)
    stddev_within(noise, 6.0)
    assert result.metrics[0]["privacy/epsilon"] == planned("discrete_gaussian").actual


def test_a_target_is_met_and_no_noise_multiplier_is_left_over():
    asked = {"mechanism": "gaussian", "rounds": 3}
    made = prepare("count", HELD, {"max_per_client": 2}, asked, {"target_epsilon": 2.0})
    assert made.budget.planned(3) == pytest.approx(2.0, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "held", "own", "asked", "shared", "said"),
    [
        ("count", HELD, {}, NOISY, {}, "give --count_max_per_client"),
        ("count", words("a"), {"at_least": 1.0}, {}, {}, "--value=test is words"),
        ("mean", words("a"), {}, {}, {}, "--query=mean is of numbers"),
        ("mean", HELD, {"lower": 20.0}, {}, {}, "the range of numbers must not be empty"),
        ("histogram", words("a"), {}, {}, {}, "needs a public list of them, --vocabulary"),
        ("count", HELD, {}, {}, {"target_epsilon": 1.0}, "are for a --mechanism with noise"),
        ("count", HELD, {}, {"mechanism": "sampling"}, {}, "is for --query=trie_hh"),
        ("count", HELD, {"max_per_client": 1}, {**NOISY, "client_sampling": "weighted"}, {},
         "no accountant covers clients drawn by their numbers"),
        ("count", HELD, {}, {"clients_per_round": 9, "mechanism": "none"}, {},
         "clients_per_round must be in 1 .. 4"),
    ],
)  # fmt: skip
def test_what_can_not_be_asked_is_refused_with_the_reason(name, held, own, asked, shared, said):
    with pytest.raises(ValueError, match=said):
        ask(prepare(name, held, own, asked, shared))


def test_noise_needs_a_range_that_is_not_the_clients_own():
    held = dataclasses.replace(HELD, is_range_public=False)
    with pytest.raises(ValueError, match="give --mean_upper"):
        prepare("mean", held, {"max_per_client": 1}, NOISY)


def test_clients_away_at_known_times_have_no_accountant():
    made = prepare("count", HELD, {"max_per_client": 1}, NOISY)
    world = participation.World(available=availability.Hparams(model="sine"))
    with (
        runtime.use() as context,
        pytest.raises(ValueError, match="no accountant covers clients who are away"),
    ):
        study.ask(made, context, world)


def test_under_noise_who_comes_is_a_secret_and_otherwise_of_the_seed(monkeypatch):
    cohorts = []
    monkeypatch.setattr(
        study, "_inputs", lambda made, taken, _: cohorts.append(taken.clients) or []
    )
    held = numbers(*([1.0] for _ in range(1000)))
    asked = {"client_sampling": "uniform", "clients_per_round": 20}
    private = prepare("count", held, {"max_per_client": 1}, {**NOISY, **asked})
    world = participation.World()
    with runtime.use() as context:
        for made in (private, prepare("count", held, asked=asked)):
            for _ in range(2):
                study.ask(made, context, world)
        study.ask(private, context, world, repeatable=True)
    # 20 of 1000, twice alike: never.
    assert not np.array_equal(cohorts[0], cohorts[1])
    np.testing.assert_array_equal(cohorts[2], cohorts[3])
    np.testing.assert_array_equal(cohorts[2], cohorts[4])
