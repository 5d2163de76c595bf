"""How clients' updates become one, one aggregator a file. Each has `Hparams`, `build(hparams)`, a
TFF factory, and says of itself: `METRICS_AGGREGATOR`, how clients' metrics are summed beside it,
`SUPPORTS_SECURE_SUM`, whether all that it sends can be summed securely, and `STACKED`, whether the
server needs each client's update by itself, so that memory grows with the cohort.
"""

from tff_experiments.aggregation import mean, secure_mean

BY_NAME = {"mean": mean, "secure_mean": secure_mean}
