"""How clients' updates become one, one aggregator a file. Each has `Hparams`, `build(hparams)`, a
TFF factory, and `METRICS_AGGREGATOR`, how clients' metrics are summed beside it.
"""

from tff_experiments.aggregation import mean, secure_mean

BY_NAME = {"mean": mean, "secure_mean": secure_mean}
