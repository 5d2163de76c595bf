"""How clients' updates become one, one aggregator a file.

Each has `Hparams`, `build(hparams)`, a TFF factory, and says as data:

    METRICS_AGGREGATOR      how clients' metrics are summed beside it
    SUPPORTS_SECURE_SUM     whether all that clients send can go through secure sums
    STACKED                 whether the server needs each client's update by itself: memory grows
                            with the cohort
"""

from tff_experiments.aggregation import (
    clipped_mean,
    drive,
    geometric_median,
    krum,
    mean,
    median,
    quantized,
    secure_mean,
    top_k,
    trimmed_mean,
)

BY_NAME = {
    "mean": mean,
    "secure_mean": secure_mean,
    "clipped_mean": clipped_mean,
    "median": median,
    "trimmed_mean": trimmed_mean,
    "krum": krum,
    "geometric_median": geometric_median,
    "quantized": quantized,
    "top_k": top_k,
    "drive": drive,
}


def check(name: str, *, secure_sum: str, allow_plain: bool = False) -> None:
    """Raises ValueError where an aggregator can't run under a secure sum, and says why.

    Args:
        name: A key of `BY_NAME`.
        secure_sum: The protocol, as users name it; under "plain" all run.
        allow_plain: Whether clients may send in the clear beside the protocol.
    """
    if secure_sum == "plain" or allow_plain or BY_NAME[name].SUPPORTS_SECURE_SUM:
        return
    needs = (
        "needs each client's update in the clear"
        if BY_NAME[name].STACKED
        else "has clients send their updates in the clear"
    )
    others = [other for other, module in BY_NAME.items() if module.SUPPORTS_SECURE_SUM]
    raise ValueError(
        f"{name} {needs}, it can't run under --secure_sum={secure_sum}; use "
        f"--aggregator={' or '.join(others)}, or --secure_sum=plain."
    )
