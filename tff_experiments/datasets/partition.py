"""Makes clients of data without users (or other clients of data with users). Pure functions of the
seed.

    iid            shuffled, equally large clients                 McMahan et al. 2017, section 3
    label_shards   sorted by label, shards dealt to the clients    McMahan et al. 2017, section 3
    dirichlet      labels of client k ~ Dirichlet(alpha * prior)   Hsu et al. 2019, arXiv 1909.06335
    similarity     a share of each client is IID, the rest sorted by label  Karimireddy et al. 2020
    unequal        shuffled, sizes log-normal

Only training examples are dealt: the test set stays one centralised set.
"""

import dataclasses

import numpy as np

from tff_experiments.datasets import federated_data

# Much below, numpy's draw does not end.
_LEAST_ALPHA = 1e-6


@dataclasses.dataclass(frozen=True)
class Hparams:
    """Knobs of the partitioners."""

    clients: int = 100
    """Number of clients to make."""
    shards_per_client: int = 2
    """Shards that each client gets (label_shards)."""
    alpha: float = 0.5
    """Concentration of the labels: small is skewed, large is IID (dirichlet)."""
    sigma: float = 1.0
    """Standard deviation of the logarithm of a client's size (unequal)."""
    similarity: float = 0.1
    """Share of each client's examples that is IID, 0 to 1 (similarity)."""
    seed: int = 0
    """Seed of the partition; the run's own --seed does not change the clients."""

    def __post_init__(self):
        for name in ("clients", "shards_per_client", "alpha", "sigma"):
            if getattr(self, name) <= 0:
                raise ValueError(f"partition_{name} must be > 0, got {getattr(self, name)}.")
        if self.alpha < _LEAST_ALPHA:
            raise ValueError(
                f"partition_alpha must be >= {_LEAST_ALPHA:g}, where a client has one label, got "
                f"{self.alpha}."
            )
        if not 0 <= self.similarity <= 1:
            raise ValueError(f"partition_similarity must be in 0 .. 1, got {self.similarity}.")


def iid(labels: np.ndarray, hparams: Hparams, rng: np.random.Generator) -> list[np.ndarray]:
    """Deals shuffled rows; sizes differ by one at most."""
    return np.array_split(rng.permutation(len(labels)), hparams.clients)


def label_shards(
    labels: np.ndarray, hparams: Hparams, rng: np.random.Generator
) -> list[np.ndarray]:
    """Sorts by label, cuts into clients x shards_per_client shards and deals them."""
    shuffled = rng.permutation(len(labels))
    by_label = shuffled[np.argsort(labels[shuffled], kind="stable")]
    shards = np.array_split(by_label, hparams.clients * hparams.shards_per_client)
    dealt = rng.permutation(len(shards)).reshape(hparams.clients, hparams.shards_per_client)
    return [np.concatenate([shards[shard] for shard in own]) for own in dealt]


def dirichlet(labels: np.ndarray, hparams: Hparams, rng: np.random.Generator) -> list[np.ndarray]:
    """Equally large clients, each with label shares of its own; a label that has run out is drawn
    no more.
    """
    classes, class_of_row = np.unique(labels, return_inverse=True)
    pools = [list(rng.permutation(np.flatnonzero(class_of_row == c))) for c in range(len(classes))]
    prior = np.array([len(pool) for pool in pools]) / len(labels)
    clients = []
    for size in (len(part) for part in np.array_split(labels, hparams.clients)):
        shares = rng.dirichlet(hparams.alpha * prior)
        rows = []
        while len(rows) < size:
            left = np.array([len(pool) for pool in pools])
            # Once what this client wants has run out, it takes what is there.
            weights = shares * (left > 0)
            weights = left / left.sum() if weights.sum() <= 0 else weights / weights.sum()
            wanted = np.minimum(rng.multinomial(size - len(rows), weights), left)
            for pool, count in zip(pools, wanted, strict=True):
                rows.extend(pool.pop() for _ in range(count))
        clients.append(np.array(rows))
    return clients


def unequal(labels: np.ndarray, hparams: Hparams, rng: np.random.Generator) -> list[np.ndarray]:
    """Deals shuffled rows in log-normal shares, each client at least one."""
    shares = rng.lognormal(0, hparams.sigma, hparams.clients)
    spare = len(labels) - hparams.clients
    ends = np.rint(np.cumsum(shares) / shares.sum() * spare).astype(int) + np.arange(
        1, hparams.clients + 1
    )
    return np.split(rng.permutation(len(labels)), ends[:-1])


def similarity(labels: np.ndarray, hparams: Hparams, rng: np.random.Generator) -> list[np.ndarray]:
    """Deals a share of the rows IID and the rest, sorted by label, in one piece a client; section 7
    of https://arxiv.org/abs/1910.06378. Sizes differ by one at most.
    """
    shuffled = rng.permutation(len(labels))
    alike, rest = np.split(shuffled, [round(hparams.similarity * len(labels))])
    by_label = rest[np.argsort(labels[rest], kind="stable")]
    # Of either kind the first pieces are the larger ones: turned round, they do not add up.
    pieces = np.array_split(by_label, hparams.clients), np.array_split(alike, hparams.clients)[::-1]
    return [np.concatenate(own) for own in zip(*pieces, strict=True)]


NATURAL = "natural"
BY_NAME = {
    "iid": iid,
    "label_shards": label_shards,
    "dirichlet": dirichlet,
    "similarity": similarity,
    "unequal": unequal,
}


def apply(
    data: federated_data.FederatedData, name: str, hparams: Hparams
) -> federated_data.FederatedData:
    """Returns the data with the clients that the partitioner makes; "natural" leaves its users.

    Raises:
        ValueError: An unknown name, no natural clients, or more clients (or shards) than examples.
    """
    if name == NATURAL:
        if data.train.num_clients == 1:
            raise ValueError(
                f"{data.name} has no users; choose --partition from {sorted(BY_NAME)}."
            )
        return data
    if name not in BY_NAME:
        raise ValueError(f"partition must be one of {[NATURAL, *sorted(BY_NAME)]}, got {name!r}.")
    parts = hparams.clients * (hparams.shards_per_client if name == "label_shards" else 1)
    if parts > data.train.total:
        raise ValueError(
            f"{data.train.total} examples can't be dealt into {parts} parts; lower "
            f"--partition_clients."
        )
    rng = np.random.default_rng(np.random.SeedSequence([hparams.seed]))
    rows = BY_NAME[name](data.train.labels(), hparams, rng)
    if data.train.order is not None:
        rows = [data.train.order[own] for own in rows]
    train = federated_data.ClientExamples(
        client_ids=tuple(f"client_{i:05d}" for i in range(hparams.clients)),
        columns=data.train.columns,
        offsets=np.concatenate([[0], np.cumsum([len(own) for own in rows])]).astype(np.int64),
        order=np.concatenate(rows).astype(np.int64),
    )
    test = federated_data.one_client(data.test.all())
    return dataclasses.replace(data, train=train, test=test, partition=name)
