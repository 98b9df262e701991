"""`rangeseg demo`, for use from a checkout."""

import sys

from rangeseg.cli import main

sys.exit(main(["demo", *sys.argv[1:]]))
