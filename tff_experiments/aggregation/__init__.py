"""How clients' updates become one, one aggregator a file.

Each has `Hparams`, `build(hparams)`, a TFF factory, and says as data:

    METRICS_AGGREGATOR      how clients' metrics are summed beside it
    SUPPORTS_SECURE_SUM     whether all that clients send can go through secure sums
    STACKED                 whether the server needs each client's update by itself: memory grows
                            with the cohort

One that is a mean has `lossy(hparams)`: the flags with which it neither clips nor zeroes what
clients send, "" where it does not as it is.

Those of differential privacy have `privacy(hparams)`, what `privacy.plan` has to know, and
`build(hparams, mechanism, plan)`.
"""

from tff_experiments.aggregation import (
    clipped_mean,
    ddp_discrete_gaussian,
    ddp_skellam,
    dp_fedavg,
    dp_ftrl,
    drive,
    geometric_median,
    krum,
    local_dp,
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
    "dp_fedavg": dp_fedavg,
    "dp_ftrl": dp_ftrl,
    "ddp_discrete_gaussian": ddp_discrete_gaussian,
    "ddp_skellam": ddp_skellam,
    "local_dp": local_dp,
}
