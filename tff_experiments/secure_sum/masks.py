"""Masks: a 32-byte key becomes a vector that is uniform to whoever lacks the key.

The generator is AES-256-GCM's keystream over zeros, its tag dropped: counter mode, as NIST SP
800-38A has it, at the speed of the library's fastest code. A key serves one vector; run r and chunk
c of it have the nonce r || c, so that no counter block is used twice. Entries modulo 2^b are words
of keystream; other moduli m reject what is not below m, for exact uniformity.

The two ends of a pair must take the same chunks: `_CHUNK` is part of the protocol.
"""

import threading
from collections.abc import Iterable, Sequence

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tff_experiments.secure_sum import vectors

_CHUNK = 1 << 19  # Bytes. Fits a core's cache: generated, then added.
_TAG = 16
_ZEROS = memoryview(bytes(_CHUNK))


class _Buffer(threading.local):
    """Where a thread's keystream goes: a new one each time would be page faults."""

    def __init__(self):
        self.view = memoryview(bytearray(_CHUNK + _TAG))


_buffer = _Buffer()


def _keystream(cipher: AESGCM, run: int, chunk: int, size: int) -> memoryview:
    """`size` bytes, valid until this thread's next call."""
    out = _buffer.view[: size + _TAG]
    nonce = run.to_bytes(4, "big") + chunk.to_bytes(8, "big")
    cipher.encrypt_into(nonce, _ZEROS[:size], None, out)
    return out


def add(
    words: Sequence[np.ndarray], layout: vectors.Layout, signed_keys: Iterable[tuple[bytes, int]]
) -> None:
    """Adds keys' masks to words, in place.

    Args:
        words: As `layout.words` gives them.
        layout: What they mean.
        signed_keys: Keys of 32 bytes, uniform and secret, that must not serve another vector; 1
            adds a key's mask, -1 subtracts it.
    """
    ciphers = [(AESGCM(key), sign) for key, sign in signed_keys]
    for i, (run, part) in enumerate(zip(layout.runs, words, strict=True)):
        if run.wraps:
            _add_words(part, ciphers, i)
            continue
        for cipher, sign in ciphers:
            mask = _below(run, cipher, i)
            # In [0, modulus), so that nothing is negative on the way.
            np.add(part, mask if sign > 0 else np.uint64(run.modulus) - mask, out=part)
            np.remainder(part, np.uint64(run.modulus), out=part)


def _add_words(words: np.ndarray, ciphers: Sequence[tuple[AESGCM, int]], run: int) -> None:
    step = _CHUNK // words.dtype.itemsize
    for chunk, start in enumerate(range(0, len(words), step)):
        # All masks of a chunk before the next one: the sum's chunk stays in the cache.
        into = words[start : start + step]
        for cipher, sign in ciphers:
            stream = _keystream(cipher, run, chunk, into.nbytes)
            mask = np.frombuffer(stream, words.dtype, len(into))
            (np.add if sign > 0 else np.subtract)(into, mask, into)


def _below(run: vectors.Run, cipher: AESGCM, index: int) -> np.ndarray:
    """Uniform in [0, modulus), uint64 [length]."""
    found, have, chunk = [], 0, 0
    low_bits = np.uint64(2**run.bits - 1)
    size = min(_CHUNK, -(-run.length * 24 // 64) * 64)
    while have < run.length:
        stream = _keystream(cipher, index, chunk, size)
        drawn = np.frombuffer(stream, np.uint64, size // 8) & low_bits
        found.append(drawn[drawn < run.modulus])
        have, chunk = have + len(found[-1]), chunk + 1
    return np.concatenate(found)[: run.length]
