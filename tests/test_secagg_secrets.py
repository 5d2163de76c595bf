"""Where secrets come from, that none serves twice, and that none is in the text of an error."""

import ast
import collections
import itertools
import pathlib

import numpy as np
import pytest
from secagg_helpers import (
    PROTOCOLS,
    names,
)

from tff_experiments import secure_sum
from tff_experiments.secure_sum import (
    keys,
    masks,
    secagg,
    shamir,
    stages,
)
from tff_experiments.secure_sum.vectors import Segment

ROOM = pathlib.Path(secure_sum.__file__).parent


@pytest.mark.parametrize("path", sorted(ROOM.glob("*.py")), ids=lambda path: path.name)
def test_no_other_randomness_than_what_is_injected(path):
    """No generator of numpy's or Python's, no clock but for metrics."""
    tree = ast.parse(path.read_text())
    imported, dotted = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported |= {node.module.split(".")[0]}
        elif isinstance(node, ast.Attribute):
            dotted.add(ast.unparse(node))
    assert not imported & {"random", "uuid", "datetime"}
    assert not [name for name in dotted if name.startswith(("np.random", "numpy.random"))]
    assert {name for name in dotted if name.startswith("time.")} <= {"time.thread_time"}
    # The system's randomness enters at two places, simulated randomness at one.
    assert "os.urandom" not in dotted or path.name == "keys.py"
    assert "secrets" not in imported or path.name == "secagg.py"
    assert "keys.seeded_random" not in dotted or path.name == "secagg.py"


@pytest.mark.parametrize("name", PROTOCOLS)
def test_masks_keys_come_from_hkdf_and_serve_one_vector(name, monkeypatch):
    """Each key of 32 bytes is one that `keys.derive` gave; a client uses none twice, nor do two."""
    derived, used = set(), collections.Counter()
    derive, add = keys.derive, masks.add
    monkeypatch.setattr(keys, "derive", lambda *a: derived.add(key := derive(*a)) or key)
    monkeypatch.setattr(
        masks,
        "add",
        lambda w, lo, signed_keys: used.update(signed_keys) or add(w, lo, signed_keys),
    )
    for _ in range(2):
        sum_of = PROTOCOLS[name].start([Segment(1, 2)], dict.fromkeys(names(20), ""))
        for i in names(20):
            sum_of.add(i, np.array([1]))
        sum_of.finish()
    assert {len(key) for key, _ in used} == {32}
    assert {key for key, _ in used} <= derived
    # Each mask is added once and taken off once: by its other end, or at last by the server.
    assert set(used.values()) == {1}
    assert {key for key, sign in used if sign > 0} == {key for key, sign in used if sign < 0}


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("seed", [None, (0, 0)])
def test_nothing_random_is_drawn_twice(name, seed, monkeypatch):
    """Not by two parties, not for two purposes; of a repeatable source neither."""
    drawn, source = [], keys.seeded_random
    listen = lambda inner: lambda size: drawn.append(data := inner(size)) or data
    monkeypatch.setattr(keys, "seeded_random", lambda *a: listen(source(*a)))
    monkeypatch.setattr(secagg.secrets, "token_bytes", listen(keys.system_random))
    PROTOCOLS[name].start([Segment(1, 2)], dict.fromkeys(names(20), ""), seed=seed)
    pieces = [data[:16] for data in drawn]
    assert len(set(pieces)) == len(pieces) > 20 * 4


def texts_of(error):
    """Of an error, and of those behind it."""
    while error:
        yield from (str(error), repr(error), *map(repr, error.args))
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("name", PROTOCOLS)
def test_no_secret_is_in_the_text_of_an_error(name, monkeypatch):
    """Every 41st message of a round is altered, at two places; all that is secret is recorded:
    what is drawn, agreed on, derived or shared, and the inputs.
    """
    secrets, texts, source = set(), set(), keys.seeded_random
    derive, agree, split = keys.derive, keys.agree, shamir.split
    keep = lambda data: secrets.add(data) or data

    def drawing(*context):
        inner = source(*context)
        return lambda size: keep(inner(size))

    monkeypatch.setattr(keys, "seeded_random", drawing)
    monkeypatch.setattr(keys, "derive", lambda *a: keep(derive(*a)))
    monkeypatch.setattr(keys, "agree", lambda *a: keep(agree(*a)))
    monkeypatch.setattr(shamir, "split", lambda *a: [keep(share) for share in split(*a)])
    drops = {**dict.fromkeys(names(20), ""), "client3": "before_upload"}
    # About 140 messages are sent without signatures, 180 with them.
    for number, place in itertools.product(range(0, 180, 41), (30, -1)):
        passing, sum_of = itertools.count(), None

        def tamper(step, sender, recipient, message, number=number, place=place, passing=passing):
            if next(passing) != number:
                return (message,)
            at = place % len(message)
            return (message[:at] + bytes([message[at] ^ 1]) + message[at + 1 :],)

        try:
            sum_of = PROTOCOLS[name].start([Segment(2, 2**62)], drops, seed=(0, 0), tamper=tamper)
            for i in drops:
                sum_of.add(i, np.array([123456789012345678, 9]))
            sum_of.finish()
        except (stages.ProtocolError, stages.AbortedError) as error:
            texts |= set(texts_of(error))
        texts |= set(sum_of.refusals.values() if sum_of else ())
    shown = "|".join(texts)
    assert len(texts) >= 3
    for secret in secrets:
        if len(secret) >= 16:
            assert secret.hex() not in shown and repr(secret)[2:-1] not in shown
    assert "123456789012345678" not in shown
