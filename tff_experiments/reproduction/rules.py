"""How a run becomes a published number, what is searched, and what counts as the same number."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

from tff_experiments.reporting import curves


@dataclasses.dataclass(frozen=True)
class Rule:
    """How a run becomes a number.

    Attributes:
        metric: As metrics.jsonl names it.
        kind: Rounds to `target`, as `reporting.curves` counts them; the mean of the metric in the
            last `last` rounds; or its last value.
        target: What is to be reached.
        last: Rounds of the mean.
        scale: Published numbers are so many times the metric.
    """

    metric: str = "test/accuracy"
    kind: Literal["rounds_to", "mean_of_last", "final"] = "final"
    target: float = math.nan
    last: int = 100
    scale: float = 1.0

    @property
    def higher(self) -> bool:
        """Whether a large metric is good."""
        return curves.higher_is_better(self.metric)

    @property
    def told(self) -> str:
        """The rule in words."""
        name = self.metric.removeprefix("test/")
        times = f"{self.scale:g} x " if self.scale != 1 else ""
        return {
            "rounds_to": f"rounds to {name} {self.target:g}",
            "mean_of_last": f"{times}mean {name} of the last {self.last} rounds",
            "final": f"{times}{name} after the last round",
        }[self.kind]


@dataclasses.dataclass(frozen=True)
class Grid:
    """Learning rates that are searched: 0.1 x 10^(exponent / 3), the factor of McMahan et al. 2017.

    Attributes:
        flag: Which rate.
        exponents: Where the search begins; it goes on beyond an end that is the best.
    """

    flag: str
    exponents: tuple[int, ...] = (-1, 0, 1)

    def values(self, exponents: Sequence[int]) -> tuple[str, ...]:
        """The rates as they are written, ascending."""
        rates = [0.1 * 10 ** (i / 3) for i in sorted(exponents)]
        return tuple(str(round(rate, 4)) if rate > 0.009 else f"{rate:.3g}" for rate in rates)

    def grown(self, exponents: Sequence[int], best: str) -> tuple[int, ...]:
        """The exponents up to the neighbours of the best; the same ones where these are there."""
        at = round(3 * math.log10(float(best) / 0.1))
        low, high = min(*exponents, at - 1), max(*exponents, at + 1)
        return tuple(range(low, high + 1))


@dataclasses.dataclass(frozen=True)
class Band:
    """Between which bounds ours counts as the published number, ends included.

    Attributes:
        low: The lower bound.
        high: The upper bound.
        of: Of ours / published, or of ours - published.
    """

    low: float
    high: float
    of: Literal["ratio", "difference"] = "ratio"

    def holds(self, ours: float, published: float) -> bool:
        """Whether ours is within."""
        value = ours / published if self.of == "ratio" else ours - published
        # What is printed as equal to a bound is not outside of it for its last bit.
        slack = 1e-9 * max(1.0, abs(published))
        return self.low - slack <= value <= self.high + slack

    @property
    def told(self) -> str:
        """The bounds in words."""
        if self.of == "difference":
            return (
                f"+- {self.high:g}" if self.low == -self.high else f"{self.low:g} .. {self.high:g}"
            )
        if math.isclose(self.low * self.high, 1):
            return f"within {self.high:g}x"
        return f"{self.low:g}x .. {self.high:g}x" if self.low else f"at most {self.high:g}x"
