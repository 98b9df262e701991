"""`rangeseg split`, for use from a checkout."""

import sys

from rangeseg.cli import main

sys.exit(main(["split", *sys.argv[1:]]))
