"""OpenFHE's objects as bytes: their coefficients, and nothing that a deserializer would obey.

A serialized object is coefficients between bytes that all objects of its kind and parameters share.
Only the coefficients travel. What arrives is put between the shared bytes, so a message can alter
numbers, but neither lengths nor types, which OpenFHE does not check.
"""

import contextlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from tff_experiments.secure_sum import stages

_BITS = 60  # Of a prime, at most.
MISSING = (
    "OpenFHE is not installed; it has wheels for Python 3.10, none for 3.11: scripts/setup.sh "
    "--python=3.10 makes the environment that has it."
)


def load() -> Any:
    """The module, on one thread: its loops are too short for more, and clients share the machine.

    Raises:
        ValueError: It is not there.
    """
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        import openfhe
    except ImportError as error:
        raise ValueError(MISSING) from error
    finally:
        if before is None:
            with contextlib.suppress(KeyError):
                del os.environ["OMP_NUM_THREADS"]
    return openfhe


class Wire:
    """One kind of object: ciphertexts, public keys or secret keys of one context."""

    def __init__(self, sample: Any, ring: int, load_fn: Callable[[bytes], Any]):
        """Learns where such an object has its coefficients.

        Args:
            sample: One of them.
            ring: Coefficients of a polynomial.
            load_fn: Reads one from OpenFHE's bytes.
        """
        openfhe = load()
        self._ring, self._load_fn = ring, load_fn
        self._to_bytes = lambda value: openfhe.Serialize(value, openfhe.BINARY)
        self._template = self._to_bytes(sample)
        self._starts = _find(self._template, ring)
        self.num_bytes = 8 * ring * len(self._starts)
        if not self._starts:
            raise RuntimeError("this OpenFHE serializes in a way that is not known here.")

    def pack(self, value: Any) -> bytes:
        """An object's coefficients, `num_bytes` bytes."""
        # What is around them depends on which polynomials share their parameters in memory.
        data, size = self._to_bytes(value), 8 * self._ring
        starts = _find(data, self._ring)
        if len(starts) != len(self._starts):
            raise RuntimeError("an OpenFHE object is not of the kind expected.")
        return b"".join(data[start : start + size] for start in starts)

    def unpack(self, data: bytes) -> Any:
        """The object of such coefficients; ProtocolError where there can be none."""
        if not isinstance(data, bytes) or len(data) != self.num_bytes:
            raise stages.ProtocolError(f"a polynomial message takes {self.num_bytes} bytes.")
        if int(np.frombuffer(data, "<u8").max()) >> _BITS:
            raise stages.ProtocolError(f"a coefficient has more than {_BITS} bits.")
        whole, size = bytearray(self._template), 8 * self._ring
        for i, start in enumerate(self._starts):
            whole[start : start + size] = data[i * size : (i + 1) * size]
        return self._load_fn(bytes(whole))


def _find(data: bytes, ring: int) -> list[int]:
    """Where the polynomials begin: after their length, 8 bytes, with words that look like theirs.

    Uniform coefficients are below 2^60, and all but a few exceed 2^40. Words that are read askew,
    where a number before a polynomial equals the length, are not.
    """
    mark, size, found = ring.to_bytes(8, "little"), 8 * ring, []
    at = data.rfind(mark, 0, max(len(data) - size, 0))
    while at >= 0:
        start = at + len(mark)
        words = np.frombuffer(data, "<u8", ring, start)
        if int(words.max()) >> _BITS == 0 and (words >> np.uint64(40) > 0).mean() > 0.9:
            found.append(start)
            at = max(at - size, 0)
        at = data.rfind(mark, 0, at + len(mark) - 1)
    return found[::-1]
