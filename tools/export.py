"""`rangeseg export`, for use from a checkout."""

import sys

from rangeseg.cli import main

sys.exit(main(["export", *sys.argv[1:]]))
