"""Clients that upload in groups elsewhere: the same sums, bytes and survivors as one by one."""

import pickle

import numpy as np
import pytest

from tff_experiments.secure_sum import plain, secagg, secagg_plus, stages, vectors

SEGMENTS = [vectors.Segment(40, 2**20), vectors.Segment(9, 1000), vectors.Segment(5, 2**40)]
PROTOCOLS = {
    "plain": plain.build(plain.Hparams()),
    "secagg": secagg.build(secagg.Hparams()),
    "secagg semi-honest": secagg.build(secagg.Hparams(variant="semi_honest")),
    "secagg_plus": secagg_plus.build(secagg_plus.Hparams(max_dropout_rate=0.3, security_bits=5)),
}
DROPS = {"c1": "before_upload", "c5": "before_consistency", "c8": "before_unmasking"}


def cohort(n=12, drops=DROPS):
    rng = np.random.default_rng(0)
    inputs = {
        f"c{i}": np.concatenate([rng.integers(0, s.modulus, s.length) for s in SEGMENTS])
        for i in range(n)
    }
    return inputs, {name: drops.get(name, "") for name in inputs}


def expected(inputs, drops):
    """The sum in int64, modulo each entry's number: the largest is 12 * 2^40."""
    moduli = np.concatenate([np.full(s.length, s.modulus) for s in SEGMENTS])
    left = [x for name, x in inputs.items() if drops[name] != "before_upload"]
    return np.sum(left, axis=0) % moduli


def upload(sum_of, inputs, names):
    """As on another machine: the group travels there, and what it has collected back."""
    group = pickle.loads(pickle.dumps(sum_of.group(names)))
    for name in names:
        group.add(name, inputs[name])
    return pickle.loads(pickle.dumps(group.uploaded()))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_groups_sum_to_what_clients_sum_to(name):
    inputs, drops = cohort()
    sums = {}
    for size in (1, 5, 12):
        sums[size] = PROTOCOLS[name].start(SEGMENTS, drops, seed=(1, 1))
        names = list(inputs)
        for start in range(0, 12, size):
            there = names[start : start + size]
            sums[size].add_group(upload(sums[size], inputs, there))
    alone = PROTOCOLS[name].start(SEGMENTS, drops, seed=(1, 1))
    for client, vector in inputs.items():
        alone.add(client, vector)
    wanted = alone.finish()
    np.testing.assert_array_equal(wanted, expected(inputs, drops))
    times = {"secure_sum/seconds_per_client", "secure_sum/server_seconds"}
    for sum_of in sums.values():
        np.testing.assert_array_equal(sum_of.finish(), wanted)
        got, known = sum_of.metrics(), alone.metrics()
        assert {k: v for k, v in got.items() if k not in times} == {
            k: v for k, v in known.items() if k not in times
        }


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name != "plain"])
def test_what_leaves_a_group_is_masked(name):
    """Of one client's word under a mask the entries differ from the input's, all but by chance."""
    inputs, drops = cohort(drops={})
    sum_of = PROTOCOLS[name].start(SEGMENTS, drops)
    words = upload(sum_of, inputs, ["c0"]).words
    sent = np.concatenate([w.astype(np.int64) for w in words])
    # 20 bits in 32-bit words, 40 in 64: an entry is hit with 2^-9 or less; 3 of 54 never.
    assert np.sum(sent == inputs["c0"]) < 3


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_vector_that_does_not_fit_leaves_its_client_out(name):
    inputs, drops = cohort(drops={})
    sum_of = PROTOCOLS[name].start(SEGMENTS, drops)
    group = sum_of.group(list(inputs))
    bad = inputs["c3"].copy()
    bad[0] = 2**20
    for client, vector in inputs.items():
        if client == "c3":
            with pytest.raises(ValueError, match="must be in 0"):
                group.add(client, bad)
        else:
            group.add(client, vector)
    sum_of.add_group(group.uploaded())
    wanted = expected(inputs, {**drops, "c3": "before_upload"})
    np.testing.assert_array_equal(sum_of.finish(), wanted)


def test_a_group_that_was_lost_is_uploaded_again():
    """A worker died with it: what it had collected is gone, and its masks serve once more."""
    inputs, drops = cohort()
    sum_of = PROTOCOLS["secagg"].start(SEGMENTS, drops)
    sent = pickle.dumps(sum_of.group(list(inputs)))
    uploads = []
    for _ in range(2):
        group = pickle.loads(sent)
        for client, vector in inputs.items():
            group.add(client, vector)
        uploads.append(group.uploaded())
    for first, second in zip(uploads[0].words, uploads[1].words, strict=True):
        np.testing.assert_array_equal(first, second)
    sum_of.add_group(uploads[1])
    np.testing.assert_array_equal(sum_of.finish(), expected(inputs, drops))


def test_a_group_can_not_be_added_twice():
    inputs, drops = cohort()
    sum_of = PROTOCOLS["secagg"].start(SEGMENTS, drops)
    uploaded = upload(sum_of, inputs, list(inputs))
    sum_of.add_group(uploaded)
    with pytest.raises(stages.ProtocolError, match="an input came twice"):
        sum_of.add_group(uploaded)
    np.testing.assert_array_equal(sum_of.finish(), expected(inputs, drops))


def test_too_few_in_the_groups_abort_the_round():
    inputs, drops = cohort()
    sum_of = PROTOCOLS["secagg"].start(SEGMENTS, drops)
    sum_of.add_group(upload(sum_of, inputs, ["c0", "c2", "c3"]))
    with pytest.raises(stages.AbortedError, match=r"3 clients .*, 9 are needed"):
        sum_of.finish()
