"""A data set of your own: embedded digits, and clients of whom each turns the paper its own way.

    python scripts/run.py --plugin=examples/my_dataset.py --dataset=my_dataset \
        --my_dataset_ways=2 --task=digits_linear

A data set says which rows of its columns are whose, and what the test set is. Columns are numpy
arrays or memory maps, of any names and shapes that the task knows. Files come from --data_dir;
what is slow to read can be kept under `cache_dir`.
"""

import dataclasses

import numpy as np

from tff_experiments.datasets import digits, federated_data

ROOM = "dataset"
NEEDS_DATA_DIR = False  # Without one, no files are needed.
DEFAULT_PARTITION = "natural"  # The clients are those of `build`.


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs; each becomes a flag, its help the text below it."""

    clients: int = 40
    """Number of clients, of equally many digits."""
    ways: int = 4
    """Quarter turns that there are: client i's paper is turned i % ways times."""


def build(hparams: Hparams, *, data_dir, cache_dir) -> federated_data.FederatedData:
    """Makes the data; a ValueError that is raised here is what the user reads."""
    if not 1 <= hparams.ways <= 4:
        raise ValueError(f"my_dataset_ways must be in 1 .. 4, got {hparams.ways}.")
    plain = digits.build(digits.Hparams(), data_dir=data_dir, cache_dir=cache_dir)

    def by_writer(split):
        columns = split.all()
        client = np.arange(split.total) % hparams.clients
        turned = map(np.rot90, columns["images"], client % hparams.ways)
        columns["images"] = np.stack(list(turned))
        ids = np.char.add("writer", np.char.zfill(client.astype(str), 4))
        return federated_data.by_client(columns, ids)

    return federated_data.FederatedData(
        name=f"digits turned {hparams.ways} ways",
        train=by_writer(plain.train),
        test=by_writer(plain.test),
        num_classes=10,
    )
