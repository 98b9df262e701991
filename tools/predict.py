"""`rangeseg predict`, for use from a checkout."""

import sys

from rangeseg.cli import main

sys.exit(main(["predict", *sys.argv[1:]]))
