"""What a secure sum's server must do, and what the parts of it cost alone."""

import os
import statistics
import time
from typing import NamedTuple

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tff_experiments.secure_sum import keys, masks, shamir, vectors

TAG = 16
CHUNK = 1 << 19


class Work(NamedTuple):
    """What the server does."""

    pairs: int  # Pairwise masks taken off; for a graph, expected.
    seeds: int  # Self masks taken off; also uploads.
    secrets: int  # Secrets that are reconstructed.
    threshold: int  # Shares of each.
    holder_sets: int  # Sets of clients whose shares are taken.
    keystream_bytes: int


class Units(NamedTuple):
    """Seconds of one of each, alone."""

    key: float  # X25519 exchange and HKDF.
    keystream: float  # AES-256-GCM, of one mask.
    add: float  # Of one mask.
    upload: float  # Read and added.
    reconstruction: float  # All secrets of the round.
    ctr_bytes_per_second: float  # AES-256-CTR, the limit.


def work(case, degree: int, threshold: int) -> Work:
    """Counts; `case` is a `secure_sum_rows.Case`."""
    dropped = case.num_dropped
    seeds = case.num_clients - dropped
    pairs = round(dropped * degree * seeds / max(case.num_clients - 1, 1))
    secrets = seeds + dropped
    complete = degree == case.num_clients - 1
    run = vectors.Run(case.length, 2**case.bits)
    size = case.length * np.dtype(run.dtype).itemsize
    sets = 1 if complete else secrets
    return Work(pairs, seeds, secrets, threshold, sets, (pairs + seeds) * size)


def measure(case, work: Work) -> Units:
    """Measures each part alone."""
    layout = vectors.Layout([vectors.Segment(case.length, 2**case.bits)])
    words = layout.zeros()
    private, public = (keys.private_key(os.urandom) for _ in range(2))
    public = public.public_key()
    derive = lambda: keys.derive(keys.agree(private, public), b"pair", bytes(16), 1, 2)
    packed = layout.pack(words)
    return Units(
        key=seconds(derive, 300),
        keystream=seconds(keystream(words[0].nbytes), 30),
        add=seconds(addition(words[0]), 30),
        upload=seconds(lambda: layout.add(words, layout.unpack(packed)), 10),
        reconstruction=seconds(lambda: reconstruct(work), 1),
        ctr_bytes_per_second=ctr_rate(),
    )


def phases(work: Work, units: Units, server_seconds: float) -> dict[str, float]:
    """The server's seconds by what they go to, from counts and unit costs."""
    known = {
        "key exchange": work.pairs * units.key,
        "keystream": (work.pairs + work.seeds) * units.keystream,
        "adding": (work.pairs + work.seeds) * units.add,
        "uploads": work.seeds * units.upload,
        "reconstruction": units.reconstruction,
    }
    return {**known, "routing and rest": server_seconds - sum(known.values())}


def keystream(size: int):
    """Makes what expands one mask of `size` bytes by the library alone, in chunks."""
    cipher = AESGCM(os.urandom(keys.SIZE))
    zeros, out = memoryview(bytes(CHUNK)), memoryview(bytearray(CHUNK + TAG))
    sizes = [min(CHUNK, size - start) for start in range(0, size, CHUNK)]

    def expand():
        for i, part in enumerate(sizes):
            cipher.encrypt_into(i.to_bytes(12, "big"), zeros[:part], None, out[: part + TAG])

    return expand


def addition(words: np.ndarray):
    """Makes what adds one mask that is there, in chunks, to `words`."""
    step = CHUNK // words.dtype.itemsize
    mask = np.ones(min(step, len(words)), words.dtype)
    parts = [words[start : start + step] for start in range(0, len(words), step)]

    def add():
        for part in parts:
            np.add(part, mask[: len(part)], out=part)

    return add


def mask_overhead(length: int = 10**6, times: int = 101) -> float:
    """Seconds of one mask expanded and added / (keystream alone + adding alone)."""
    layout = vectors.Layout([vectors.Segment(length, 2**32)])
    words = layout.zeros()
    key = os.urandom(keys.SIZE)
    expand, add = keystream(words[0].nbytes), addition(words[0])
    both = lambda: masks.add(words, layout, [(key, 1)])
    ratios = [once(both) / (once(expand) + once(add)) for _ in range(times)]
    return statistics.median(ratios)


def ctr_rate(times: int = 40) -> float:
    """AES-256-CTR's bytes a second on one core, by the same library."""
    encryptor = Cipher(algorithms.AES(os.urandom(keys.SIZE)), modes.CTR(bytes(16))).encryptor()
    zeros, out = bytes(CHUNK), bytearray(CHUNK + TAG)
    return CHUNK / seconds(lambda: encryptor.update_into(zeros, out), times)


def reconstruct(work: Work) -> None:
    """Reconstructs secrets of zeros, as many as the round has."""
    first = np.arange(work.secrets)[:, None] * (work.holder_sets > 1)
    points = 1 + first + np.arange(work.threshold)
    shamir.reconstruct(points, [[bytes(shamir.SHARE_SIZE)] * work.threshold] * work.secrets)


def seconds(act, times: int) -> float:
    """Median CPU seconds, after one that is not counted."""
    act()
    return statistics.median(once(act) for _ in range(times))


def once(act) -> float:
    """CPU seconds of one call."""
    start = time.thread_time()
    act()
    return time.thread_time() - start
