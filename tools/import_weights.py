"""`rangeseg import-weights`, for use from a checkout."""

import sys

from rangeseg.cli import main

sys.exit(main(["import-weights", *sys.argv[1:]]))
