"""What a partition looks like: clients, sizes, label skew; as a table and as a plot."""

import pathlib

import numpy as np

from tff_experiments.datasets import federated_data

MAX_BARS = 60


def label_counts(data: federated_data.FederatedData) -> np.ndarray:
    """Examples per client and label, int64 [num_clients, num_classes]."""
    split = data.train
    client = np.repeat(np.arange(split.num_clients), split.counts)
    cells = client * data.num_classes + split.labels()
    size = split.num_clients * data.num_classes
    return np.bincount(cells, minlength=size).reshape(split.num_clients, data.num_classes)


def summarize(data: federated_data.FederatedData) -> dict[str, float]:
    """Counts, sizes and skew.

    Returns:
        `clients`; `examples`; `examples_min`, `_median`, `_max` per client; `labels_mean`, the mean
        number of different labels of a client; `skew_mean` and `skew_max`, total variation distance
        between a client's label shares and those of all, in [0, 1].
    """
    counts = label_counts(data)
    counts = counts[counts.sum(axis=1) > 0]
    sizes = counts.sum(axis=1)
    shares, overall = counts / sizes[:, None], counts.sum(axis=0) / counts.sum()
    skew = np.abs(shares - overall).sum(axis=1) / 2
    return {
        "clients": data.train.num_clients,
        "examples": int(sizes.sum()),
        "examples_min": int(data.train.counts.min()),
        "examples_median": float(np.median(data.train.counts)),
        "examples_max": int(sizes.max()),
        "labels_mean": float((counts > 0).sum(axis=1).mean()),
        "skew_mean": float(skew.mean()),
        "skew_max": float(skew.max()),
    }


def as_text(data: federated_data.FederatedData) -> str:
    """The summary as lines a person reads."""
    s = summarize(data)
    return "\n".join(
        [
            f"data      {data.label}",
            f"clients   {s['clients']:,}",
            f"examples  {s['examples']:,}; per client: {s['examples_min']} smallest, "
            f"{s['examples_median']:g} median, {s['examples_max']} largest",
            f"labels    {s['labels_mean']:.1f} of {data.num_classes} in a client on average",
            f"skew      {s['skew_mean']:.3f} mean, {s['skew_max']:.3f} largest "
            "(total variation between a client's labels and all: 0 is IID, 1 is disjoint)",
        ]
    )


def plot(data: federated_data.FederatedData, path: pathlib.Path) -> None:
    """Writes a picture, PNG or SVG by the name: labels of some clients, and the clients' sizes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    counts = label_counts(data)
    shown = np.linspace(0, len(counts) - 1, min(MAX_BARS, len(counts))).astype(int)
    figure, (labels, sizes) = plt.subplots(1, 2, figsize=(12, 4), width_ratios=[2, 1])
    bottom = np.zeros(len(shown))
    colors = plt.get_cmap("turbo")(np.linspace(0, 1, data.num_classes))
    for label in range(data.num_classes):
        heights = counts[shown, label]
        name = str(label) if data.num_classes <= 12 else None
        labels.bar(range(len(shown)), heights, bottom=bottom, color=colors[label], label=name)
        bottom += heights
    which = "all" if len(shown) == len(counts) else f"{len(shown)} of {len(counts)}"
    labels.set(title=f"labels by client ({which} clients)", xlabel="client", ylabel="examples")
    if data.num_classes <= 12:
        labels.legend(fontsize="x-small", title="label", bbox_to_anchor=(1, 1), loc="upper left")
    sizes.hist(data.train.counts, bins=30)
    sizes.set(title="sizes of clients", xlabel="examples", ylabel="clients")
    figure.suptitle(data.label, fontsize="medium")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)
