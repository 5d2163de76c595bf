"""What clients hold: numbers or words, some for each client, from federated data, a file or a law.

    label         the label of each example, as a number and as a word of a public list
    num_examples  how many examples a client has: one number each
    pixel_mean    the mean pixel of each example, 0 to 1
    word          what each label is called in EMNIST: digit_7, upper_A, lower_a
    writer        the client's own name, once an example: words that no two clients share
    zipf          words w00000, w00001, ... of P(w_k) ~ (k + 1)^-s, without any data set
    file          words of a CSV file with the columns client,word, one line an occurrence

Public of them, so that no answer takes it from the clients, are the range of labels and pixels, and
the list of words for `label`, `zipf` or with a `vocabulary`.
"""

import collections
import csv
import dataclasses
import pathlib
import string
from typing import Literal

import numpy as np

from tff_experiments.analytics import values
from tff_experiments.datasets import federated_data

OWN_DATA = ("zipf", "file")  # What needs no data set.
_CASES = (
    *(("digit", c) for c in string.digits),
    *(("upper", c) for c in string.ascii_uppercase),
    *(("lower", c) for c in string.ascii_lowercase),
)


@dataclasses.dataclass(frozen=True)
class Hparams:
    """What is asked about."""

    value: Literal["label", "num_examples", "pixel_mean", "word", "writer", "zipf", "file"] = (
        "label"
    )
    """What clients hold."""
    words: str = ""
    """file: a CSV file with the columns client,word."""
    vocabulary: str = ""
    """A file with the public list of words, one a line: without it, words have no histogram."""
    zipf_clients: int = 1000
    """zipf: clients."""
    zipf_examples: int = 20
    """zipf: words of a client."""
    zipf_words: int = 100_000
    """zipf: different words there are."""
    zipf_exponent: float = 1.1
    """zipf: s > 0, how fast the words' frequencies fall."""

    def __post_init__(self):
        for name in ("zipf_clients", "zipf_examples", "zipf_words"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be >= 1, got {getattr(self, name)}.")
        if not self.zipf_exponent > 0:
            raise ValueError(f"zipf_exponent must be > 0, got {self.zipf_exponent}.")
        if (self.value == "file") != bool(self.words):
            raise ValueError(
                f"--value=file and --words=FILE go together, got --value={self.value} and "
                f"--words={self.words!r}."
            )


def load(
    hparams: Hparams, data: federated_data.FederatedData | None, *, seed: int
) -> values.Values:
    """Takes the values of the training clients.

    Args:
        hparams: What is asked about.
        data: The data set; None for `OWN_DATA`.
        seed: What `zipf` draws from.

    Raises:
        ValueError: A file can't be read as what it should be.
    """
    makers = {"zipf": lambda: _zipf(hparams, seed), "file": lambda: _from_file(hparams)}
    made = makers[hparams.value]() if hparams.value in OWN_DATA else _of_data(hparams.value, data)
    if hparams.vocabulary:
        made.need_words(f"{hparams.value} with a --vocabulary")
        made = dataclasses.replace(made, domain=_vocabulary(hparams.vocabulary))
    return made


def _of_data(value: str, data: federated_data.FederatedData) -> values.Values:
    split = data.train
    about = {"name": value, "source": data.label, "clients": split.client_ids}
    if value == "num_examples":
        counts = split.counts.astype(np.float64)
        return values.Values(
            **about,
            numbers=np.split(counts, len(counts)),
            upper=float(counts.max()),
            is_range_public=False,
        )
    column = "images" if value == "pixel_mean" else "labels"
    held = [split.examples(client)[column] for client in split.client_ids]
    if value == "pixel_mean":
        white = 255.0 if held[0].dtype == np.uint8 else 1.0
        mean = lambda images: images.reshape(len(images), -1).mean(axis=1, dtype=np.float64)
        return values.Values(**about, numbers=[mean(images) / white for images in held])
    if value == "writer":
        names = zip(split.client_ids, held, strict=True)
        return values.Values(**about, words=[np.full(len(labels), name) for name, labels in names])
    if value == "word":
        return values.Values(**about, words=[_names(data.num_classes)[labels] for labels in held])
    domain = tuple(str(label) for label in range(data.num_classes))
    return values.Values(
        **about,
        numbers=[labels.astype(np.float64) for labels in held],
        words=[np.array(domain)[labels] for labels in held],
        upper=float(data.num_classes - 1),
        domain=domain,
    )


def _names(num_classes: int) -> np.ndarray:
    if num_classes > len(_CASES):
        raise ValueError(f"--value=word names {len(_CASES)} classes, the data has {num_classes}.")
    return np.array(["_".join(case) for case in _CASES])


def _zipf(hparams: Hparams, seed: int) -> values.Values:
    weights = np.arange(1, hparams.zipf_words + 1, dtype=np.float64) ** -hparams.zipf_exponent
    edges = np.cumsum(weights / weights.sum())
    rng = np.random.default_rng(np.random.SeedSequence([seed, hparams.zipf_words]))
    shape = hparams.zipf_clients, hparams.zipf_examples
    drawn = np.minimum(np.searchsorted(edges, rng.random(shape)), hparams.zipf_words - 1)
    width = len(str(hparams.zipf_words - 1))
    domain = np.array([f"w{k:0{width}d}" for k in range(hparams.zipf_words)])
    return values.Values(
        name="zipf",
        source=f"zipf, {shape[0]:,} clients with {shape[1]} words each of {len(domain):,} "
        f"(exponent {hparams.zipf_exponent:g}); generated",
        clients=tuple(f"client_{i:06d}" for i in range(shape[0])),
        words=list(domain[drawn]),
        domain=tuple(domain.tolist()),
    )


def _from_file(hparams: Hparams) -> values.Values:
    path = pathlib.Path(hparams.words)
    held = collections.defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if not {"client", "word"} <= set(rows.fieldnames or ()):
            raise ValueError(
                f"--words={path} must begin with a line that has the columns client,word, got "
                f"{','.join(rows.fieldnames or ())!r}."
            )
        for row in rows:
            if not row["client"] or not row["word"]:
                raise ValueError(f"--words={path}, line {rows.line_num}: no client or no word.")
            held[row["client"]].append(row["word"])
    if not held:
        raise ValueError(f"--words={path} has no words.")
    total = sum(map(len, held.values()))
    return values.Values(
        name="file",
        source=f"{path.name}, {len(held):,} clients, {total:,} words",
        clients=tuple(held),
        words=[np.array(words) for words in held.values()],
    )


def _vocabulary(name: str) -> tuple[str, ...]:
    lines = pathlib.Path(name).read_text(encoding="utf-8").splitlines()
    words = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not words:
        raise ValueError(f"--vocabulary={name} has no words.")
    return words
