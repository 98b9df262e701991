"""`rangeseg unpack`, for use from a checkout."""

import sys

from rangeseg.cli import main

sys.exit(main(["unpack", *sys.argv[1:]]))
