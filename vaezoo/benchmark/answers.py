"""Standard output of a benchmark process."""

import os
from typing import TextIO


def answers_alone() -> TextIO:
    """Return standard output for answers alone: what libraries print goes to standard error from now on."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers
