"""Masks: AES-256-CTR's keystream, by another mode of the library and by published vectors."""

from concurrent import futures

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from scipy import stats

from tff_experiments.secure_sum import masks, vectors

KEY = bytes(range(32))
CHUNK = 512 * 1024  # Bytes; a part of the protocol, so written out here.
unhex = bytes.fromhex


def counter_mode(key, counter, size):
    return Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor().update(bytes(size))


def stream(key, run, chunk, size):
    """Chunk c of run r: the counter is r (4 bytes), c (8 bytes), and from 2 on (4 bytes)."""
    return counter_mode(key, run.to_bytes(4, "big") + chunk.to_bytes(8, "big") + b"\0\0\0\2", size)


def mask_of(layout, key=KEY, sign=1):
    words = layout.zeros()
    masks.add(words, layout, [(key, sign)])
    return words


def test_counter_mode_is_that_of_sp_800_38a():
    """Appendix F.5.5, CTR-AES256: the four blocks."""
    key = unhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    counter = unhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
    plain = unhex(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    )
    wanted = unhex(
        "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5"
        "2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6"
    )
    got = bytes(a ^ b for a, b in zip(counter_mode(key, counter, 64), plain, strict=True))
    assert got == wanted


def test_the_keystream_is_that_of_rfc_3686():
    """Its test vector 8 starts at block 1, ours at 2: its second block is our first."""
    key = unhex("f6d66d6bd52d59bb0796365879eff886c66dd51a5b6a99744b50590c87a23884")
    text = bytes(range(16, 32))
    wanted = unhex("b8306b508f839d6a5530831d9344af1c")
    got = masks._keystream(AESGCM(key), 0x00FAAC24, 0xC1585EF15A43D875, 16)
    assert bytes(a ^ b for a, b in zip(got[:16], text, strict=True)) == wanted


@pytest.mark.parametrize("modulus, dtype", [(2**20, "<u4"), (2**32, "<u4"), (2**62, "<u8")])
@pytest.mark.parametrize("more", [-1, 0, 1, CHUNK // 4])
def test_a_mask_is_the_keystream_chunk_by_chunk(modulus, dtype, more):
    itemsize = np.dtype(dtype).itemsize
    length = CHUNK // itemsize + more
    layout = vectors.Layout([vectors.Segment(length, modulus)])
    size = length * itemsize
    chunks = [stream(KEY, 0, c, min(CHUNK, size - c * CHUNK)) for c in range(-(-size // CHUNK))]
    wanted = np.frombuffer(b"".join(chunks), dtype) % modulus
    np.testing.assert_array_equal(layout.vector(mask_of(layout)), wanted)


def test_each_run_has_its_own_keystream():
    segments = [vectors.Segment(9, 2**32), vectors.Segment(9, 2**31), vectors.Segment(9, 2**32)]
    got = vectors.Layout(segments).vector(mask_of(vectors.Layout(segments)))
    wanted = [np.frombuffer(stream(KEY, run, 0, 36), "<u4") for run in range(3)]
    wanted[1] = wanted[1] % 2**31
    np.testing.assert_array_equal(got, np.concatenate(wanted))
    assert len(set(got.tolist())) == 27


def sampled(key, run, length, modulus, size):
    """Plain rejection: 64-bit words cut to the modulus's bits, those below it kept in order."""
    found, chunk, bits = [], 0, (modulus - 1).bit_length()
    while len(found) < length:
        words = np.frombuffer(stream(key, run, chunk, size), "<u8").tolist()
        found += [word % 2**bits for word in words if word % 2**bits < modulus]
        chunk += 1
    return found[:length]


@pytest.mark.parametrize("modulus", [3, 10, 2**31 + 11, 2**61 + 1, 2**62 - 57])
@pytest.mark.parametrize("length", [1, 7, 1000])
def test_other_moduli_reject_what_is_not_below(modulus, length):
    segments = [vectors.Segment(2, 4), vectors.Segment(length, modulus)]
    layout = vectors.Layout(segments)
    # 24 bytes an entry are drawn at once, a multiple of 64.
    size = -(-length * 24 // 64) * 64
    got = layout.vector(mask_of(layout))[2:]
    assert got.tolist() == sampled(KEY, 1, length, modulus, size)
    assert got.max() < modulus


def test_other_moduli_go_on_in_the_next_chunk():
    length = 100_000  # 5 of 8 words are kept: two chunks of 65,536 words and a part of a third.
    layout = vectors.Layout([vectors.Segment(length, 5)])
    assert layout.vector(mask_of(layout)).tolist() == sampled(KEY, 0, length, 5, CHUNK)


@pytest.mark.parametrize("modulus", [3, 10, 16, 100])
def test_entries_are_uniform(modulus):
    """Chi-square over 200,000 entries of each of 5 fixed keys; p < 1e-4 once in 2,000 lists."""
    layout = vectors.Layout([vectors.Segment(200_000, modulus)])
    for key in range(5):
        entries = layout.vector(mask_of(layout, bytes([key]) * 32))
        counts = np.bincount(entries, minlength=modulus)
        assert len(counts) == modulus
        assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("modulus", [1, 2, 3, 2**16, 2**32, 2**32 + 15, 2**62, 2**62 - 1])
def test_what_is_added_can_be_taken_off(modulus):
    layout = vectors.Layout([vectors.Segment(1000, modulus), vectors.Segment(3, 7)])
    moduli = np.array([modulus] * 1000 + [7] * 3)
    vector = np.random.default_rng(0).integers(0, moduli)
    for first in (1, -1):
        words = layout.words(vector)
        masks.add(words, layout, [(KEY, first)])
        assert modulus == 1 or (layout.vector(words) != vector).any()
        masks.add(words, layout, [(KEY, -first)])
        np.testing.assert_array_equal(layout.vector(words), vector)
    # A mask plus its negative is zero: what cancels between two clients.
    plus, minus = layout.vector(mask_of(layout)), layout.vector(mask_of(layout, sign=-1))
    np.testing.assert_array_equal((plus.astype(object) + minus) % moduli, np.zeros(1003, int))


def test_masks_of_another_key_share_nothing():
    layout = vectors.Layout([vectors.Segment(1000, 2**62)])
    one, other = (layout.vector(mask_of(layout, bytes([i]) * 32)) for i in range(2))
    assert not set(one.tolist()) & set(other.tolist())


def test_threads_get_what_one_gets():
    layout = vectors.Layout([vectors.Segment(300_000, 2**32), vectors.Segment(10_000, 10)])
    one = lambda i: layout.pack(mask_of(layout, bytes([i]) * 32))
    wanted = [one(i) for i in range(8)]
    with futures.ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, list(range(8)) * 4)) == wanted * 4
