"""The published accounting to four digits, planned against spent, and refusals."""

import dataclasses

import numpy as np
import pytest

from tff_experiments.privacy import (
    accountants,
    budget,
    distributed,
    mechanisms,
    participation,
    rules,
)

# Kairouz, Liu, Steinke 2021; Agarwal, Kairouz, Liu 2021: EMNIST.
ROUNDS = 1500
# As the authors count: see `Poisson.cohort_is_hidden`.
EMNIST = participation.Poisson(3400, 100, cohort_is_hidden=True)
DELTA = 1 / 3400
INTEGER_ORDERS = accountants.BY_NAME["rdp_integer"]


def emnist(noise, bits, z=1.0, **changes):
    plan = distributed.Distributed(noise, z, 0.03, 100, 2**20, bits, **changes)
    return budget.Budget(plan, EMNIST, DELTA)


def noise_for(plan, epsilon, rounds=ROUNDS):
    return budget.calibrate(plan, epsilon, rounds=rounds).mechanism.noise_multiplier


@pytest.mark.parametrize("noise", distributed.RDP)
@pytest.mark.parametrize(
    ("epsilon", "bits", "golden"),
    [(3, 16, 1.8581), (6, 16, 1.1247), (10, 16, 0.8938), (10, 14, 0.9159)],
)
def test_published_noise_of_distributed_sums(noise, epsilon, bits, golden):
    assert noise_for(emnist(noise, bits), epsilon) == pytest.approx(golden, abs=5e-5)


def test_published_noise_at_twelve_bits():
    assert noise_for(emnist("discrete_gaussian", 12), 10) == pytest.approx(1.9980, abs=5e-5)
    # Published for the discrete Gaussian only: rounding, which both share, is nearly all there.
    assert noise_for(emnist("skellam", 12), 10) == pytest.approx(1.9980, rel=1e-4)


@pytest.mark.parametrize(("epsilon", "golden"), [(3, 1.6136), (6, 1.0682), (10, 0.8479)])
def test_published_noise_of_the_central_gaussian_by_rdp(epsilon, golden):
    plan = budget.Budget(mechanisms.Gaussian(1.0), EMNIST, DELTA, INTEGER_ORDERS)
    assert noise_for(plan, epsilon) == pytest.approx(golden, abs=5e-5)


@pytest.mark.parametrize(("epsilon", "golden"), [(3, 1.4908), (6, 0.9974), (10, 0.7913)])
def test_published_noise_of_the_central_gaussian_by_pld(epsilon, golden):
    # Epsilon falls with noise: the target is between those of the golden's last digit.
    at = lambda z: budget.Budget(
        mechanisms.Gaussian(z), EMNIST, DELTA, accountants.PldAccountant
    ).planned(ROUNDS)
    assert at(golden + 5e-5) < epsilon < at(golden - 5e-5)


def test_epsilon_of_tffs_tutorial():
    plan = budget.Budget(mechanisms.Gaussian(1.2), participation.Poisson(3383, 120), 1e-5)
    assert plan.planned(100) == pytest.approx(1.986, abs=5e-4)


def test_dropouts_cost_what_a_gaussian_of_the_noise_that_is_left_does():
    # The authors' figure: 32 bits, clip 1, delta 1e-5, all of 100 clients in each of 1500 rounds.
    how = participation.Poisson(100, 100, cohort_is_hidden=True)
    plan = distributed.Distributed("discrete_gaussian", 1.0, 1.0, 100, 2**20, 32)
    plan = budget.calibrate(budget.Budget(plan, how, 1e-5), 4.0, rounds=ROUNDS)
    z = plan.mechanism.noise_multiplier
    for arrived in (100, 80, 40):
        left = mechanisms.Gaussian(z * np.sqrt(arrived / 100))
        gaussian = budget.Budget(left, how, 1e-5, INTEGER_ORDERS).planned(ROUNDS)
        # Rounding lengthens vectors by 1e-7 of themselves in so many bits.
        assert plan.spent([arrived] * ROUNDS) == pytest.approx(gaussian, rel=1e-5)


def test_planned_and_spent_are_side_by_side():
    plan = emnist("skellam", 16)
    assert plan.spent([100] * 50) == plan.planned(50)
    spent = plan.spent([90, 100, 80, 85, 100] * 10)
    assert plan.planned(50) < spent < plan.spent([80] * 50)


def test_compensation_spends_the_plan_when_as_many_drop_out_as_expected():
    plan = emnist("skellam", 16, expected_dropout=0.1)
    assert plan.planned(50) == plan.spent([90] * 50)
    # It costs bits: a larger sum has to fit, and the scale is smaller. So does epsilon, a little.
    without = emnist("skellam", 16)
    assert without.planned(50) < plan.planned(50) < 1.001 * without.planned(50)
    assert plan.spent([100] * 50) < without.planned(50)


def test_aborted_rounds_are_free_and_nothing_else_is():
    for plan in (emnist("skellam", 16), budget.Budget(mechanisms.Gaussian(1.0), EMNIST, DELTA)):
        assert plan.planned(0) == plan.spent([rules.ABORTED] * 9) == 0
        epsilons = [plan.planned(rounds) for rounds in (1, 2, 10, 100)]
        assert epsilons == sorted(epsilons) and epsilons[0] > 0
        assert plan.spent([100, rules.ABORTED, 100]) == plan.planned(2)


