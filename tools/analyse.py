"""`rangeseg analyse`, for use from a checkout."""

import sys

from rangeseg.cli import main

sys.exit(main(["analyse", *sys.argv[1:]]))
