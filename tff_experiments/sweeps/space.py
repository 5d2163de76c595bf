"""What a search tries: every combination of listed values, or random draws.

    client_learning_rate=0.03,0.1,0.3     each of them
    client_learning_rate=log:0.001:1      random search only: drawn log-uniformly
    server_momentum=uniform:0:0.99        drawn uniformly
    client_epochs=int:1:20                a whole number, both ends included

Random search as in Bergstra and Bengio, JMLR 2012 (https://www.jmlr.org/papers/v13/bergstra12a).
"""

import dataclasses
import itertools
import math
import urllib.parse
from collections.abc import Sequence

import numpy as np

_DRAWS = ("log", "uniform", "int")
_MOST_TRIES = 1000


@dataclasses.dataclass(frozen=True)
class Axis:
    """One flag that is searched over.

    Attributes:
        name: The flag's, without dashes.
        values: What is tried; empty for a range.
        how: "log", "uniform" or "int" for a range, else "".
        low: The range's lower end.
        high: The range's upper end.
    """

    name: str
    values: tuple[str, ...] = ()
    how: str = ""
    low: float = 0.0
    high: float = 0.0

    def draw(self, rng: np.random.Generator) -> str:
        """One value; ranges to four significant digits, as a person would write them."""
        if not self.how:
            return self.values[rng.integers(len(self.values))]
        if self.how == "int":
            return str(rng.integers(int(self.low), int(self.high) + 1))
        if self.how == "log":
            return f"{math.exp(rng.uniform(math.log(self.low), math.log(self.high))):.4g}"
        return f"{rng.uniform(self.low, self.high):.4g}"


def parse(texts: Sequence[str]) -> list[Axis]:
    """Reads --sweep; several axes may stand in one text, with spaces between.

    Args:
        texts: Each "name=values", see the module.

    Returns:
        The axes, in order.

    Raises:
        ValueError: A text is not of that form, or names a flag twice.
    """
    axes = [_axis(part) for text in texts for part in text.split()]
    names = [axis.name for axis in axes]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"--sweep names {', '.join(twice)} twice.")
    return axes


def _axis(text: str) -> Axis:
    name, _, values = text.removeprefix("--").partition("=")
    how, *ends = values.split(":")
    if not name or not values.strip(","):
        raise ValueError(f"--sweep must be name=value,value or name=log:low:high, got {text!r}.")
    if how not in _DRAWS:
        return Axis(name, tuple(dict.fromkeys(filter(None, values.split(",")))))
    try:
        low, high = map(float, ends)
    except ValueError:
        raise ValueError(f"--sweep: a range is {how}:low:high, got {text!r}.") from None
    if low >= high or (how == "log" and low <= 0):
        least = "0 < low < high" if how == "log" else "low < high"
        raise ValueError(f"--sweep: a range must have {least}, got {text!r}.")
    return Axis(name, (), how, low, high)


def grid(axes: Sequence[Axis]) -> list[dict[str, str]]:
    """Every combination, {flag: value}; the last axis changes fastest."""
    for axis in axes:
        if axis.how:
            raise ValueError(f"--sweep: {axis.name} is a range; random search needs --samples.")
    combinations = itertools.product(*(axis.values for axis in axes))
    names = [axis.name for axis in axes]
    return [dict(zip(names, values, strict=True)) for values in combinations]


def sample(axes: Sequence[Axis], number: int, *, seed: int) -> list[dict[str, str]]:
    """So many different random combinations, {flag: value}; more of them begin with the same.

    Args:
        axes: What is drawn.
        number: How many.
        seed: Of the draws.

    Returns:
        The combinations.

    Raises:
        ValueError: There are not so many.
    """
    found: dict[tuple[str, ...], None] = {}
    for i in itertools.count():
        rng = np.random.default_rng([seed, i])
        found.setdefault(tuple(axis.draw(rng) for axis in axes))
        if len(found) == number:
            names = [axis.name for axis in axes]
            return [dict(zip(names, values, strict=True)) for values in found]
        if i == number * _MOST_TRIES:
            raise ValueError(f"--samples={number}: there are only {len(found)} combinations.")
    raise AssertionError


def name_of(setting: dict[str, str]) -> str:
    """A setting's name, which is also its folder's: its flags, with nothing that paths mind."""
    told = ",".join(f"{name}={value}" for name, value in setting.items())
    return urllib.parse.quote(told, safe="=,+.") or "default"
