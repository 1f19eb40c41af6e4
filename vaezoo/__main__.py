"""`python -m vaezoo` is the command `vaezoo`."""

import sys

from vaezoo.cli import main

if __name__ == "__main__":
    sys.exit(main())
