"""`rangeseg benchmark`, for use from a checkout."""

import sys

from rangeseg.cli import main

sys.exit(main(["benchmark", *sys.argv[1:]]))
