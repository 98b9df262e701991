"""`rangeseg show`, for use from a checkout."""

import sys

from rangeseg.cli import main

sys.exit(main(["show", *sys.argv[1:]]))
