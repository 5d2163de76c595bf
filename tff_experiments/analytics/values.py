"""The clients' values, and what is public of them."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Values:
    """The clients' values.

    Attributes:
        name: What they are, a value of `value_sources.Hparams.value`.
        source: What a result on them must say of it.
        clients: One str per client.
        numbers: float64 [n_i] per client, or None where they are words alone.
        words: str [n_i] per client, or None where they are numbers alone.
        lower: The least that a number can be, public.
        upper: The most.
        is_range_public: Whether these are known without looking at the clients.
        domain: The words that there can be, public, in order; () where that is not known.
    """

    name: str
    source: str
    clients: tuple[str, ...]
    numbers: Sequence[np.ndarray] | None = None
    words: Sequence[np.ndarray] | None = None
    lower: float = 0.0
    upper: float = 1.0
    is_range_public: bool = True
    domain: tuple[str, ...] = ()

    @property
    def counts(self) -> np.ndarray:
        """Values per client, int64 [clients]."""
        held = self.words if self.numbers is None else self.numbers
        return np.array([len(values) for values in held], np.int64)

    def need_numbers(self, query: str) -> Sequence[np.ndarray]:
        """The numbers; raises ValueError for a query that can't be asked of words."""
        if self.numbers is None:
            raise ValueError(
                f"--query={query} is of numbers, and --value={self.name} is words; take "
                f"--value=label, num_examples or pixel_mean."
            )
        return self.numbers

    def need_words(self, query: str) -> Sequence[np.ndarray]:
        """The words; raises ValueError for a query that can't be asked of numbers."""
        if self.words is None:
            raise ValueError(
                f"--query={query} is of words, and --value={self.name} is numbers; take "
                f"--value=label, word, writer, zipf, or --value=file --words=FILE."
            )
        return self.words

    def bounds(
        self, query: str, lower: float, upper: float, *, private: bool
    ) -> tuple[float, float]:
        """The range of the numbers: as given, NaN for what is public.

        Raises:
            ValueError: It is empty, or noise would hide nothing, for the range is the clients' own.
        """
        if private and not self.is_range_public and math.isnan(upper):
            raise ValueError(
                f"how large --value={self.name} gets is known from the clients alone; give "
                f"--{query}_upper, or take --mechanism=none."
            )
        lower = self.lower if math.isnan(lower) else lower
        upper = self.upper if math.isnan(upper) else upper
        if not -math.inf < lower < upper < math.inf:
            raise ValueError(f"the range of numbers must not be empty, got {lower} .. {upper}.")
        return lower, upper

    def positions(self) -> list[np.ndarray]:
        """The words by their places in `domain`, float64 [n_i] per client; others are left out."""
        place = {word: i for i, word in enumerate(self.domain)}
        known = lambda words: [place[word] for word in words if word in place]
        return [np.array(known(words), np.float64) for words in self.words]
