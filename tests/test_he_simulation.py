"""Sums under homomorphic encryption, every scheme: exact, or aborted; memory, seeds, libraries."""

import pathlib
import subprocess
import sys
from concurrent import futures

import numpy as np
import pytest
from he_helpers import EVERYONE, LONG, PROTOCOLS, SEAL, SEGMENTS, run, sum_of, vector_of
from hypothesis import given, settings
from hypothesis import strategies as st

from tff_experiments.secure_sum import (
    bfv,
    ckks,
    he_parties,
    paillier,
    stages,
)
from tff_experiments.secure_sum.stages import UPLOAD
from tff_experiments.secure_sum.vectors import Segment


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize(
    "drops",
    [
        EVERYONE,
        {"a": "before_advertising", "b": "before_key_sharing", "c": "", "d": "", "e": ""},
        {"a": "before_upload", "b": "", "c": "before_consistency", "d": "before_unmasking"},
        {"a": "", "b": ""},
    ],
)
def test_sums_are_exact_and_dropouts_are_left_out(name, drops):
    sums, total, wanted = run(PROTOCOLS[name], drops=drops)
    assert total.dtype == np.int64 and total.tolist() == wanted
    metrics = sums.metrics()
    stay = sum(stages.first_missing(stage) > UPLOAD for stage in drops.values())
    assert metrics["secure_sum/survivors"] == stay and metrics["secure_sum/clients"] == len(drops)
    assert metrics["secure_sum/refusals"] == 0
    assert metrics["secure_sum/upload_bytes_per_client"] > 256


@pytest.mark.parametrize("name", SEAL)
@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 3000),
            st.one_of(st.integers(1, 2**62), st.sampled_from([2, 2**26, 2**62])),
        ),
        max_size=3,
    ),
    st.lists(st.sampled_from(["", "", *stages.STAGES]), min_size=1, max_size=8),
)
def test_any_vectors_and_dropouts_sum_exactly_or_abort(name, segments, dropped):
    drops = {str(i): stage for i, stage in enumerate(dropped)}
    left = sum(stages.first_missing(stage) > UPLOAD for stage in dropped)
    if left < max(2, len(drops) // 2 + 1):
        with pytest.raises(stages.AbortedError):
            run(PROTOCOLS[name], [Segment(*segment) for segment in segments], drops)
        return
    sums, total, wanted = run(PROTOCOLS[name], [Segment(*segment) for segment in segments], drops)
    assert total.tolist() == wanted and len(sums.server.survivors) == left


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("segments", [[], [Segment(0, 5)], [Segment(3, 1)], [Segment(1, 2)]])
def test_short_vectors(name, segments):
    sums, total, wanted = run(PROTOCOLS[name], segments)
    assert total.tolist() == wanted and len(sums.server.survivors) == 5


@pytest.mark.parametrize("name", SEAL)
@pytest.mark.parametrize("length", [2047, 2048, 2049, 4097, 40_000])
def test_long_vectors(name, length):
    sums, total, wanted = run(PROTOCOLS[name], [Segment(length, 2**20), Segment(3, 2**30)])
    assert total.tolist() == wanted
    assert len(sums.server._config.chunks) == 1 + (length == 40_000)


@pytest.mark.parametrize("name", SEAL)
def test_any_thread_may_add(name):
    rng, drops = np.random.default_rng(0), {str(i): "" for i in range(12)}
    rows = [vector_of(rng, LONG) for _ in drops]
    sums = PROTOCOLS[name].start(LONG, drops)
    with futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(sums.add, drops, rows))
    assert sums.finish().tolist() == sum_of(LONG, rows)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_too_few_clients_are_a_clean_abort(name):
    gone = "before_upload"
    with pytest.raises(stages.AbortedError, match="2 clients uploaded, 3 are needed") as caught:
        run(PROTOCOLS[name], drops={"a": "", "b": "", "c": gone, "d": gone, "e": gone})
    assert caught.value.metrics["secure_sum/survivors"] == 2
    with pytest.raises(stages.AbortedError, match="1 clients took the key"):
        run(PROTOCOLS[name], drops={"a": "", "b": "before_advertising"})
    # A sum of one client is its vector.
    with pytest.raises(stages.AbortedError):
        run(PROTOCOLS[name], drops={"a": ""})
    with pytest.raises(ValueError, match="one client's vector"):
        PROTOCOLS[name].check(1)
    PROTOCOLS[name].check(2)


def test_the_threshold_is_a_fraction():
    protocol = bfv.build(bfv.Hparams(threshold=0.8))
    drops = dict(zip("abcdefghij", [""] * 7 + ["before_upload"] * 3, strict=True))
    with pytest.raises(stages.AbortedError, match="7 clients uploaded, 8 are needed"):
        run(protocol, drops=drops)
    run(bfv.build(bfv.Hparams(threshold=0.7)), drops=drops)
    for module in (bfv, ckks, paillier):
        with pytest.raises(ValueError, match=r"threshold must be in \(0, 1\]"):
            module.Hparams(threshold=1.5)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_vector_that_does_not_fit_is_an_error(name):
    sums = PROTOCOLS[name].start([Segment(2, 8)], EVERYONE)
    for bad in (np.array([1, 8]), np.array([1]), np.array([0.5, 1])):
        with pytest.raises(ValueError):
            sums.add("a", bad)
    assert not sums.server.survivors


PEAK = """
import resource, sys
import numpy as np
from tff_experiments.secure_sum import {name}, vectors
length, peaks = 300_000, []
drops = {{str(i): "" for i in range(12)}}
sums = {name}.build({name}.Hparams()).start([vectors.Segment(length, 2**26)], drops)
for client in drops:
    sums.add(client, np.arange(length))
    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
# The sum, and the first client that is added to it.
grown, one = peaks[-1] - peaks[1], sums.metrics()["secure_sum/upload_bytes_per_client"]
assert one > 4e6 and grown < one / 2, (peaks, one)
"""


@pytest.mark.parametrize("name", SEAL)
def test_memory_does_not_grow_with_clients(name):
    """Beside the sum there is one client's ciphertexts, not twelve clients'."""
    root = pathlib.Path(he_parties.__file__).parents[2]
    subprocess.run([sys.executable, "-c", PEAK.format(name=name)], cwd=root, check=True)


@pytest.mark.parametrize("name", SEAL)
def test_a_seed_repeats_the_sum_not_the_ciphertexts(name):
    def once():
        texts = []
        listen = lambda step, a, b, message: texts.append(message) or [message]
        sums = PROTOCOLS[name].start(SEGMENTS, EVERYONE, seed=(3, 1), tamper=listen)
        for client in EVERYONE:
            sums.add(client, vector_of(np.random.default_rng(0), SEGMENTS))
        return sums._config.session, texts, sums.finish().tolist()

    (session, texts, total), (session2, texts2, total2) = once(), once()
    assert session == session2 and total == total2 and texts[0] != texts2[0]


@pytest.mark.parametrize("module", [bfv, ckks, paillier])
def test_without_its_library_a_protocol_says_what_to_install(module, monkeypatch):
    for name in ("tenseal", "phe"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ValueError, match=r"pip install (tenseal|phe)"):
        module.build(module.Hparams()).check(10)
