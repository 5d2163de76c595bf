"""What OpenFHE's schemes hold: errors against their bounds, parameters, bytes. No TensorFlow."""

import numpy as np
import pytest

from tff_experiments.secure_sum import he_noise, openfhe_ring, openfhe_schemes, stages


@pytest.fixture
def openfhe():
    """The module; a test that needs it is skipped, and counted, where it is not."""
    return pytest.importorskip("openfhe")


def error(clients, parties, *, scale_bits=50):
    """(largest error in units of 1 at the largest entries, the bound, the factor of integers)."""
    size = openfhe_schemes.Size(clients, parties)
    largest = openfhe_schemes.Ckks.capacity(size)
    ring = openfhe_ring.ckks(scale_bits)
    scheme = openfhe_schemes.Ckks(ring, size, largest, scale_bits)
    keys = [ring.keys()]
    keys += [ring.keys(keys[0][0]) for _ in range(parties - 1)]
    joint = ring.join([public for public, _ in keys])
    values = np.random.default_rng(0).integers(0, largest, scheme.slots, endpoint=True)
    values[:64] = largest
    values[64:128] = 0
    sums = None
    for _ in range(clients):
        ciphertext = ring.context.Encrypt(joint, scheme.encode(values))
        sums = scheme.add(sums, ciphertext) if sums else ciphertext
    half = ring.half(sums)
    partials = [ring.partial(half, secret) for _, secret in keys]
    for other in partials[1:]:
        ring.add(partials[0], other)
    got = scheme.decode_floats(ring.fuse(sums, partials[0]), clients)
    return np.abs(got - clients * values).max(), scheme.bound, scheme.factor


@pytest.mark.parametrize("clients", [10, 100, 1000])
def test_ckks_error_is_below_its_bound(openfhe, clients):
    measured, bound, _ = error(clients, 10)
    # The bound is ten deviations, the largest of 4096 draws about four.
    assert bound / 5 < measured < bound < 0.5


def test_the_trap_of_the_scale(openfhe):
    """Flooding of 2^20 a party does not know the scale: ten bits less of it cost ten bits."""
    (at_50, _, factor), (at_40, bound, same) = error(10, 10), error(10, 10, scale_bits=40)
    assert factor == same
    # In units of the numbers that are encoded, up to 2^8: 1e-6 and 1e-3.
    assert 1e-7 < at_50 * factor < 2e-6 and 1e-4 < at_40 * factor < 2e-3
    assert bound > 0.5


@pytest.mark.parametrize("kind", [openfhe_schemes.Ckks, openfhe_schemes.Bfv])
def test_what_would_not_be_exact_is_refused(kind):
    # The case: 20 bits, 64 clients. One limb.
    assert kind.capacity(openfhe_schemes.Size(64, 10)) >= 2**20 - 1
    with pytest.raises(ValueError, match="make too much noise for exact sums"):
        kind.capacity(openfhe_schemes.Size(10**8, 10**8))


def test_parameters_are_in_the_standard_table(openfhe):
    for ring, primes in (
        (openfhe_ring.ckks(), 1),
        (openfhe_ring.bfv(), 1),
        (openfhe_ring.bfv(True), 3),
    ):
        polynomials = ring.ciphertexts.num_bytes // (8 * ring.degree)
        assert polynomials == 2 * primes
        assert 60 * primes <= he_noise.MAX_BITS[ring.degree]
    assert float(openfhe_ring.bfv(True).context.GetModulus()) < 2.0**180
    assert openfhe_ring.bfv().context.GetModulus() > openfhe_schemes.Q


def test_the_plaintext_modulus_is_a_prime_for_batching():
    t = openfhe_ring.PLAIN_MODULUS
    assert t % (2 * openfhe_ring.STRONG_RING) == 1
    assert all(t % divisor for divisor in range(2, int(t**0.5) + 1))


def test_coefficients_alone_travel(openfhe):
    ring = openfhe_ring.ckks()
    public, _ = ring.keys()
    text = ring.public_keys.pack(public)
    assert len(text) == 2 * 8 * 4096
    assert ring.public_keys.pack(ring.public_keys.unpack(text)) == text
    for wrong in (text[:-1], text + b"\0", b"", None, b"\xff" * len(text)):
        with pytest.raises(stages.ProtocolError):
            ring.public_keys.unpack(wrong)
