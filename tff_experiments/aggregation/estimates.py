"""How large clients' updates usually are: quantiles, followed from round to round.

Andrew et al., NeurIPS 2021 (https://arxiv.org/abs/1905.03871), from one bit a client, without
noise, which makes it no differential privacy; the constants are those of TFF's recommended
aggregators.
"""

import math
from typing import Any

import tensorflow_federated as tff

_quantile = tff.aggregators.PrivateQuantileEstimationProcess.no_noise


def norm(first: float, quantile: float, *, secure: bool) -> tff.templates.EstimationProcess:
    """Follows a quantile of the clients' norms; its bits are summed securely or in the clear."""
    return _quantile(
        initial_estimate=first,
        target_quantile=quantile,
        learning_rate=0.2,
        secure_estimation=secure,
    )


def far_coordinate(first: float, *, secure: bool) -> tff.templates.EstimationProcess:
    """Follows twice the largest coordinate of nearly all clients, quickly."""
    return _quantile(
        initial_estimate=first,
        target_quantile=0.98,
        learning_rate=math.log(10.0),
        multiplier=2.0,
        increment=1.0,
        secure_estimation=secure,
    )


def largest_coordinate(first: float, quantile: float, *, secure: bool):
    """Follows twice a quantile of the clients' largest coordinates."""
    return _quantile(
        initial_estimate=first,
        target_quantile=quantile,
        learning_rate=1.0,
        multiplier=2.0,
        secure_estimation=secure,
    )


def check(hparams) -> None:
    """Raises ValueError where a first estimate or a quantile of an aggregator is out of range."""
    for name in ("bound", "clip", "zero"):
        if not getattr(hparams, name, 1.0) > 0:
            raise ValueError(f"{name} must be > 0, got {getattr(hparams, name)}.")
    for name in ("bound_quantile", "clip_quantile"):
        if not 0 < getattr(hparams, name, 1.0) <= 1:
            raise ValueError(f"{name} must be in (0, 1], got {getattr(hparams, name)}.")


def turning_off(name: str, hparams: Any, off: Any) -> str:
    """The flags of an aggregator that turn off what is on of its clipping and zeroing.

    Args:
        name: The aggregator's.
        hparams: Its knobs, with `clipping` and `zeroing`.
        off: The value that is off.

    Returns:
        The flags; "" where both are off.
    """
    on = [knob for knob in ("clipping", "zeroing") if getattr(hparams, knob) != off]
    return " ".join(f"--{name}_{knob}={str(off).lower()}" for knob in on)
