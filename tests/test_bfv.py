"""BFV: parameters within the standard's table, noise within its bound."""

import numpy as np
import pytest

from tff_experiments.secure_sum import bfv, he_noise, vectors

# Albrecht et al., "Homomorphic Encryption Standard" (2018), table 1: classical, 128 bits, secret
# uniform in {-1, 0, 1}: the largest log2 q by N.
TABLE = {1024: 27, 2048: 54, 4096: 109, 8192: 218, 16384: 438, 32768: 881}


def layout(length, bits):
    return vectors.Layout([vectors.Segment(length, 2**bits)])


def sum_repeated(scheme, times, limbs):
    """Fresh ciphertexts of a hundred clients, added over and over: (secret, sum's bytes)."""
    secret, public = scheme.generate()
    encrypt = scheme.encryptor(public)
    texts = [encrypt(limbs) for _ in range(min(times, 100))]
    total = scheme.load(texts[0])
    for i in range(1, times):
        total = scheme.add(total, scheme.load(texts[i % len(texts)]))
    return secret, scheme.save(total)


@pytest.mark.parametrize("num_clients", [2, 64, 1000, 100_000])
def test_parameters_have_128_bits_of_security(num_clients):
    for bits in (1, 20, 26, 36, 62):
        chosen = bfv.choose(layout(1000, bits), num_clients)[1]
        assert chosen.modulus.bit_length() <= TABLE[chosen.slots]
    for choice in bfv.choices(num_clients):
        assert choice.bits <= TABLE[choice.degree] and choice.bits <= 60
        assert choice.plain % (2 * choice.degree) == 1 and choice.largest_sum == choice.plain - 1


def test_seal_refuses_what_is_beyond_the_table():
    with pytest.raises(ValueError, match="SEAL"):
        bfv.Scheme(he_noise.Choice(2048, 55, 0, bfv.plain_modulus(2048, 20)))


@pytest.mark.parametrize("bits", [20, 26, 32])
@pytest.mark.parametrize("num_clients", [10, 1000])
def test_the_largest_sums_of_all_clients_are_exact(num_clients, bits):
    largest, scheme = bfv.choose(layout(2048, bits), num_clients)
    secret, total = sum_repeated(scheme, num_clients, np.full(scheme.slots, largest))
    np.testing.assert_array_equal(scheme.decrypt(secret, total), num_clients * largest)
    # Repeated ciphertexts have up to ten times the noise of fresh ones, and are within the bound's
    # factor of ten.
    decryptor = scheme._seal.Decryptor(scheme.context, secret)
    assert decryptor.invariant_noise_budget(scheme.load(total)) >= 1


@pytest.mark.parametrize("degree", he_noise.DEGREES)
def test_noise_is_below_its_bound_and_not_far_below(degree):
    """The budget of a fresh ciphertext is log2(q / t / 2 |v|); its bound is ten deviations."""
    choice = max(c for c in bfv.choices(10) if c.degree == degree and c.bits <= 54)
    scheme = bfv.Scheme(choice)
    secret, total = sum_repeated(scheme, 1, np.arange(degree))
    decryptor = scheme._seal.Decryptor(scheme.context, secret)
    budget = decryptor.invariant_noise_budget(scheme.load(total))
    measured = scheme.modulus / choice.plain / 2 ** (budget + 1)
    # The budget is rounded down to a bit; 2048 draws reach 3.5 deviations.
    bound = he_noise.coefficient_noise(degree, 1)
    assert bound / 16 < measured < bound * 1.5


def test_more_noise_than_the_bound_allows_is_not_exact():
    """Parameters for two clients' noise, and 2^14 times that of one."""
    scheme = bfv.Scheme(min(bfv.choices(2)))
    secret, total = sum_repeated(scheme, 1, np.zeros(scheme.slots, np.int64))
    total = scheme.load(total)
    for _ in range(14):
        total = scheme.add(total, total)
    assert scheme.decrypt(secret, scheme.save(total)).any()


def test_limbs_are_chosen_for_the_fewest_bytes():
    assert bfv.choose(layout(10**6, 26), 64)[1].slots == 2048
    # TFF's own 32-bit secure sums of ten clients.
    largest, scheme = bfv.choose(layout(10**6, 36), 10)
    assert largest >= 2**36 - 1 and scheme.slots == 4096


def test_too_many_clients_are_refused():
    with pytest.raises(ValueError, match="no parameters hold"):
        bfv.build(bfv.Hparams()).check(2**62)
