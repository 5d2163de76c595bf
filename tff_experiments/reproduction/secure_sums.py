"""Numbers of secure sums: by the paper's formula, from rows that scripts/benchmark.py secure_sum
kept, or measured as it measures them.
"""

import json
import math
import pathlib

from tff_experiments.reproduction.published import Computed

REPO = pathlib.Path(__file__).resolve().parents[2]
KEPT = (REPO / "results" / "bonawitz2017.jsonl", REPO / "results" / "secure_sum.jsonl")
REPEATS = 3


def formula(num_clients: int, length: int, may_measure: bool) -> Computed:
    """The expansion by the paper's formula."""
    from tff_experiments.benchmarks import secure_sum_goals

    del may_measure
    return Computed(secure_sum_goals.expansion_formula(num_clients, length), "analytic")


def measured_expansion(adversary: str, may_measure: bool) -> Computed:
    """The expansion for 2^10 clients and 2^20 entries, by bytes on the wire."""
    case = _case(adversary, 2**10, 2**20, 26, 0.0)
    row = _row(case, may_measure)
    if row is None:
        return _MISSING
    # Inputs are of 16 bits.
    plain = 2 * case["length"]
    return Computed((row["upload_bytes"] + row["download_bytes"]) / plain, _source(row))


def seconds(who: str, num_clients: int, dropout: float, may_measure: bool) -> Computed:
    """CPU seconds of the "client" or the "server" for 100,000 entries of 62 bits."""
    row = _row(_case("semi_honest", num_clients, 100_000, 62, dropout), may_measure)
    return Computed(row[f"{who}_seconds"], _source(row)) if row else _MISSING


_MISSING = Computed(math.nan, "not measured yet")


def _case(adversary: str, num_clients: int, length: int, bits: int, dropout: float) -> dict:
    return {
        "protocol": "secagg",
        "adversary": adversary,
        "num_clients": num_clients,
        "length": length,
        "bits": bits,
        "dropout": dropout,
    }


def _row(case: dict, may_measure: bool) -> dict | None:
    """The last row that was kept, of whichever code and machine; else it is measured, and kept."""
    lines = [line for path in KEPT if path.exists() for line in path.read_text().splitlines()]
    found = [row for row in map(json.loads, lines) if row["case"] == case]
    if found or not may_measure:
        return found[-1] if found else None
    from tff_experiments.benchmarks import secure_sum_rows

    return secure_sum_rows.Rows(KEPT[0], REPEATS).get(secure_sum_rows.Case(**case))


def _source(row: dict) -> str:
    return f"median of {row['repeats']}, code {row['code']}, {row['cpu']}"
