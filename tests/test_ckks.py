"""CKKS: sums that are exact while the error's bound is below 1/2, and refused otherwise."""

import numpy as np
import pytest
from he_helpers import SEGMENTS, run
from test_bfv import TABLE, layout, sum_repeated

from tff_experiments.secure_sum import ckks, he_noise


def decoded(scheme, secret, total):
    plaintext = scheme._seal.Plaintext()
    decryptor = scheme._seal.Decryptor(scheme.context, secret)
    decryptor.decrypt(scheme.load(total), plaintext)
    return scheme.decode(plaintext)


@pytest.mark.parametrize("num_clients", [2, 64, 1000, 100_000])
def test_parameters_have_128_bits_of_security(num_clients):
    for choice in ckks.choices(num_clients):
        assert choice.bits <= TABLE[choice.degree] and choice.bits <= 60
    for bits in (1, 20, 36, 62):
        chosen = ckks.choose(layout(1000, bits), num_clients)[1]
        assert chosen.modulus.bit_length() <= TABLE[chosen.slots]


@pytest.mark.parametrize("degree", he_noise.DEGREES)
@pytest.mark.parametrize("num_clients", [10, 100, 1000])
def test_the_measured_error_is_below_the_bound_up_to_the_largest_sum(degree, num_clients):
    """Clients' ciphertexts are a hundred, repeated: up to sqrt(10) times the noise of fresh ones.

    Errors of 4096 slots reach four deviations; the bound is over a hundred (see `he_noise`).
    """
    every = [c for c in ckks.choices(num_clients) if c.degree == degree]
    every = [c for c in every if c.largest_sum >= num_clients]
    smallest_scale = min(c.plain for c in every)
    every = [c for c in every if c.plain == smallest_scale]
    for choice in (every[0], every[len(every) // 2], every[-1]):
        scheme, largest = ckks.Scheme(choice), choice.largest_sum // num_clients
        limbs = np.random.default_rng(0).integers(0, largest, degree, endpoint=True)
        limbs[:100] = largest
        secret, total = sum_repeated(scheme, num_clients, limbs)
        error = np.abs(decoded(scheme, secret, total) - num_clients * limbs).max()
        bound = ckks.error_bound(degree, num_clients, choice.plain, choice.largest_sum)
        assert bound / 10_000 < error < bound < 1 / 2
        np.testing.assert_array_equal(scheme.decrypt(secret, total), num_clients * limbs)


def test_the_bound_grows_with_what_it_is_made_of():
    bound = lambda *args: ckks.error_bound(*args)
    assert bound(2048, 10, 2**30, 1) < bound(4096, 10, 2**30, 1)
    assert bound(2048, 10, 2**30, 1) < bound(2048, 100, 2**30, 1) < bound(2048, 100, 2**29, 1)
    # Doubles: a sum of 2^45 is not exact at any scale.
    assert bound(2048, 2, 2.0**100, 2**30) < 1 / 2 < bound(2048, 2, 2.0**100, 2**45)


def test_the_trap_a_scale_times_a_sum_beyond_q_is_wrong_and_refused():
    """2^40 is a usual scale; with q of 54 bits it leaves sums up to 2^12."""
    choice = he_noise.Choice(2048, 54, 2**14, 2**40)
    scheme = ckks.Scheme(choice)
    secret, public = scheme.generate()
    text = scheme.encryptor(public)(np.full(2048, 2**10))

    def sum_of(times):
        total = scheme.load(text)
        for _ in range(times - 1):
            total = scheme.add(total, scheme.load(text))
        return scheme.decrypt(secret, scheme.save(total))

    np.testing.assert_array_equal(sum_of(4), 2**12)
    assert (sum_of(16) != 2**14).all()
    for choice in ckks.choices(2, 40):
        assert choice.largest_sum * 2**40 * np.sqrt(2) < 2 ** (choice.bits - 1)


@pytest.mark.parametrize("scale_bits", [10, 58])
def test_a_scale_that_is_not_exact_is_refused_with_the_way_out(scale_bits):
    protocol = ckks.build(ckks.Hparams(scale_bits=scale_bits))
    with pytest.raises(ValueError, match=rf"scale_bits={scale_bits} .* below 22 .* above 54 "):
        protocol.check(10)
    for good in (22, 54):
        ckks.build(ckks.Hparams(scale_bits=good)).check(10)
    with pytest.raises(ValueError, match=r"scale_bits must be in 0 \.\. 59"):
        ckks.Hparams(scale_bits=60)


def test_a_given_scale_sums_exactly():
    _, total, wanted = run(ckks.build(ckks.Hparams(scale_bits=40)), SEGMENTS)
    assert total.tolist() == wanted


def test_too_many_clients_are_refused():
    with pytest.raises(ValueError, match="no parameters hold"):
        ckks.build(ckks.Hparams()).check(2**40)
