"""Threshold CKKS: sums under a key that nobody has, opened by t of k parties. By OpenFHE.

Cheon, Kim, Kim, Song, ASIACRYPT 2017 (https://eprint.iacr.org/2016/421); keys and decryption as in
Asharov et al., EUROCRYPT 2012 (https://eprint.iacr.org/2011/613): see `openfhe_ring`. CKKS gets
the same integers as other protocols and rounds what it decodes; `openfhe_schemes` bounds the error,
the flooding's share in it too, and entries are cut into limbs that keep it below 1/2.

Hides:       each client's vector from the server and up to t - 1 parties together, and from any
             clients that are no parties, who all follow the protocol but look at what they get.
Assumes:     ring-LWE at 128 bits by the Homomorphic Encryption Standard's table, also for partial
             decryptions (see flooding); X25519, AES-256-GCM, HKDF-SHA256, Shamir's sharing.
Reveals:     to the server, who alone opens (parties are sent c_1, not c_0), the sum; its carry,
             that is the sum before it is reduced by its modulus, and of wide entries each limb's
             sum; the noise of all that, flooded. To all, who took part.
Recovery     Where a party that shared its key part did not open, t others give their shares to the
             server, which gets that key part. It lacks those of the t or more that opened. So keys
             serve one round: the next one's are drawn anew.
Flooding     A partial decryption gets Gaussian noise of deviation 2^20, OpenFHE's constant. That is
             2^9 times the noise of a sum of 10 clients that are the parties, 3.19 sqrt(n (4/3 N k +
             1)): no statistical hiding. The mode rests on ring-LWE: a partial decryption is one
             more sample of a party's key part, with larger noise, for each ciphertext of the one
             sum that the key serves. For a statistical bound: `threshold_bfv`, strong flooding.
A server     that lies learns all: it hands out a key of its own, or has one client's ciphertext
             opened as the sum, or says of parties that are there that they are missing. Parties
             answer each question once and recover at most k - t of them, which guards against
             mistakes, not lies. Where the server may lie, choose secagg.
Not covered: clients that encrypt a wrong vector, parties that open wrongly: they can spoil the sum.
             What does not decode to integers, near enough and in range, is refused.
Simulated:   network, machines, who draws the committee (see `threshold_round`).
"""

import dataclasses

from tff_experiments.secure_sum import openfhe_ring, openfhe_schemes, threshold_protocol


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of threshold CKKS."""

    committee: int = 0
    """Clients that hold a part of the key, drawn each round; 0 is all."""
    threshold: float = 0.0
    """Fraction of them that opens the sum: above 1/2; 0 is floor(2 k / 3) + 1 of k."""

    def __post_init__(self):
        threshold_protocol.check_hparams(self.committee, self.threshold)


def choose(size: openfhe_schemes.Size):
    """The largest integer of a limb, and what makes the scheme of the largest in use."""
    ring, capacity = openfhe_ring.ckks(), openfhe_schemes.Ckks.capacity(size)
    return capacity, lambda largest: openfhe_schemes.Ckks(ring, size, largest)


def build(hparams: Hparams) -> threshold_protocol.Protocol:
    """Makes the protocol."""
    return threshold_protocol.Protocol(hparams.committee, hparams.threshold, choose)
