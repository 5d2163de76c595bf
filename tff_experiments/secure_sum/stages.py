"""The steps that a client takes in a secure sum, and the errors that end one.

A client may be gone before any of them: `STAGES[i]` names the first step that it does not take.
Clients that upload are in the sum, whatever becomes of them later.
"""

STAGES = (
    "before_advertising",
    "before_key_sharing",
    "before_upload",
    "before_consistency",
    "before_unmasking",
)
ADVERTISE, SHARE, UPLOAD, CONSISTENCY, UNMASK = range(5)
STAYS = len(STAGES)


def first_missing(drops: str) -> int:
    """The first step not taken by a client that drops at a stage; `STAYS` where `drops` is "".

    Raises:
        ValueError: There is no such stage.
    """
    if not drops:
        return STAYS
    if drops not in STAGES:
        raise ValueError(f"a client drops at one of {STAGES}, or '' if it stays; got {drops!r}.")
    return STAGES.index(drops)


class ProtocolError(ValueError):
    """A message breaks the protocol; whoever received it does not go on with its sender."""


class AbortedError(RuntimeError):
    """Too few clients are left: nothing of the round is opened.

    Attributes:
        metrics: How the round went until then.
    """

    def __init__(self, reason: str):
        """Says what was missing."""
        super().__init__(f"the secure sum was aborted: {reason}")
        self.metrics: dict[str, float] = {}


def check_enough(step: str, have: int, need: int) -> None:
    """Raises AbortedError where fewer than `need` clients took a step."""
    if have < need:
        raise AbortedError(f"{have} clients {step}, {need} are needed.")
