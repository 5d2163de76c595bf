"""Keeps TensorFlow's and Keras' start-up noise from the user. Call `start` before TensorFlow is
imported.
"""

import logging
import os
import sys
import warnings


def start(argv: list[str] | None = None) -> bool:
    """Silences TensorFlow unless --verbosity asks for 0 (info) or 1 (debug); returns whether it
    did.
    """
    if _verbosity(sys.argv if argv is None else argv) >= 0:
        return False
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.filterwarnings("ignore", category=UserWarning, message="pkg_resources is deprecated")
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    # TFF's secure sums leave assertions unused; TensorFlow prints a stack for each.
    logging.getLogger("tensorflow").addFilter(
        lambda record: "Object was never used" not in record.getMessage()
    )
    return True


def _verbosity(argv: list[str]) -> int:
    for flag, following in zip(argv, [*argv[1:], ""], strict=True):
        name, _, value = flag.lstrip("-").partition("=")
        if flag.startswith("-") and name in ("verbosity", "v"):
            text = value or following
            return int(text) if text.lstrip("-").isdigit() else -1
    return -1
