"""SEAL's keys and ciphertexts as bytes: what is none is refused, whatever it is."""

import os

import numpy as np
import pytest
from test_bfv import layout

from tff_experiments.secure_sum import bfv, ckks, seal, stages


@pytest.fixture(params=[bfv, ckks], ids=["bfv", "ckks"])
def scheme(request):
    return request.param.choose(layout(10, 20), 10)[1]


def test_a_ciphertext_comes_back_from_bytes(scheme):
    secret, public = scheme.generate()
    limbs = np.arange(scheme.slots)
    text = scheme.encryptor(public)(limbs)
    again = scheme.save(scheme.load(text))
    np.testing.assert_array_equal(scheme.decrypt(secret, again), limbs)
    assert scheme.adder(public) is scheme
    # Fewer limbs than slots: the rest are zeros.
    short = scheme.decrypt(secret, scheme.encryptor(public)(np.array([5, 6, 7])))
    assert short[:3].tolist() == [5, 6, 7] and not short[3:].any()


def test_encryption_is_random(scheme):
    _, public = scheme.generate()
    encrypt = scheme.encryptor(public)
    assert encrypt(np.array([1])) != encrypt(np.array([1]))
    assert scheme.generate()[1] != public


def test_altered_bytes_are_refused_or_a_ciphertext(scheme):
    """Nothing else is raised, and nothing crashes: 300 alterations, most of the headers."""
    rng, (secret, public) = np.random.default_rng(0), scheme.generate()
    text = scheme.encryptor(public)(np.arange(10))
    refused = 0
    for i in range(300):
        data = bytearray(text)
        place = rng.integers(len(data) if i % 3 else 120)
        data[place] ^= 1 << rng.integers(8)
        if i % 10 == 0:
            data = data[:place]
        try:
            scheme.decrypt(secret, bytes(data))
        except stages.ProtocolError:
            refused += 1
    assert refused > 60


def test_what_is_no_ciphertext_is_refused(scheme):
    secret, public = scheme.generate()
    text = scheme.encryptor(public)(np.arange(10))
    for bad in (b"", b"x", os.urandom(len(text)), text[:-1], text + bytes(70_000), public):
        with pytest.raises(stages.ProtocolError):
            scheme.load(bad)
    # A ciphertext of CKKS has the form of a public key: it is the signature that tells.
    for bad in (b"", os.urandom(len(public)), public[:-1]):
        with pytest.raises(stages.ProtocolError):
            scheme.encryptor(bad)
    # The secret key is no ciphertext either.
    with pytest.raises(stages.ProtocolError):
        scheme.load(seal.to_bytes(secret))


def test_ciphertexts_of_the_other_scheme_or_of_three_parts_are_refused():
    ours, other = (module.choose(layout(10, 20), 10)[1] for module in (bfv, ckks))
    text = other.encryptor(other.generate()[1])(np.arange(10))
    with pytest.raises(stages.ProtocolError):
        ours.load(text)
    _, public = ours.generate()
    ciphertext = ours.load(ours.encryptor(public)(np.arange(10)))
    product = ours._seal.Ciphertext()
    ours._evaluator.multiply(ciphertext, ciphertext, product)
    assert product.size() == 3
    with pytest.raises(stages.ProtocolError):
        ours.load(seal.to_bytes(product))
