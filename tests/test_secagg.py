"""One contract for all protocols: the exact sum of those that uploaded, or a clean abort."""

from concurrent import futures

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from secagg_helpers import ACTIVE, PROTOCOLS, draw, names, python_sum

from tff_experiments import secure_sum
from tff_experiments.secure_sum import graph, plain, secagg, secagg_plus, stages
from tff_experiments.secure_sum.vectors import Segment

ALL = {"plain": plain.build(plain.Hparams()), **PROTOCOLS}
UPLOADS = {"", "before_consistency", "before_unmasking"}
SECAGG = ("secagg_semi_honest", "secagg_active")

moduli = st.one_of(
    st.integers(0, 62).map(lambda bits: 2**bits),
    st.integers(1, 2**62),
    st.sampled_from([3, 2**32 - 5, 2**62 - 1]),
)
segments = st.lists(st.builds(Segment, st.integers(0, 5), moduli), max_size=4)
seeds = st.integers(0, 2**16)


def summed(protocol, parts, drops, *, seed=0, **more):
    """What a round returns, and what it must return."""
    rng = np.random.default_rng(seed)
    vectors = {name: draw(parts, rng) for name in drops}
    sum_of = protocol.start(parts, drops, seed=(seed, 0), **more)
    for name, vector in vectors.items():
        sum_of.add(name, vector)
    wanted = python_sum([vectors[n] for n, stage in drops.items() if stage in UPLOADS], parts)
    return sum_of, wanted


def left(drops, stage):
    """Clients that take the step before which others drop at `stage`."""
    at = stages.STAGES.index(stage)
    return sum(not s or stages.STAGES.index(s) > at for s in drops.values())


def shortage(protocol, drops):
    """The step at which a round of SecAgg lacks clients, and how many it has; None if it opens.

    Bonawitz et al.: |U_1| .. |U_5| >= t, the semi-honest variant without U_4.
    """
    threshold = secagg.threshold(protocol._hparams, len(drops))
    for stage in stages.STAGES:
        if stage == "before_consistency" and protocol._hparams.variant == "semi_honest":
            continue
        have = left(drops, stage)
        if have < threshold:
            return stage, have, threshold
    return None


@pytest.mark.parametrize("name", SECAGG)
@settings(deadline=None, max_examples=150, derandomize=True)
@given(st.integers(0, 12), st.integers(0, 5), segments, seeds)
def test_any_dropouts_give_the_exact_sum_or_an_abort_that_counts(name, count, gone, parts, seed):
    protocol, rng = ALL[name], np.random.default_rng(seed)
    drops = dict.fromkeys(rng.permutation(names(count)).tolist(), "")
    drops.update({client: str(rng.choice(stages.STAGES)) for client in list(drops)[:gone]})
    drops = dict(sorted(drops.items()))
    lacks = shortage(protocol, drops)
    if lacks is None:
        sum_of, wanted = summed(protocol, parts, drops, seed=seed)
        got = sum_of.finish()
        assert got.tolist() == wanted and got.dtype == np.int64
        assert not sum_of.refusals
        return
    stage, have, need = lacks
    text = f"{have} clients were left {stage[len('before_') :]}, {need} are needed"
    with pytest.raises(stages.AbortedError, match=text):
        summed(protocol, parts, drops, seed=seed)[0].finish()


@pytest.mark.parametrize("name", SECAGG)
@pytest.mark.parametrize("stage", stages.STAGES)
@pytest.mark.parametrize("count", [1, 2, 3, 6, 10])
def test_exactly_t_open_the_sum_and_one_fewer_do_not(name, stage, count):
    """At the consistency step the semi-honest variant has nothing to do: they drop one later."""
    parts = [Segment(4, 2**20), Segment(1, 1000)]
    protocol = ALL[name]
    threshold = secagg.threshold(protocol._hparams, count)
    for have in (threshold, threshold - 1):
        stages_of = [stage] * (count - have) + [""] * have
        drops = dict(zip(names(count), stages_of, strict=True))
        if have == threshold:
            sum_of, wanted = summed(protocol, parts, drops)
            assert sum_of.finish().tolist() == wanted
        else:
            with pytest.raises(stages.AbortedError, match=f"{have} clients .* {threshold} are"):
                summed(protocol, parts, drops)[0].finish()


@pytest.mark.parametrize("threshold", [0.67, 0.9, 1.0])
def test_a_threshold_of_ones_own_is_kept_for_any_number_of_clients(threshold):
    for variant, bound in (("active", 2 / 3), ("semi_honest", 1 / 2)):
        hparams = secagg.Hparams(variant=variant, threshold=threshold)
        for count in range(1, 100):
            t = secagg.threshold(hparams, count)
            assert bound * count < t <= count and t >= threshold * count - 1e-9
    default = [secagg.threshold(secagg.Hparams(), count) for count in (1, 2, 3, 4, 10, 1000)]
    assert default == [1, 2, 3, 3, 7, 667]


