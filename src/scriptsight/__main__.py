"""`python -m scriptsight` is the command `scriptsight`."""

import sys

from scriptsight.cli import main

if __name__ == "__main__":
    sys.exit(main())
