"""What the server sees: exactly, over all masks, and by statistics of real rounds."""

import collections
import itertools

import numpy as np
import pytest
from scipy import stats
from secagg_helpers import (
    PROTOCOLS,
    UPLOAD,
    Parties,
    names,
)

from tff_experiments.secure_sum import (
    client,
    keys,
    masks,
    messages,
    vectors,
)
from tff_experiments.secure_sum.vectors import Segment

PAIRS, SELVES = ((1, 2), (1, 3), (2, 3)), (1, 2, 3)


def masked_inputs(monkeypatch):
    """(client, input, masks that it knows) -> its masked input, by the client's own code.

    Ideal masks, entries modulo 4 from a table, stand in place of the generator.
    """
    ideal = {}

    def add(words, layout, signed_keys):
        for key, sign in signed_keys:
            words[0] = (words[0] + np.uint32(4 + sign * ideal[key])) % np.uint32(4)

    monkeypatch.setattr(masks, "add", add)
    monkeypatch.setattr(keys, "derive", lambda secret, purpose, session, *who: who)
    monkeypatch.setattr(keys, "agree", lambda private, public: b"")
    session = Parties(3, 3, active=False, segments=[Segment(1, 4)])
    found = {}
    for i, party in session.clients.items():
        party._neighbours = [v for v in SELVES if v != i]
        party._public = sealed = dict.fromkeys(party._neighbours, bytes(client.SEALED_SIZE))
        party._seed, party._masking = b"", None
        message = messages.encode(UPLOAD, session.config.session, messages.table(sealed))
        mine = [*(pair for pair in PAIRS if i in pair), (i,)]
        for x, *drawn in itertools.product(range(4), repeat=4):
            ideal.update(zip(mine, drawn, strict=True))
            party._next_step = UPLOAD
            answer = party.masked_input(message, np.array([x]))
            found[i, x, *drawn] = Parties.body(answer)[0]
    return found


def test_views_depend_on_the_sum_alone_exactly(monkeypatch):
    """All inputs of 3 clients modulo 4 and all 4^6 masks. The server sees the masked inputs and, as
    nobody drops, the self masks. Inputs of one sum give each view as often as one another; inputs
    of different sums have no view in common.
    """
    y = masked_inputs(monkeypatch)
    seen = collections.defaultdict(collections.Counter)
    for x1, x2, x3 in itertools.product(range(4), repeat=3):
        for p12, p13, p23, *b in itertools.product(range(4), repeat=6):
            view = y[1, x1, p12, p13, b[0]], y[2, x2, p12, p23, b[1]], y[3, x3, p13, p23, b[2]]
            seen[x1, x2, x3][*view, *b] += 1
    by_sum = collections.defaultdict(list)
    for inputs, counts in seen.items():
        by_sum[sum(inputs) % 4].append(counts)
    for alike in by_sum.values():
        assert len(alike) == 16 and all(counts == alike[0] for counts in alike)
        # Uniform over what fits the sum: y_1 and y_2 are free, y_3 follows.
        assert set(alike[0].values()) == {4} and len(alike[0]) == 4**5
    for one, other in itertools.combinations(by_sum.values(), 2):
        assert not one[0].keys() & other[0].keys()


@pytest.mark.parametrize("name", PROTOCOLS)
def test_masked_inputs_are_uniform(name):
    """20 vectors of 60,000 zeros modulo 256 and 10: chi-square of fixed keys, 255 and 9 degrees."""
    parts = [Segment(50_000, 256), Segment(10_000, 10)]
    layout, seen = vectors.Layout(parts), []

    def listen(step, sender, recipient, message):
        if (step, recipient) == (UPLOAD, 0):
            seen.append(layout.vector(layout.unpack(Parties.body(message))))
        return (message,)

    sum_of = PROTOCOLS[name].start(parts, dict.fromkeys(names(20), ""), seed=(0, 0), tamper=listen)
    for i in names(20):
        sum_of.add(i, np.zeros(60_000, np.int64))
    entries = np.stack(seen)
    assert stats.chisquare(np.bincount(entries[:, :50_000].ravel())).pvalue > 1e-3
    assert stats.chisquare(np.bincount(entries[:, 50_000:].ravel())).pvalue > 1e-3
    # And of each other: all pairs' differences would be zero without pairwise masks.
    assert stats.chisquare(np.bincount((entries[0] - entries[1])[:50_000] % 256)).pvalue > 1e-3
    assert not sum_of.finish().any()


def test_rounds_of_equal_sums_look_alike():
    """160 rounds each of inputs (0, 0, 0) and (3, 1, 0) modulo 4, other keys in each: the pairs
    (y_1, y_2) in a two-sample chi-square of 15 degrees. (A weak generator would pass this; the test
    of where keys come from is below.)
    """
    counts = np.zeros((2, 16))
    protocol = PROTOCOLS["secagg_semi_honest"]
    for which, inputs in enumerate([(0, 0, 0), (3, 1, 0)]):
        for r in range(160):
            seen = {}

            def listen(step, sender, recipient, message, seen=seen):
                if (step, recipient) == (UPLOAD, 0):
                    seen[sender] = Parties.body(message)[0]
                return (message,)

            sum_of = protocol.start(
                [Segment(1, 4)], dict.fromkeys("abc", ""), seed=(which, r), tamper=listen
            )
            for name, value in zip("abc", inputs, strict=True):
                sum_of.add(name, np.array([value]))
            counts[which, 4 * seen[1] + seen[2]] += 1
    assert stats.chi2_contingency(counts)[1] > 1e-3
