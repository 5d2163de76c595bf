"""A round of each protocol: threads, vectors that do not fit, seeds, metrics, knobs."""

from concurrent import futures

import numpy as np
import pytest
from secagg_helpers import ACTIVE, PROTOCOLS, UPLOADED, draw, names, python_sum, summed

from tff_experiments import secure_sum
from tff_experiments.secure_sum import plain, secagg, secagg_plus, stages
from tff_experiments.secure_sum.vectors import Segment

ALL = {"plain": plain.build(plain.Hparams()), **PROTOCOLS}
UPLOADS = {"", "before_consistency", "before_unmasking"}
SECAGG = ("secagg_semi_honest", "secagg_active")


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
        assert metrics["secure_sum/survivors"] == (20 if stage in UPLOADED else 18)
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
    rounds = [wire(protocol, seed) for seed in ((1, 2), (1, 2), (1, 3), (2, 2), None, None)]
    assert rounds.pop(0) == rounds[0]
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


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("step", range(5))
@pytest.mark.parametrize("copies", [0, 2])
def test_messages_that_are_lost_or_come_twice_do_no_harm(name, step, copies):
    """One client's, to the server. Lost: it dropped out. Twice: the second is refused, and the
    server does not go on with who sent it.
    """

    def tamper(now, sender, recipient, message):
        return (message,) * (copies if (now, sender, recipient) == (step, 7, 0) else 1)

    vectors = {client: np.array([i]) for i, client in enumerate(names(20), 1)}
    sum_of = PROTOCOLS[name].start([Segment(1, 1000)], dict.fromkeys(vectors, ""), tamper=tamper)
    for client, vector in vectors.items():
        sum_of.add(client, vector)
    uploaded = step > stages.UPLOAD or (step == stages.UPLOAD and copies == 2)
    assert sum_of.finish().tolist() == [210 if uploaded else 203]
    twice = copies == 2 and (name in ACTIVE or step != stages.CONSISTENCY)
    assert [*sum_of.refusals] == [7] * twice
    assert not twice or "twice" in sum_of.refusals[7]


@pytest.mark.parametrize("name", ["secagg_plus_semi_honest", "secagg_plus_semi_malicious"])
def test_a_sum_that_lacks_shares_at_the_end_says_so(name):
    """Enough clients unmask, but not enough neighbours of each."""
    drops = {client: "before_unmasking" if i % 4 else "" for i, client in enumerate(names(20))}
    sum_of, _ = summed(ALL[name], [Segment(1, 2)], drops)
    with pytest.raises(stages.AbortedError, match=r"\d clients gave shares of a secret") as raised:
        sum_of.finish()
    assert raised.value.metrics["secure_sum/survivors"] == 20
