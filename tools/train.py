"""`rangeseg train`, for use from a checkout."""

import sys

from rangeseg.cli import main

sys.exit(main(["train", *sys.argv[1:]]))
