"""`rangeseg stats`, for use from a checkout."""

import sys

from rangeseg.cli import main

sys.exit(main(["stats", *sys.argv[1:]]))