@pytest.mark.parametrize("name", ["secagg_plus_semi_honest", "secagg_plus_semi_malicious"])
@settings(deadline=None, max_examples=25, derandomize=True)
@given(st.data(), segments, seeds)
def test_secagg_plus_is_exact_up_to_its_dropout_rate(name, data, parts, seed):
    """20 to 40 clients on a ring, 15 % of them gone at any stage."""
    count = data.draw(st.integers(20, 40))
    gone = data.draw(st.lists(st.sampled_from(stages.STAGES), max_size=graph.most(0.15, count)))
    order = np.random.default_rng(seed).permutation(names(count)).tolist()
    drops = dict.fromkeys(names(count), "")
    drops.update(zip(order, gone, strict=False))
    assert ALL[name].parameters(count).degree < count - 1
    sum_of, wanted = summed(ALL[name], parts, drops, seed=seed)
    # The graph itself is random: it does not open with a probability of 2^-10 (a fixed seed).
    assert sum_of.finish().tolist() == wanted
    assert not sum_of.refusals


@pytest.mark.parametrize("name", ["secagg_plus_semi_honest", "secagg_plus_semi_malicious"])
@pytest.mark.parametrize("stage", stages.STAGES[:3])
def test_secagg_plus_aborts_beyond_its_dropout_rate(name, stage):
    """Its graph hides if at most 15 % drop out: 3 of 20; the paper's server stops, too."""
    drops = dict(zip(names(20), [stage] * 4 + [""] * 16, strict=True))
    with pytest.raises(stages.AbortedError, match=r"16 clients were left .* 17 are needed"):
        summed(ALL[name], [Segment(1, 2)], drops)[0].finish()


@pytest.mark.parametrize(
    "adversary, count, rate, threshold",
    [("semi_honest", 10, 0.4, 5), ("semi_malicious", 20, 0.3, 13)],
)
def test_where_all_are_neighbours_the_threshold_alone_counts(adversary, count, rate, threshold):
    """Of each client t neighbours must be left, so t + 1 clients: more may drop out than said."""
    hparams = secagg_plus.Hparams(adversary, corrupt_rate=rate, max_dropout_rate=rate)
    protocol = secagg_plus.build(hparams)
    assert protocol.parameters(count) == (count - 1, threshold)
    for have in (threshold + 1, threshold):
        stages_of = ["before_upload"] * (count - have) + [""] * have
        drops = dict(zip(names(count), stages_of, strict=True))
        sum_of, wanted = summed(protocol, [Segment(3, 10)], drops)
        if have > threshold:
            assert sum_of.finish().tolist() == wanted
        else:
            with pytest.raises(stages.AbortedError):
                sum_of.finish()


def test_secagg_plus_of_too_few_clients_says_so():
    with pytest.raises(stages.AbortedError, match="no graph for 2 clients"):
        ALL["secagg_plus_semi_malicious"].start([Segment(1, 2)], {"a": "", "b": ""})


@pytest.mark.parametrize("name", ALL)
def test_clients_may_be_added_from_many_threads(name):
    parts = [Segment(1000, 2**20), Segment(1000, 1000)]
    rng = np.random.default_rng(0)
    vectors = {client: draw(parts, rng) for client in names(24)}
    sum_of = ALL[name].start(parts, dict.fromkeys(vectors, ""))
    with futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda item: sum_of.add(*item), vectors.items()))
    assert sum_of.finish().tolist() == python_sum(vectors.values(), parts)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("stage", stages.STAGES)
def test_who_drops_before_the_upload_is_not_in_the_sum(name, stage):
    """Vectors of clients that have dropped may be added: they stay out."""
    drops = dict.fromkeys(names(20), "")
    drops["client5"] = drops["client20"] = stage
    sum_of, wanted = summed(ALL[name], [Segment(7, 2**40)], drops)
    assert sum_of.finish().tolist() == wanted
    if name != "plain":
        metrics = sum_of.metrics()
        assert metrics["secure_sum/clients"] == 20
        assert metrics["secure_sum/survivors"] == (20 if stage in UPLOADS else 18)
        assert metrics["secure_sum/refusals"] == 0


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "vector",
    [np.zeros(4, np.int64), np.zeros(3), np.zeros((3, 1), np.int64), np.array([0, 0, 10]),
     np.array([0, -1, 0])],
)  # fmt: skip
def test_a_vector_that_does_not_fit_is_refused(name, vector):
    sum_of = ALL[name].start([Segment(3, 10)], dict.fromkeys(names(20), ""))
    with pytest.raises(ValueError, match="vector"):
        sum_of.add("client1", vector)
    for client in names(20)[1:]:
        sum_of.add(client, np.array([1, 2, 9]))
    assert sum_of.finish().tolist() == [9, 8, 1]


