"""The accountants of `dp_accounting`, and what they lack: discrete noise (RDP), trees (PLD).

They keep the library's contract: an event that they do not know is an error, never nothing. What an
event costs is cached, so that asking after each round is cheap.
"""

import functools
import math

import dp_accounting
import numpy as np
from dp_accounting import pld, rdp
from dp_accounting.pld import privacy_loss_distribution
from dp_accounting.rdp import rdp_privacy_accountant

from tff_experiments.privacy import distributed, subsampling

Relation = dp_accounting.NeighboringRelation
Event = dp_accounting.DpEvent

# The library's, without its gap from 63 to 128.
ORDERS = tuple(sorted({*rdp_privacy_accountant.DEFAULT_RDP_ORDERS, *range(64, 128, 8)}))
# Those of the code published with Kairouz, Liu, Steinke 2021.
INTEGER_ORDERS = (*range(2, 129), 256)

_ROUNDING = 1e-14
_AMPLIFIED = {
    dp_accounting.PoissonSampledDpEvent: subsampling.poisson,
    dp_accounting.SampledWithoutReplacementDpEvent: subsampling.without_replacement,
}
_GAUSSIAN = dp_accounting.GaussianDpEvent(1.0)
_STAND_INS = {
    dp_accounting.PoissonSampledDpEvent: dp_accounting.PoissonSampledDpEvent(0.5, _GAUSSIAN),
    dp_accounting.SampledWithoutReplacementDpEvent: dp_accounting.SampledWithoutReplacementDpEvent(
        2, 1, _GAUSSIAN
    ),
}


class RdpAccountant(rdp.RdpAccountant):
    """Renyi DP. Discrete noise is bounded at integer orders only."""

    def __init__(self, relation: Relation, *, orders: tuple[float, ...] = ORDERS):
        """Starts with nothing spent under a neighbouring `relation`."""
        super().__init__(list(orders), relation)

    def _maybe_compose(self, event, count, do_compose):
        if not _is_one_round(event):
            return super()._maybe_compose(event, count, do_compose)
        if do_compose:
            self._rdp += count * _curve(event, tuple(self._orders), self.neighboring_relation)
            return None
        # The library says which relation sampling takes, for noise that it knows.
        stand_in = _STAND_INS.get(type(event), _GAUSSIAN)
        return super()._maybe_compose(stand_in, count, do_compose)


class PldAccountant(pld.PLDAccountant):
    """Privacy loss distributions: tight for Gaussian noise, with no rule for much else.

    Values are rounded up to multiples of `interval`, so that epsilon is an upper bound.
    """

    LEAST_NOISE = 0.25  # Below, a thousand rounds take minutes and gigabytes, and are not private.

    def __init__(self, relation: Relation, *, interval: float = 1e-4):
        """Starts with nothing spent under a neighbouring `relation`."""
        super().__init__(relation, interval)

    def _maybe_compose(self, event, count, do_compose):
        if isinstance(event, dp_accounting.SingleEpochTreeAggregationDpEvent):
            return super()._maybe_compose(_tree_as_gaussian(event), count, do_compose)
        sampled = isinstance(event, dp_accounting.PoissonSampledDpEvent)
        if sampled and isinstance(event.event, dp_accounting.GaussianDpEvent) and do_compose:
            self._check_noise(event.event.noise_multiplier)
            once = _sampled_gaussian(event, self._value_discretization_interval)
            self._pld = self._pld.compose(once.self_compose(count))
            return None
        if isinstance(event, dp_accounting.GaussianDpEvent) and do_compose:
            self._check_noise(event.noise_multiplier)
        return super()._maybe_compose(event, count, do_compose)

    def _check_noise(self, noise_multiplier: float) -> None:
        if noise_multiplier < self.LEAST_NOISE:
            raise ValueError(
                f"the accountant pld takes noise multipliers from {self.LEAST_NOISE}, got "
                f"{noise_multiplier:.4g}; take --accountant=rdp, or more noise."
            )


BY_NAME = {
    "rdp": RdpAccountant,
    "rdp_integer": functools.partial(RdpAccountant, orders=INTEGER_ORDERS),
    "pld": PldAccountant,
}


def _is_one_round(event: Event) -> bool:
    """Whether it is one sum, maybe of sampled clients, rather than composed of several."""
    if type(event) in _AMPLIFIED:
        return isinstance(event.event, dp_accounting.GaussianDpEvent | distributed.NoisySumEvent)
    return isinstance(event, distributed.NoisySumEvent)


@functools.lru_cache(maxsize=4096)
def _curve(event: Event, orders: tuple[float, ...], relation: Relation) -> np.ndarray:
    """Divergences of one round, float64 [orders]."""
    # Logarithms of numbers near 1: those of a client that hardly ever comes are lost in rounding,
    # or below 0.
    return np.maximum(_rounded_curve(event, orders, relation), _ROUNDING)


def _rounded_curve(event: Event, orders: tuple[float, ...], relation: Relation) -> np.ndarray:
    inner = getattr(event, "event", event)
    if not isinstance(inner, distributed.NoisySumEvent):
        return rdp.RdpAccountant(list(orders), relation).compose(event).rdp
    if inner is not event:
        return _AMPLIFIED[type(event)](inner.rdp, _fraction(event), np.array(orders))
    whole = np.equal(np.mod(orders, 1), 0)
    return np.where(whole, inner.rdp(np.array(orders)), np.inf)


def _fraction(event: Event) -> float:
    if isinstance(event, dp_accounting.PoissonSampledDpEvent):
        return event.sampling_probability
    return event.sample_size / event.source_dataset_size


def _tree_as_gaussian(event: dp_accounting.SingleEpochTreeAggregationDpEvent) -> Event:
    """A client is in one leaf, and in the nodes above it: one Gaussian of sensitivity sqrt(depth).

    Kairouz et al. 2021, appendix D.
    """
    depth = math.ceil(math.log2(np.max(event.step_counts) + 1))
    return dp_accounting.GaussianDpEvent(event.noise_multiplier / math.sqrt(depth))


@functools.lru_cache(maxsize=64)
def _sampled_gaussian(event: dp_accounting.PoissonSampledDpEvent, interval: float):
    """The distribution of one round, which takes six times as long as its composition."""
    return privacy_loss_distribution.from_gaussian_mechanism(
        event.event.noise_multiplier,
        value_discretization_interval=interval,
        sampling_prob=event.sampling_probability,
    )
