"""A job that executes code, for tests: `python -m support.run_code CODE`."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str]) -> int:
    """Execute the code; its exit status is 0 unless it calls `sys.exit`."""
    exec(arguments[0], {"__name__": "code"})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
