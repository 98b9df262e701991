"""`rangeseg fit-head`, for use from a checkout."""

import sys

from rangeseg.cli import main

sys.exit(main(["fit-head", *sys.argv[1:]]))
