"""The benchmark of homomorphic encryption: a table for any size, and its goals (slow)."""

import pytest

from tff_experiments.benchmarks import he, he_beside
from tff_experiments.secure_sum import bfv, ckks


def test_a_row_for_each_scheme_and_case():
    title, head, rows = he.run(he.Hparams(length=3000, repeats=1))
    assert "3,000 entries" in title and {len(row) for row in rows} == {len(head)}
    wanted = []
    for case in he.CASES:
        wanted += ["packed, in the clear"]
        wanted += he_beside.PROTOCOLS if case.num_clients <= he_beside.MAX_CLIENTS else []
        wanted += ["bfv", "ckks"] + ["paillier"] * (case == he.CASES[0])
    assert [row[0] for row in rows] == wanted
    # 26 bits an entry.
    assert rows[0][-2] == "0.81" and not rows[1][-1] and "met" in rows[3][-1] and not rows[5][-1]


def test_goals_that_are_missed_are_said_to_be():
    costs = he.Costs(keys=0, encrypt=0.9, read=0, add=0.02, decrypt=0, num_bytes=32_000)
    row = he.line("bfv", he.CASES[0], "", costs, 1000)
    assert row[-1] == "encryption **missed**, adding **missed**, bytes met"
    assert he.line("bfv", he.Case(1000, 20), "", costs, 1000)[-1] == ""


@pytest.mark.slow
@pytest.mark.parametrize("choose", [bfv.choose, ckks.choose])
@pytest.mark.parametrize("num_clients", [10, 64])
def test_goals_are_met(choose, num_clients):
    case = he.Case(num_clients, he.GOAL_BITS)
    costs, _ = he.measure(choose, case.layout(1_206_590), case, 5)
    assert costs.encrypt < he.GOAL_ENCRYPT and costs.add < he.GOAL_ADD
    assert costs.num_bytes <= he.GOAL_EXPANSION * 4 * 1_206_590
