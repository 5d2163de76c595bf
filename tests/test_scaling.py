"""The scaling benchmark: what is counted, its table (slow, with Ray), the goal of 100 clients."""

import importlib.util
import subprocess
import sys

import pytest

from tff_experiments.benchmarks import cases, scaling, scaling_costs

BURN = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True); input()"


def test_cpu_seconds_are_those_of_descendants_too():
    """A child burns half a second; the clock of /proc ticks each 10 ms."""
    before = scaling.cpu_seconds()
    command = [sys.executable, "-c", BURN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        spent = scaling.cpu_seconds() - before
        child.stdin.write(b"\n")
    assert 0.45 < spent < 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rounds": 0}, "rounds must be >= 1"),
        ({"models": "linear,x"}, r"models must be of .*'linear,x'"),
        ({"clients": "10,a"}, r"clients must be numbers with commas, got '10,a'"),
        ({"workers": "0"}, "must be >= 1"),
    ],
)
def test_wrong_knobs_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        scaling.Hparams(**changes)
    with pytest.raises(ValueError, match="rounds must be >= 1, got 0"):
        scaling_costs.Hparams(rounds=0)


def test_rounds_of_two_sizes_tell_what_a_group_and_a_client_cost():
    """100 clients come in 17 groups, 10,000 in 172: those of 3 ms, clients of 0.2 ms."""
    found = scaling_costs.per_group_and_client(17 * 3 + 100 * 0.2, 172 * 3 + 10_000 * 0.2)
    assert found == pytest.approx((3, 0.2))


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray")
def test_what_is_reckoned_with_is_measured():
    _, head, rows = scaling_costs.run(scaling_costs.Hparams(rounds=1))
    assert len(rows) == 19 and {len(row) for row in rows} == {len(head)}
    values = dict(rows)
    cost = lambda name: float(values[name].split()[0])
    # Orders of magnitude, on any machine: work of a hundred examples, of ten, and none.
    assert cost("a client of EMNIST's CNN (1.2 M weights), 100 examples") > 10
    assert cost("a client of the softmax regression, 10 examples") < 10
    assert 0 < cost("of these the driver") < 100


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray")
def test_the_table_has_a_row_for_each_size():
    _, head, rows = scaling.run(
        scaling.Hparams(clients="3,20", workers="1,2", models="linear", rounds=1)
    )
    assert [row[1] for row in rows] == ["3", "20"]
    assert {len(row) for row in rows} == {len(head)} and "Ray 2" in head


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray")
def test_ray_adds_less_than_15_percent_at_100_clients():
    """Of CPU seconds, which other programs on the machine change little."""
    with scaling.Runtimes([2]) as runtimes:
        case = cases.Case("", "emnist_cnn", 100, 100)
        seconds = runtimes.measure(case, 2)
    local, ray = (sum(run.cpu for run in seconds[kind, 2]) for kind in ("local", "ray"))
    assert ray < 1.15 * local
