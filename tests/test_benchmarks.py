"""The benchmarks' tables, and what they promise: memory, start-up, speed, secure sums (slow)."""

import sys

import launch
import numpy as np
import pytest
import tensorflow_federated as tff
from conftest import REPO

from tff_experiments import aggregation, benchmarks
from tff_experiments.benchmarks import (
    aggregators,
    memory,
    runtime,
    secure_sum,
    secure_sum_clients,
    secure_sum_goals,
    secure_sum_rows,
    secure_sum_units,
    startup,
)
from tff_experiments.benchmarks.secure_sum_rows import Case
from tff_experiments.secure_sum import client, secagg, secagg_plus, server, vectors


def benchmark(*args, **kwargs):
    return launch.run([sys.executable, REPO / "scripts" / "benchmark.py", *args], **kwargs)


def test_bad_arguments_are_one_line():
    for args, message in (
        ([], f"say what to measure: one of {sorted(benchmarks.BY_NAME)}"),
        (["runtime", "--runtime_case=x"], "case must be one of"),
        (["runtime", "--runtime_rounds=0"], "rounds must be >= 1, got 0"),
        (["secure_sum", "--secure_sum_clients=10,x"], "clients must be numbers with commas"),
        (["secure_sum", "--secure_sum_clients=9"], "clients must be >= 10"),
        (["secure_sum", "--secure_sum_case=x"], "case must be one of"),
        (["he", "--he_length=0"], "length must be >= 1, got 0"),
    ):
        result = benchmark(*args, fresh=not args)
        assert result.returncode == 2 and message in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1


def tiny(path, **hparams):
    small = {"clients": "10", "entries": "1000", "repeats": 1, "rows": str(path / "rows.jsonl")}
    return secure_sum.Hparams(**{**small, **hparams})


def test_secure_sums_are_measured_once_and_tabled(tmp_path, monkeypatch):
    monkeypatch.setattr(secure_sum_rows, "code", lambda: "abc")
    title, head, rows = secure_sum.run(tiny(tmp_path, case="active"))
    assert "garbage" in title and {len(row) for row in rows} == {len(head)}
    assert [row[4] for row in rows] == ["0%", "10%", "30%"]
    lines = (tmp_path / "rows.jsonl").read_text()
    assert secure_sum.run(tiny(tmp_path, case="active"))[2] == rows
    assert (tmp_path / "rows.jsonl").read_text() == lines
    # Another number of repeats, or changed code, is another measurement.
    monkeypatch.setattr(secure_sum_rows, "code", lambda: "abc+")
    for _ in range(2):
        secure_sum.run(tiny(tmp_path, case="active"))
    assert len((tmp_path / "rows.jsonl").read_text().splitlines()) == 9


@pytest.mark.parametrize("name", aggregation.BY_NAME)
def test_every_aggregator_can_be_measured(name):
    module = aggregation.BY_NAME[name]
    factory = aggregators.build_aggregator(module, module.Hparams(), 100, 1_206_590)
    assert isinstance(factory, tff.aggregators.WeightedAggregationFactory)


@pytest.mark.slow
def test_an_aggregator_is_measured_in_turn_with_the_mean():
    """The same in both processes: a factor apart at most, and float32 weights are 32 bits."""
    with aggregators.Trainer("mean", 2) as one, aggregators.Trainer("mean", 2) as other:
        measured = aggregators.measure(one, other, 2)
    assert measured.clocks.shape == measured.plain.shape == (2, 2)
    assert (measured.clocks / measured.plain < 10).all()
    assert measured.bits == pytest.approx(32, abs=0.01) and measured.nmse is None


def test_all_measures_what_was_asked_for():
    found = secure_sum.cases(secure_sum.Hparams())
    assert len(found) == len(set(found)) == 30 + 4 + 8 + 2 + 2
    assert set(secure_sum_goals.SERVER) <= set(found)


def test_the_papers_expansion():
    for (users, entries), published in {(10, 20): 1.73, (14, 24): 1.98, (14, 20): 3.62}.items():
        assert round(secure_sum_goals.expansion_formula(2**users, 2**entries), 2) == published


class Recorder(server.Server):
    """Notes the sizes of what it is sent and sends, and what it opens."""

    def __init__(self, *args):
        super().__init__(*args)
        self.calls = []

    def receive(self, step, sender, message):
        self.calls.append((step, sender, len(message)))
        super().receive(step, sender, message)

    def message(self, recipient):
        message = super().message(recipient)
        self.calls.append((recipient, len(message)))
        return message

    def _open(self, owners, shares):
        self.calls.append(list(owners))
        return super()._open(owners, shares)


@pytest.mark.parametrize(
    "protocol",
    [
        secagg.build(secagg.Hparams()),
        secagg.build(secagg.Hparams(variant="semi_honest")),
        secagg_plus.build(secagg_plus.Hparams()),
    ],
)
def test_stand_ins_give_the_server_the_same_work(protocol, monkeypatch):
    monkeypatch.setattr(server, "Server", Recorder)
    drops = {str(i): "before_upload" if i % 10 == 3 else "" for i in range(1, 41)}
    calls = []
    for make_client in (client.Client, secure_sum_clients.Pool(frozenset({1, 20})).make_client):
        sums = protocol.start(
            [vectors.Segment(50, 2**32)], drops, seed=(0, 1), make_client=make_client
        )
        for name in drops:
            sums.add(name, np.arange(50))
        sums.finish()
        assert not sums.refusals
        calls.append(sums.server.calls)
    assert calls[0] == calls[1]


@pytest.mark.slow
def test_our_runtime_is_faster_than_tffs_and_near_a_bare_loop():
    ours = runtime.ratios(runtime.measure(runtime.CASES["cnn"], 7))
    assert ours.over_native >= 2 and ours.over_bare <= 1.2
    assert runtime.ratios(runtime.measure(runtime.CASES["2nn"], 7)).over_native >= 7
    assert runtime.ratios(runtime.measure(runtime.CASES["linear"], 7)).over_native >= 10


@pytest.mark.slow
def test_memory_does_not_grow_with_clients_or_rounds():
    assert memory.peak(1000) < 1.2 * memory.peak(10)
    resident = memory.growth(300)
    assert resident[-1] < 1.01 * resident[30]


@pytest.mark.slow
def test_the_first_round_ends_within_twenty_seconds():
    startup.first_round()  # Makes the data set's cache.
    assert startup.first_round()[0] < 20


@pytest.mark.slow
@pytest.mark.parametrize("case", secure_sum_goals.SERVER, ids=str)
def test_the_server_of_a_secure_sum_meets_its_goal(case):
    assert secure_sum_rows.measure(case, 3)["server_seconds"] < secure_sum_goals.SERVER[case]


@pytest.mark.slow
def test_a_mask_costs_little_more_than_its_parts():
    assert secure_sum_units.mask_overhead() <= secure_sum_goals.MASK_OVERHEAD


@pytest.mark.slow
def test_communication_is_what_the_paper_says():
    case = Case("secagg", "semi_honest", 2**10, 2**20, 26, 0.0)
    row = secure_sum_rows.measure(case, 1)
    measured = secure_sum_goals.measured_expansion(case, row)
    assert abs(measured / secure_sum_goals.expansion_formula(2**10, 2**20) - 1) <= 0.05
