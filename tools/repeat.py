"""`rangeseg repeat`, for use from a checkout."""

import sys

from rangeseg.cli import main

sys.exit(main(["repeat", *sys.argv[1:]]))
