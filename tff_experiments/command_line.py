"""What all scripts do with their command line: bad input is one line and exit code 2."""

import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar

from absl import app, flags

T = TypeVar("T")
BAD_INPUT = 2


def define_or_exit(define_all: Callable[[], T]) -> T:
    """Defines a script's flags; a bad plug-in or flagfile is one line and exit code 2."""
    try:
        return define_all()
    except ValueError as error:
        _refuse(str(error))


def run(main: Callable[[list[str]], Any], argv: Sequence[str] | None = None) -> None:
    """Absl's `app.run`, but that flags which are not right are one line and exit code 2, as all
    bad input is.
    """
    app.run(main, argv=argv, flags_parser=_parse)


def refuse_arguments(argv: Sequence[str]) -> None:
    """Raises ValueError where something follows a script's name that is no flag."""
    if len(argv) > 1:
        raise ValueError(f"unexpected argument {argv[1]!r}; all are flags, see --helpshort.")


def _parse(argv: Sequence[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        told = " ".join(str(error).split()).removeprefix("ERROR:: ")
        _refuse(f"{told.rstrip('.')}; --helpshort and --helpfull list flags.")


def _refuse(reason: str) -> NoReturn:
    print(f"error: {reason}", file=sys.stderr)
    sys.exit(BAD_INPUT)
