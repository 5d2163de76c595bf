"""When a run may end before its last round: `--stop_at="test/accuracy>=0.99"`."""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

MET = "train/goal_met"
"""1 in the row of the round after which a run ended because of its goal."""


class Goal(NamedTuple):
    """A metric and the value that it must reach.

    Attributes:
        metric: As metrics.jsonl names it.
        higher: Whether the value is a lower bound, else an upper one.
        value: The bound; it is met where it is equalled.
    """

    metric: str
    higher: bool
    value: float

    def is_met(self, row: Mapping[str, float]) -> bool:
        """Whether a round's metrics meet it; those of a round without the metric do not."""
        found = row.get(self.metric)
        if found is None:
            return False
        return found >= self.value if self.higher else found <= self.value


def parse(text: str) -> Goal | None:
    """Reads METRIC>=VALUE or METRIC<=VALUE; "" is None, anything else raises ValueError."""
    if not text:
        return None
    found = re.fullmatch(r"\s*([^\s<>=]+)\s*([<>])=\s*(\S+)\s*", text)
    try:
        value = float(found[3]) if found else math.nan
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise ValueError(f"stop_at must be METRIC>=VALUE or METRIC<=VALUE, got {text!r}.")
    return Goal(found[1], found[2] == ">", value)
