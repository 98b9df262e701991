"""`rangeseg validate`, for use from a checkout."""

import sys

from rangeseg.cli import main

sys.exit(main(["validate", *sys.argv[1:]]))
