"""Integers of b bits in b bits each.

A block is the fewest entries that fill whole 64-bit words. Lane i holds the i-th entries of all
blocks, word j the j-th words: both are contiguous, so that a shift runs over all blocks at once.
The rest, less than a block, is packed bit by bit. Entries of 32 and 64 bits travel as they are,
little-endian. Both ends know the number of entries; n of them take ceil(n b / 8) bytes.
"""

import math

import numpy as np

_AS_THEY_ARE = {32: "<u4", 64: "<u8"}


def num_bytes(length: int, bits: int) -> int:
    """Bytes of `length` entries."""
    return (length * bits + 7) // 8


def pack(entries: np.ndarray, bits: int) -> bytes:
    """Packs the low `bits` bits of each entry.

    Args:
        entries: Unsigned integers, [n].
        bits: 0 to 64.
    """
    if bits in _AS_THEY_ARE:
        return entries.astype(_AS_THEY_ARE[bits], copy=False).tobytes()
    num_lanes, num_words = _block(bits)
    rows = len(entries) // num_lanes
    lanes = entries[: rows * num_lanes].reshape(num_lanes, rows)
    rest = entries[rows * num_lanes :].astype("<u8")
    as_bits = np.unpackbits(rest.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
    tail = np.packbits(as_bits[:, :bits], bitorder="little")
    return to_words(lanes, bits, num_words).tobytes() + tail.tobytes()


def unpack(data: bytes, length: int, bits: int, dtype: type = np.uint64) -> np.ndarray:
    """The entries, [length]; they may not be writable.

    Raises:
        ValueError: There are more or fewer bytes than such entries take.
    """
    size = num_bytes(length, bits)
    if len(data) != size:
        raise ValueError(f"{length} entries of {bits} bits take {size} bytes, got {len(data)}.")
    if bits in _AS_THEY_ARE:
        return np.frombuffer(data, _AS_THEY_ARE[bits]).astype(dtype, copy=False)
    num_lanes, num_words = _block(bits)
    rows = length // num_lanes
    entries = np.zeros(length, dtype)
    words = np.frombuffer(data, "<u8", rows * num_words).reshape(num_words, rows)
    from_words(words, bits, entries[: rows * num_lanes].reshape(num_lanes, rows))
    rest = length - rows * num_lanes
    tail = np.frombuffer(data, np.uint8, offset=rows * num_words * 8)
    padded = np.zeros((rest, 64), np.uint8)
    padded[:, :bits] = np.unpackbits(tail, count=rest * bits, bitorder="little").reshape(rest, bits)
    entries[rows * num_lanes :] = np.packbits(padded, axis=1, bitorder="little").view("<u8")[:, 0]
    return entries


def to_words(lanes: np.ndarray, bits: int, num_words: int) -> np.ndarray:
    """Lanes [lanes, rows] side by side in words, little-endian uint64 [num_words, rows]."""
    mask = np.uint64(2**bits - 1)
    words = np.zeros((num_words, lanes.shape[1]), "<u8")
    for i, lane in enumerate(lanes if bits else ()):
        word, shift = divmod(i * bits, 64)
        value = lane.astype(np.uint64) & mask
        words[word] |= value << np.uint64(shift)
        if shift + bits > 64:
            words[word + 1] |= value >> np.uint64(64 - shift)
    return words


def from_words(words: np.ndarray, bits: int, lanes: np.ndarray) -> None:
    """The reverse: writes to `lanes` what `to_words` was given."""
    mask = np.uint64(2**bits - 1)
    for i, lane in enumerate(lanes if bits else ()):
        word, shift = divmod(i * bits, 64)
        value = words[word] >> np.uint64(shift)
        if shift + bits > 64:
            value |= words[word + 1] << np.uint64(64 - shift)
        lane[:] = value & mask


def _block(bits: int) -> tuple[int, int]:
    """Entries and 64-bit words of a block."""
    common = math.gcd(bits, 64)
    return 64 // common, bits // common
