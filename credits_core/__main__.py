"""`python -m credits_core`: the product from the command line."""

import sys

from credits_core.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
