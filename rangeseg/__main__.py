"""`python -m rangeseg` is the `rangeseg` command."""

import sys

from rangeseg.cli import main

sys.exit(main())
