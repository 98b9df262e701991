"""`rangeseg synthesise`, for use from a checkout."""

import sys

from rangeseg.cli import main

sys.exit(main(["synthesise", *sys.argv[1:]]))
