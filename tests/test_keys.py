"""Keys: published vectors through our functions, and no key that serves two purposes."""

import hashlib
import hmac
import itertools

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tff_experiments.secure_sum import keys, stages

unhex = bytes.fromhex


def drawn(data):
    """A source that gives these bytes."""
    return lambda size: data[:size]


# RFC 7748, section 5.2 and 6.1: scalar, coordinate, result.
ALICE = unhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
ALICE_PUBLIC = unhex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
BOB = unhex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb")
BOB_PUBLIC = unhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
SHARED = unhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
X25519 = [
    (ALICE, BOB_PUBLIC, SHARED),
    (BOB, ALICE_PUBLIC, SHARED),
    (
        unhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
        unhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"),
        unhex("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"),
    ),
    (
        unhex("4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d"),
        # Its top bit is set, which X25519 ignores.
        unhex("e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493"),
        unhex("95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957"),
    ),
]
# RFC 8032, section 7.1, tests 1 to 3: secret key, public key, message, signature.
ED25519 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555"
        "fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]
# RFC 5869, A.1 and A.3: input, salt, info, output of 42 bytes.
HKDF_SHA256 = [
    (
        "0b" * 22,
        "000102030405060708090a0b0c",
        "f0f1f2f3f4f5f6f7f8f9",
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        "0b" * 22,
        "",
        "",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
]
# Points whose order divides 8, and the ways to write them that 255 or 256 bits leave.
ORDER_8 = [
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
]
P = 2**255 - 19
SMALL_ORDER = [int.from_bytes(unhex(text), "little") for text in ORDER_8]
SMALL_ORDER += [0, 1, P - 1, P, P + 1]


def hkdf(secret, salt, info, size):
    """RFC 5869, section 2, from HMAC."""
    key = hmac.digest(salt or bytes(32), secret, hashlib.sha256)
    out = block = b""
    for i in itertools.count(1):
        if len(out) >= size:
            return out[:size]
        block = hmac.digest(key, block + info + bytes([i]), hashlib.sha256)
        out += block


@pytest.mark.parametrize("private, public, wanted", X25519)
def test_agreement_is_that_of_rfc_7748(private, public, wanted):
    assert keys.agree(keys.private_key(drawn(private)), keys.public_key(public)) == wanted


@pytest.mark.parametrize("private, public", [(ALICE, ALICE_PUBLIC), (BOB, BOB_PUBLIC)])
def test_public_keys_are_those_of_rfc_7748(private, public):
    assert keys.private_key(drawn(private)).public_key().public_bytes_raw() == public


@pytest.mark.parametrize("top_bit", [0, 1])
@pytest.mark.parametrize("point", SMALL_ORDER)
def test_a_key_of_small_order_is_refused(point, top_bit):
    """The secret would be zero, whatever the private key."""
    public = keys.public_key((point + (top_bit << 255)).to_bytes(32, "little"))
    with pytest.raises(stages.ProtocolError, match="small order"):
        keys.agree(keys.private_key(drawn(ALICE)), public)


@pytest.mark.parametrize("data", [b"", bytes(31), bytes(33), "0" * 32, None, 7, bytearray(32)])
def test_what_is_no_public_key_is_refused(data):
    with pytest.raises(stages.ProtocolError, match="32 bytes"):
        keys.public_key(data)


@pytest.mark.parametrize("vector", ED25519)
def test_signatures_are_those_of_rfc_8032(vector):
    secret, public, message, signature = map(unhex, vector)
    key = keys.signing_key(drawn(secret))
    assert key.public_key().public_bytes_raw() == public
    assert key.sign(message) == signature
    keys.verify(key.public_key(), signature, message)
    altered = [(message + b"0", signature), (message, signature[:-1]), (message, bytes(64))]
    altered += [(message, bytes([signature[0] ^ 1]) + signature[1:])]
    for text, other in altered:
        with pytest.raises(stages.ProtocolError, match="signature"):
            keys.verify(key.public_key(), other, text)


@pytest.mark.parametrize("vector", HKDF_SHA256)
def test_the_librarys_hkdf_and_this_files_are_rfc_5869(vector):
    secret, salt, info, wanted = map(unhex, vector)
    assert HKDF(hashes.SHA256(), 42, salt, info).derive(secret) == wanted
    assert hkdf(secret, salt, info, 42) == wanted


def test_derived_keys_are_hkdf_of_all_that_they_are_for():
    info = b"tff-experiments/pair/" + b"s" * 16 + b"\0\0\0\7\0\0\1\2"
    assert keys.derive(SHARED, b"pair", b"s" * 16, 7, 258) == hkdf(SHARED, b"", info, 32)


def test_sealing_is_aes_256_gcm():
    """McGrew and Viega's test case 14 has our nonce, zero; NIST's CAVP file has others."""
    wanted = "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"
    assert keys.seal(bytes(32), bytes(16), b"") == unhex(wanted)
    # gcmEncryptExtIV256, IV 96, plaintext 408, no additional data, count 0.
    key = unhex("1fded32d5999de4a76e0f8082108823aef60417e1896cf4218a2fa90f632ec8a")
    text = unhex(
        "06b2c75853df9aeb17befd33cea81c630b0fc53667ff45199c629c8e15dce41e530aa792f796b8138eeab2e8"
        "6c7b7bee1d40b0"
    )
    wanted = unhex(
        "91fbd061ddc5a7fcc9513fcdfdc9c3a7c5d4d64cedf6a9c24ab8a77c36eefbf1c5dc00bc50121b96456c8cd8"
        "b6ff1f8b3e480f" + "30096d340f3d5c42d82a6f475def23eb"
    )
    assert AESGCM(key).encrypt(unhex("1f3afa4711e9474f32e70462"), text, b"") == wanted


def test_what_was_sealed_opens_only_unaltered_and_in_its_context():
    sealed = keys.seal(ALICE, b"text", b"context")
    assert keys.unseal(ALICE, sealed, b"context") == b"text"
    flipped = [bytes(b ^ (i == j) for j, b in enumerate(sealed)) for i in range(len(sealed))]
    wrong = [(ALICE, text, b"context") for text in [*flipped, sealed[:-1], b""]]
    wrong += [(BOB, sealed, b"context"), (ALICE, sealed, b"other")]
    for key, text, context in wrong:
        with pytest.raises(stages.ProtocolError, match="altered"):
            keys.unseal(key, text, context)


def test_each_purpose_session_and_pair_has_a_key_of_its_own():
    purposes, sessions = [b"share", b"pair", b"self"], [bytes(16), b"1" * 16]
    pairs = [(1,), (2,), (1, 2), (2, 1), (1, 3), (256, 2), (1, 513), (65536, 1)]
    combinations = list(itertools.product([SHARED, ALICE], purposes, sessions, pairs))
    derived = {keys.derive(s, p, session, *pair) for s, p, session, pair in combinations}
    assert len(derived) == len(combinations)
    assert {len(key) for key in derived} == {32}


def test_repeatable_sources_repeat_and_differ_by_seed_and_context():
    contexts = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 10), (0, 1), (-1, 0)]
    streams = {context: keys.seeded_random(*context)(64) for context in contexts}
    assert len(set(streams.values())) == len(contexts)
    for context, stream in streams.items():
        again = keys.seeded_random(*context)
        assert again(5) + again(59) == stream
    assert keys.system_random(32) != keys.system_random(32)
