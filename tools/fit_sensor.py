"""`rangeseg fit-sensor`, for use from a checkout."""

import sys

from rangeseg.cli import main

sys.exit(main(["fit-sensor", *sys.argv[1:]]))
