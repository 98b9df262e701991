"""`rangeseg report`, for use from a checkout."""

import sys

from rangeseg.cli import main

sys.exit(main(["report", *sys.argv[1:]]))
