"""How clients' updates become one, one aggregator a file. Each has `Hparams` and `build(hparams)`,
a TFF factory.
"""

from tff_experiments.aggregation import mean

BY_NAME = {"mean": mean}
