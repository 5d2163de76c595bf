"""Paillier: packing, and what is refused."""

import numpy as np
import pytest

from tff_experiments.secure_sum import paillier, stages, vectors

HPARAMS = paillier.Hparams(key_bits=2048)


def layout(length, bits):
    return vectors.Layout([vectors.Segment(length, 2**bits)])


def test_long_vectors_are_refused_unless_forced():
    with pytest.raises(ValueError, match=r"paillier takes minutes for a vector of 20001; .* force"):
        paillier.choose(HPARAMS, layout(20_001, 20), 10)
    paillier.choose(HPARAMS, layout(20_000, 20), 10)
    forced = paillier.Hparams(key_bits=2048, force=True)
    paillier.choose(forced, layout(10**6, 20), 10)


def test_bad_knobs_are_refused():
    for bits in (1024, 3071):
        with pytest.raises(ValueError, match="key_bits must be even and >= 2048"):
            paillier.Hparams(key_bits=bits)
    with pytest.raises(ValueError, match="max_length"):
        paillier.Hparams(max_length=0)


def test_limbs_fill_a_ciphertext():
    largest, scheme = paillier.choose(paillier.Hparams(), layout(10_000, 20), 64)
    assert largest >= 2**20 - 1 and scheme.slots == 3070 // 26


def test_the_largest_sums_stay_in_their_slots():
    largest, scheme = paillier.choose(HPARAMS, layout(200, 20), 50)
    secret, public = scheme.generate()
    adder, encrypt = scheme.adder(public), scheme.encryptor(public)
    rows = [np.full(scheme.slots, largest), np.arange(scheme.slots)]
    first, total = (adder.load(encrypt(row)) for row in rows)
    for _ in range(49):
        total = adder.add(total, first)
    wanted = 49 * rows[0] + rows[1]
    np.testing.assert_array_equal(scheme.decrypt(secret, adder.save(total)), wanted)


def test_what_is_no_ciphertext_is_refused():
    scheme = paillier.Scheme(2048, 30)
    secret, public = scheme.generate()
    adder = scheme.adder(public)
    text = scheme.encryptor(public)(np.array([1]))
    n = int.from_bytes(public, "big")
    as_bytes = lambda value: value.to_bytes(len(text), "big")
    for bad in (
        b"", text[1:], text + b"1", as_bytes(0), as_bytes(1), as_bytes(n), as_bytes(secret.p),
        b"\xff" * len(text),
    ):  # fmt: skip
        with pytest.raises(stages.ProtocolError, match="can't be read"):
            adder.load(bad)
    with pytest.raises(stages.ProtocolError, match="2048 bits"):
        scheme.encryptor(public[1:])
