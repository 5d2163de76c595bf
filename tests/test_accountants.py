"""Every accountant keeps the library's contract, and bounds what closed forms give."""

import dp_accounting
import numpy as np
import pytest
from dp_accounting import privacy_accountant_test, rdp
from scipy import optimize, stats

from tff_experiments.privacy import accountants, distributed

Relation = dp_accounting.NeighboringRelation
GAUSSIAN = dp_accounting.GaussianDpEvent(2.0)
SUM = distributed.NoisySumEvent("skellam", 10, 50.0, 20.0, 400.0, dim=64)
POISSON = dp_accounting.PoissonSampledDpEvent(0.1, GAUSSIAN)
FIXED = dp_accounting.SampledWithoutReplacementDpEvent(50, 5, GAUSSIAN)
TREE = dp_accounting.SingleEpochTreeAggregationDpEvent(5.0, 30)
RDP = [name for name in accountants.BY_NAME if name.startswith("rdp")]


class TestContract(privacy_accountant_test.PrivacyAccountantTest):
    """The library's own: unknown events are errors, nothing costs nothing, no noise costs all."""

    def _make_test_accountants(self):
        return [make(how) for make in accountants.BY_NAME.values() for how in Relation]


def exact_epsilon(sigma, delta):
    """Of the Gaussian mechanism: Balle and Wang, ICML 2018, theorem 8, solved for epsilon."""
    gap = lambda eps: (
        stats.norm.cdf(1 / (2 * sigma) - eps * sigma)
        - np.exp(eps) * stats.norm.cdf(-1 / (2 * sigma) - eps * sigma)
        - delta
    )
    return optimize.brentq(gap, 0, 200)


@pytest.mark.parametrize("name", accountants.BY_NAME)
@pytest.mark.parametrize(("sigma", "rounds"), [(1.0, 1), (4.0, 30), (20.0, 400)])
def test_gaussians_are_bounded_by_the_closed_form(name, sigma, rounds):
    accountant = accountants.BY_NAME[name](Relation.REPLACE_SPECIAL)
    accountant.compose(dp_accounting.GaussianDpEvent(sigma), rounds)
    exact = exact_epsilon(sigma / np.sqrt(rounds), 1e-5)
    found = accountant.get_epsilon(1e-5)
    # PLD rounds losses up to 1e-4; Renyi DP loses 8 to 15 % here.
    assert exact <= found <= exact * (1.001 if name == "pld" else 1.15)


@pytest.mark.parametrize("name", accountants.BY_NAME)
def test_rounds_add_up_however_they_are_composed(name):
    at_once, one_by_one = (accountants.BY_NAME[name](Relation.ADD_OR_REMOVE_ONE) for _ in "12")
    at_once.compose(dp_accounting.SelfComposedDpEvent(POISSON, 5))
    for _ in range(5):
        one_by_one.compose(POISSON)
    # PLD: each composition may round once more, by 1e-4.
    rel = 1e-3 if name == "pld" else 1e-12
    assert at_once.get_epsilon(1e-5) == pytest.approx(one_by_one.get_epsilon(1e-5), rel=rel)


@pytest.mark.parametrize("name", accountants.BY_NAME)
@pytest.mark.parametrize("inner", [GAUSSIAN, SUM])
def test_sampling_is_taken_for_its_own_neighbours_only(name, inner):
    poisson = dp_accounting.PoissonSampledDpEvent(0.1, inner)
    fixed = dp_accounting.SampledWithoutReplacementDpEvent(50, 5, inner)
    known = name in RDP or inner is GAUSSIAN
    for relation in Relation:
        accountant = accountants.BY_NAME[name](relation)
        assert accountant.supports(poisson) == (known and relation is Relation.ADD_OR_REMOVE_ONE)
        assert accountant.supports(fixed) == (name in RDP and relation is Relation.REPLACE_ONE)


@pytest.mark.parametrize(
    ("event", "relation"),
    [(POISSON, Relation.ADD_OR_REMOVE_ONE), (FIXED, Relation.REPLACE_ONE)],
)
def test_what_is_cached_is_the_librarys(event, relation):
    orders = (1.5, 2, 8, 8.5, 300)
    ours = accountants.RdpAccountant(relation, orders=orders)
    library = rdp.RdpAccountant(list(orders), relation)
    for accountant in (ours, library):
        accountant.compose(event, 3).compose(event).compose(GAUSSIAN, 2)
    np.testing.assert_allclose(ours.rdp, library.rdp, rtol=1e-12)


@pytest.mark.parametrize("inner", [dp_accounting.GaussianDpEvent(50.0), SUM])
def test_what_rounding_loses_is_not_free(inner):
    # At order 2: q^2 (e^(1 / 50^2) - 1) = 4e-16 a round; the library's own rounds to below 0.
    rare = dp_accounting.PoissonSampledDpEvent(1e-6, inner)
    accountant = accountants.RdpAccountant(Relation.ADD_OR_REMOVE_ONE).compose(rare, 10)
    assert (accountant.rdp > 4e-15).all() and 0 < accountant.get_epsilon(1e-9) < 0.1


@pytest.mark.parametrize("name", RDP)
def test_discrete_sums_add_up_at_integer_orders(name):
    accountant = accountants.BY_NAME[name](Relation.ADD_OR_REMOVE_ONE).compose(SUM, 7)
    whole = accountant.orders == np.round(accountant.orders)
    np.testing.assert_allclose(
        accountant.rdp[whole], 7 * SUM.rdp(accountant.orders[whole]), rtol=1e-12
    )
    assert np.isinf(accountant.rdp[~whole]).all()


def test_pld_takes_a_tree_for_the_gaussian_of_its_depth():
    # 30 leaves: the deepest are below 4 nodes beside themselves; 5 nodes move by one clip each.
    accountant = accountants.PldAccountant(Relation.REPLACE_SPECIAL).compose(TREE, 3)
    exact = exact_epsilon(5.0 / np.sqrt(3 * 5), 1e-5)
    assert exact <= accountant.get_epsilon(1e-5) <= exact * 1.001


def test_pld_has_no_rule_for_discrete_sums():
    with pytest.raises(dp_accounting.UnsupportedEventError):
        accountants.PldAccountant(Relation.ADD_OR_REMOVE_ONE).compose(SUM)


def test_pld_refuses_noise_for_which_it_takes_gigabytes():
    for event in (
        dp_accounting.GaussianDpEvent(0.2),
        dp_accounting.PoissonSampledDpEvent(0.1, dp_accounting.GaussianDpEvent(0.2)),
    ):
        accountant = accountants.PldAccountant(Relation.ADD_OR_REMOVE_ONE)
        with pytest.raises(ValueError, match=r"takes noise multipliers from 0\.25, got 0\.2"):
            accountant.compose(event)
