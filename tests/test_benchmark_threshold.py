"""The benchmark of threshold encryption, where OpenFHE and TensorFlow are: Python 3.10."""

import pytest

pytest.importorskip("openfhe")

from tff_experiments.benchmarks import threshold_he


def test_a_row_for_each_protocol_and_case():
    title, head, rows = threshold_he.run(threshold_he.Hparams(length=5000, repeats=1))
    assert "5,000 entries" in title and {len(row) for row in rows} == {len(head)}
    strong = "threshold_bfv strong"
    names = ["threshold_ckks", "threshold_bfv"]
    assert [row[0] for row in rows] == [*names, strong, *names, *names]
    # Two ciphertexts of two polynomials of 32 KB; the goal is one for CKKS at 10 parties.
    assert rows[0][9] == "0.1" and [bool(row[-1]) for row in rows] == [1, 0, 0, 1, 0, 0, 0]