@pytest.mark.parametrize("name", ALL)
def test_an_unknown_stage_is_refused(name):
    with pytest.raises(ValueError, match="got 'later'"):
        ALL[name].start([Segment(1, 2)], {**dict.fromkeys(names(20), ""), "x": "later"})


def wire(protocol, seed):
    """Everything that is sent, in order."""
    seen = []

    def listen(*message):
        seen.append(message)
        return (message[-1],)

    sum_of = protocol.start(
        [Segment(5, 100)], dict.fromkeys(names(20), ""), seed=seed, tamper=listen
    )
    for i, client in enumerate(names(20)):
        sum_of.add(client, np.arange(5) + i)
    sum_of.finish()
    return seen


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_seed_makes_a_round_repeatable_to_the_byte(name):
    protocol = ALL[name]
    assert wire(protocol, (1, 2)) == wire(protocol, (1, 2))
    rounds = [wire(protocol, seed) for seed in ((1, 2), (1, 3), (2, 2), None, None)]
    for step, start in ((stages.ADVERTISE, 22), (stages.UPLOAD, 22)):
        sent = [
            message[start:] for seen in rounds for s, _, to, message in seen if (s, to) == (step, 0)
        ]
        # Neither keys nor masked vectors come twice: 5 rounds of 20 clients.
        assert len(set(sent)) == len(sent) == 100
    assert len({seen[0][-1][3:19] for seen in rounds}) == 5  # The sessions.


@pytest.mark.parametrize("name", PROTOCOLS)
def test_bytes_are_counted_as_they_are_sent(name):
    drops = dict.fromkeys(names(20), "")
    sent = {0: 0, 1: 0}

    def listen(step, sender, recipient, message):
        sent[min(recipient, 1)] += len(message)
        return (message,)

    sum_of, _ = summed(ALL[name], [Segment(100, 2**20)], drops, tamper=listen)
    sum_of.finish()
    metrics = sum_of.metrics()
    assert metrics["secure_sum/upload_bytes_per_client"] == sent[0] / 20
    assert metrics["secure_sum/download_bytes_per_client"] == sent[1] / 20
    assert metrics["secure_sum/seconds_per_client"] > 0 < metrics["secure_sum/server_seconds"]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_an_aborted_round_has_metrics(name):
    drops = {client: "before_unmasking" if i > 1 else "" for i, client in enumerate(names(20))}
    sum_of, _ = summed(ALL[name], [Segment(1, 2)], drops)
    with pytest.raises(stages.AbortedError) as raised:
        sum_of.finish()
    assert raised.value.metrics["secure_sum/survivors"] == 20


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_sum_is_opened_once(name):
    sum_of, wanted = summed(ALL[name], [Segment(3, 100)], dict.fromkeys(names(20), ""))
    assert sum_of.finish().tolist() == wanted
    with pytest.raises(stages.ProtocolError, match="once"):
        sum_of.finish()


@pytest.mark.parametrize("knobs", [{"variant": "malicious"}, {"threshold": 2 / 3},
                                   {"threshold": 1.01}, {"threshold": -1.0},
                                   {"threshold": float("nan")},
                                   {"variant": "semi_honest", "threshold": 0.5}])  # fmt: skip
def test_knobs_of_secagg_that_would_not_hide_are_refused(knobs):
    with pytest.raises(ValueError, match="got"):
        secagg.Hparams(**knobs)


@pytest.mark.parametrize("knobs", [{"adversary": "semi-malicious"}, {"corrupt_rate": 1.0},
                                   {"corrupt_rate": -0.1}, {"max_dropout_rate": float("nan")},
                                   {"security_bits": 0}, {"correctness_bits": -1}])  # fmt: skip
def test_knobs_of_secagg_plus_that_would_not_hide_are_refused(knobs):
    with pytest.raises(ValueError, match="got"):
        secagg_plus.Hparams(**knobs)


def test_what_is_secure_says_so():
    for name, module in secure_sum.BY_NAME.items():
        assert module.build(module.Hparams()).is_secure == (name != "plain")
    assert {name for name in PROTOCOLS if "active" in name or "malicious" in name} == set(ACTIVE)


@pytest.mark.parametrize(
    "bits, length, wanted", [(10, 2**20, "1.73"), (14, 2**24, "1.98"), (14, 2**20, "3.62")]
)
def test_the_papers_communication_expansion(bits, length, wanted):
    """Bonawitz et al., section 1: a user's bits over those of its plain vector of 16-bit entries.
    Keys and shares are 256 bits: 2 n keys, 5 n - 4 shares, and m entries of ceil(log2(n (2^16 - 1)
    + 1)) bits.
    """
    n = 2**bits
    entry = (n * (2**16 - 1)).bit_length()
    sent = 2 * n * 256 + (5 * n - 4) * 256 + length * entry
    assert f"{sent / (16 * length):.2f}" == wanted
