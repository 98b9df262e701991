"""`rangeseg evaluate`, for use from a checkout."""

import sys

from rangeseg.cli import main

sys.exit(main(["evaluate", *sys.argv[1:]]))
