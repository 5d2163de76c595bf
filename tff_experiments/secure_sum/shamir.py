"""Shamir's secret sharing of 32-byte secrets, over the field of the Mersenne prime 2^31 - 1.

Shamir, "How to share a secret", CACM 1979. A secret is nine limbs of 30 bits; each is the value at
0 of a polynomial of degree t - 1 with uniform other coefficients, client x holds the values at x.
Any t shares give the secret; t - 1 of them are uniform, whatever it is.

A share travels as nine values of 31 bits, 35 bytes.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from tff_experiments.secure_sum import keys, packing, stages

PRIME = 2**31 - 1
LIMBS, LIMB_BITS = 9, 30
SHARE_SIZE = 35
_VALUE_BITS, _SHARE_WORDS = 31, 5


def split(
    secret: bytes, points: np.ndarray, threshold: int, random_bytes: keys.RandomBytes
) -> list[bytes]:
    """Shares of one secret; see `split_all`."""
    return split_all([secret], points, threshold, random_bytes)[0]


def split_all(
    secrets: Sequence[bytes], points: np.ndarray, threshold: int, random_bytes: keys.RandomBytes
) -> list[list[bytes]]:
    """Shares of secrets, each with coefficients of its own; powers of points are made once.

    Args:
        secrets: 32 bytes each.
        points: Distinct, in 1 .. PRIME - 1, [holders].
        threshold: Shares that give a secret, 1 to `holders`.
        random_bytes: Where the coefficients come from.

    Returns:
        Of each secret a share for each point, 35 bytes.
    """
    if not 1 <= threshold <= len(points):
        raise ValueError(f"threshold must be in 1 .. {len(points)}, got {threshold}.")
    coefficients = np.empty((threshold, len(secrets), LIMBS), np.uint64)
    coefficients[0] = [_limbs(secret) for secret in secrets]
    coefficients[1:] = uniform((threshold - 1, len(secrets), LIMBS), random_bytes)
    values = evaluate(coefficients.reshape(threshold, -1), points).reshape(-1, len(secrets), LIMBS)
    return [_to_bytes(values[:, i]) for i in range(len(secrets))]


def reconstruct(points: np.ndarray, shares: list[list[bytes]]) -> list[bytes]:
    """Secrets from shares.

    Args:
        points: Whose shares, [secrets, threshold].
        shares: Of each secret, as many as there are points, 35 bytes each.

    Returns:
        The secrets, 32 bytes each.

    Raises:
        ProtocolError: Shares do not give a secret: one was altered.
    """
    values = _from_bytes(b"".join(map(b"".join, shares)))
    values = values.reshape(*points.shape, LIMBS)
    # Clients that hold shares of all secrets hold them at the same points.
    groups = defaultdict(list)
    for i, row in enumerate(points):
        groups[row.tobytes()].append(i)
    weights = weights_at_zero(points[[rows[0] for rows in groups.values()]])
    secrets = np.empty((len(points), LIMBS), np.uint64)
    for row, rows in zip(weights, groups.values(), strict=True):
        # [1, t] x [t, secrets * limbs]
        stacked = values[rows].transpose(1, 0, 2).reshape(len(row), -1)
        secrets[rows] = matmul(row[None], stacked).reshape(len(rows), LIMBS)
    return [_from_limbs(limbs) for limbs in secrets]


def uniform(shape: tuple[int, ...], random_bytes: keys.RandomBytes, prime=PRIME) -> np.ndarray:
    """Field elements, each equally likely, uint64."""
    bits = prime.bit_length()
    count = int(np.prod(shape))
    drawn = np.empty(0, np.uint32)
    while len(drawn) < count:
        new = np.frombuffer(random_bytes(4 * (count - len(drawn))), np.uint32)
        new = new & np.uint32(2**bits - 1)
        drawn = np.concatenate([drawn, new[new < prime]])
    return drawn.astype(np.uint64).reshape(shape)


def evaluate(coefficients: np.ndarray, points: np.ndarray, prime: int = PRIME) -> np.ndarray:
    """Values of polynomials at points.

    Args:
        coefficients: Of ascending powers, uint64 [threshold, polynomials].
        points: [holders].
        prime: The field.

    Returns:
        uint64 [holders, polynomials].
    """
    powers = np.ones((len(points), len(coefficients)), np.uint64)
    factor = np.asarray(points, np.uint64) % prime
    done = 1
    while done < powers.shape[1]:
        # factor is x^done: each pass doubles what is known.
        new = powers[:, : powers.shape[1] - done][:, :done]
        powers[:, done : 2 * done] = new * factor[:, None] % prime
        factor = factor * factor % prime
        done *= 2
    return matmul(powers, coefficients, prime)


def weights_at_zero(points: np.ndarray, prime: int = PRIME) -> np.ndarray:
    """Lagrange's weights: sum_i w_i f(x_i) = f(0) for each polynomial of degree below t.

        w_i = prod_j x_j / (x_i prod_{j != i} (x_j - x_i))

    Args:
        points: Distinct in each row, [rows, t].
        prime: The field.

    Returns:
        uint64 [rows, t].
    """
    x = np.asarray(points, np.uint64) % prime
    numerator = np.ones((len(x), 1), np.uint64)
    denominator = x.copy()
    for j in range(x.shape[1]):
        other = x[:, j : j + 1]
        difference = (other + prime - x) % prime
        difference[:, j] = 1
        denominator = denominator * difference % prime
        numerator = numerator * other % prime
    return numerator * _inverse(denominator, prime) % prime


def matmul(a: np.ndarray, b: np.ndarray, prime: int = PRIME) -> np.ndarray:
    """The product a @ b in the field, uint64: 16-bit halves, whose sums a float64 holds exactly."""
    half = np.uint64(16)
    low = np.uint64(2**16 - 1)
    a_low, a_high = (a & low).astype(np.float64), (a >> half).astype(np.float64)
    b_low, b_high = (b & low).astype(np.float64), (b >> half).astype(np.float64)
    exact = lambda x, y: (x @ y).astype(np.uint64) % prime
    middle = (exact(a_low, b_high) + exact(a_high, b_low)) % prime
    high = (exact(a_high, b_high) << half) % prime
    return (((high + middle) << half) + exact(a_low, b_low)) % prime


def _inverse(x: np.ndarray, prime: int) -> np.ndarray:
    """x^(prime - 2), by Fermat."""
    result, exponent = np.ones_like(x), prime - 2
    while exponent:
        if exponent & 1:
            result = result * x % prime
        x = x * x % prime
        exponent >>= 1
    return result


def _limbs(secret: bytes) -> list[int]:
    if len(secret) != keys.SIZE:
        raise ValueError(f"a secret is {keys.SIZE} bytes, got {len(secret)}.")
    number = int.from_bytes(secret, "big")
    return [number >> (LIMB_BITS * i) & (2**LIMB_BITS - 1) for i in range(LIMBS)]


def _from_limbs(limbs: np.ndarray) -> bytes:
    number = sum(int(limb) << (LIMB_BITS * i) for i, limb in enumerate(limbs))
    if number >> (8 * keys.SIZE) or any(int(limb) >> LIMB_BITS for limb in limbs):
        raise stages.ProtocolError("shares do not give a secret: one was altered.")
    return number.to_bytes(keys.SIZE, "big")


def _to_bytes(values: np.ndarray) -> list[bytes]:
    words = packing.to_words(np.ascontiguousarray(values.T), _VALUE_BITS, _SHARE_WORDS)
    rows = np.ascontiguousarray(words.T).view(np.uint8)[:, :SHARE_SIZE]
    return [row.tobytes() for row in rows]


def _from_bytes(data: bytes) -> np.ndarray:
    """Values, uint64 [shares, LIMBS]; what is not below PRIME is reduced, and gives no secret."""
    raw = np.frombuffer(data, np.uint8).reshape(-1, SHARE_SIZE)
    padded = np.zeros((len(raw), 8 * _SHARE_WORDS), np.uint8)
    padded[:, :SHARE_SIZE] = raw
    values = np.empty((LIMBS, len(raw)), np.uint64)
    packing.from_words(np.ascontiguousarray(padded.view("<u8").T), _VALUE_BITS, values)
    return values.T % PRIME
