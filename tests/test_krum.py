"""Krum and multi-Krum against their definition in float64, and under attack."""

import numpy as np
import pytest
from aggregation_helpers import ATTACKS, Aggregation, aggregate, attacked, draw

from tff_experiments.aggregation import krum


def by_definition(rows, attackers, chosen):
    """(aggregate, largest score of the chosen): Blanchard et al. 2017, section 4, written out."""
    rows = rows.astype(np.float64)
    scores = []
    for i, row in enumerate(rows):
        others = np.delete(rows, i, axis=0)
        distances = np.sort(((others - row) ** 2).sum(1))
        scores.append(distances[: max(len(rows) - attackers - 2, 1)].sum())
    best = np.argsort(scores, kind="stable")[:chosen]
    return rows[best].mean(0), max(np.array(scores)[best])


@pytest.fixture(scope="module")
def aggregations():
    build = lambda **hparams: Aggregation(krum.build(krum.Hparams(**hparams)))
    return {1: build(), 4: build(chosen=4), 0: build(chosen=0)}


@pytest.mark.parametrize("chosen", [1, 4, 0])
@pytest.mark.parametrize("clients", [1, 2, 5, 23])
def test_it_is_its_definition(clients, chosen, aggregations):
    rows = draw(clients, seed=clients)
    # The sampled rows are dealt into groups, in another order: of equal scores, as of two rows,
    # either may be first.
    got = aggregations[chosen].rows(rows, weights=1 + np.arange(clients) ** 3)
    attackers = clients // 5
    number = min(chosen or clients - attackers, clients)
    wanted, score = by_definition(rows, attackers, number)
    measured = aggregations[chosen].measured
    if (clients, chosen) != (2, 1):
        np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)
    assert measured["chosen"] == number and measured["assumed_attackers"] == attackers
    assert measured["score"] == pytest.approx(score, rel=1e-6)


@pytest.mark.parametrize("attack", ATTACKS)
def test_it_chooses_an_honest_update_among_attackers(attack, aggregations):
    honest = draw(23)[4:]
    got = aggregations[1].rows(attacked(draw(23), 4, attack))
    assert (got == honest.astype(np.float64)).all(1).any()
    # As many as there are honest ones; NaN is left out before, and more are then assumed.
    got = aggregations[0].rows(attacked(draw(23), 4, attack))
    assert (got >= honest.min(0) - 1e-6).all() and (got <= honest.max(0) + 1e-6).all()


def test_updates_that_are_equal_count_as_neighbours():
    rows = draw(6)
    rows[3] = rows[4] = rows[5]
    got, measured = aggregate(krum, rows, attackers=0.4)
    np.testing.assert_array_equal(got, rows[5])
    assert measured["score"] == 0


def test_knobs_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"attackers must be in \[0, 0.5\), got 0.5"):
        krum.Hparams(attackers=0.5)
    with pytest.raises(ValueError, match="chosen must be >= 0, got -1"):
        krum.Hparams(chosen=-1)
