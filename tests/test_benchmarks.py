"""The benchmarks' tables, and what they promise: memory, start-up, speed (slow)."""

import subprocess
import sys

import pytest
from conftest import REPO

from tff_experiments.benchmarks import memory, runtime, startup


def benchmark(*args):
    return subprocess.run(
        [sys.executable, REPO / "scripts" / "benchmark.py", *args], capture_output=True, text=True
    )


def test_bad_arguments_are_one_line():
    for args, message in (
        ([], "say what to measure: one of ['memory', 'runtime', 'startup']"),
        (["runtime", "--runtime_case=x"], "case must be one of"),
        (["runtime", "--runtime_rounds=0"], "rounds must be >= 1, got 0"),
    ):
        result = benchmark(*args)
        assert result.returncode == 2 and message in result.stderr
        assert len(result.stderr.strip().splitlines()) == 1


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