@pytest.mark.parametrize(
    ("mechanism", "how"),
    [
        (mechanisms.Gaussian(1.0), EMNIST),
        (mechanisms.Gaussian(1.0), participation.MinSeparation(34)),
        (mechanisms.AdaptiveClipping(0.1, 5.0), EMNIST),
        (mechanisms.TreeAggregation(1.0, 34), participation.MinSeparation(34)),
        (mechanisms.BandedFactorization(1.0, 16), participation.MinSeparation(34)),
        (mechanisms.LocalGaussian(1.0), participation.MinSeparation(34)),
        (emnist("skellam", 16).mechanism, participation.FixedSize(3400, 100)),
        (emnist("skellam", 16).mechanism, participation.FixedSize(3400, 100, "replaced")),
        (emnist("discrete_gaussian", 16).mechanism, participation.MinSeparation(34)),
    ],
)
def test_calibrated_noise_spends_the_target_and_no_more(mechanism, how):
    plan = budget.calibrate(budget.Budget(mechanism, how, DELTA), 4.0, rounds=100)
    assert 4.0 * (1 - 1e-4) < plan.planned(100) <= 4.0
    # Nothing but the noise is another.
    noise = plan.mechanism.noise_multiplier
    assert plan.mechanism == dataclasses.replace(mechanism, noise_multiplier=noise)


def test_correlated_noise_takes_more_of_it_for_trees_than_for_bands():
    # A tree of 34 rounds moves by 6 nodes for a client, bands by one column.
    how = participation.MinSeparation(34)
    of = lambda mechanism: noise_for(budget.Budget(mechanism, how, DELTA), 4.0, rounds=340)
    tree, bands = mechanisms.TreeAggregation(1.0, 34), mechanisms.BandedFactorization(1.0, 34)
    assert of(tree) / of(bands) == pytest.approx(np.sqrt(6), rel=1e-5)


def test_too_few_bits_are_refused_with_those_that_would_do():
    with pytest.raises(ValueError, match=r"epsilon 3 in 12 bits.* above 7\.49.*; 13 bits would do"):
        budget.calibrate(emnist("skellam", 12), 3.0, rounds=ROUNDS)
    assert noise_for(emnist("skellam", 13), 3.0) > 0


def test_what_no_bits_give_is_refused():
    # A delta of 1e-300 asks too much of the orders at any noise; bits don't help.
    plan = dataclasses.replace(emnist("skellam", 16), delta=1e-300)
    with pytest.raises(ValueError, match="fewer rounds or clients a round"):
        budget.calibrate(plan, 0.01, rounds=ROUNDS)


def test_a_count_with_too_little_noise_is_refused():
    plan = budget.Budget(mechanisms.AdaptiveClipping(0.1, 0.5), EMNIST, DELTA)
    with pytest.raises(ValueError, match="count_stddev must be > "):
        budget.calibrate(plan, 1.0, rounds=ROUNDS)


def test_noise_that_protects_nobody_is_refused():
    plan = budget.Budget(mechanisms.Gaussian(1.0), EMNIST, DELTA)
    with pytest.raises(ValueError, match="protects nobody"):
        budget.calibrate(plan, 1e9, rounds=1)


@pytest.mark.parametrize("target", [0.0, -1.0, float("nan")])
def test_targets_are_positive(target):
    with pytest.raises(ValueError, match="target_epsilon must be > 0"):
        budget.calibrate(emnist("skellam", 16), target, rounds=9)


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5])
def test_delta_is_a_probability(delta):
    with pytest.raises(ValueError, match=r"delta must be in \(0, 1\)"):
        budget.Budget(mechanisms.Gaussian(1.0), EMNIST, delta)


@pytest.mark.parametrize(
    ("mechanism", "how"),
    [
        (mechanisms.Gaussian(1.0), participation.FixedSize(3400, 100, "replaced")),
        (emnist("skellam", 16).mechanism, EMNIST),
    ],
)
def test_pld_refuses_what_it_has_no_rule_for(mechanism, how):
    plan = budget.Budget(mechanism, how, DELTA, accountants.PldAccountant)
    with pytest.raises(ValueError, match=r"has no rule for .* take --accountant=rdp"):
        plan.planned(1)


def test_neighbours_are_in_words():
    relation = lambda mechanism, how: budget.Budget(mechanism, how, DELTA).relation
    gaussian, skellam = mechanisms.Gaussian(1.0), emnist("skellam", 16).mechanism
    for mechanism in (gaussian, skellam):
        fixed = [participation.FixedSize(3400, 100, x) for x in ("removed", "replaced")]
        assert relation(mechanism, fixed[0]) == "a client is added or removed"
        assert relation(mechanism, fixed[1]) == "a client is replaced by another"
    assert relation(gaussian, EMNIST) == "a client is added or removed"
    # Under Poisson sampling its noise would be missed.
    zeros = "a client's updates are replaced by zeros"
    assert relation(skellam, participation.Poisson(3400, 100)) == zeros
    assert relation(skellam, EMNIST) == f"{zeros}, and nobody sees how many came (as published)"
    assert relation(gaussian, participation.MinSeparation(34)) == (
        "a client is left out of its rounds"
    )
