"""`python -m i2kit`: the command, where it is not on PATH."""

import sys

from i2kit.cli.program import main

sys.exit(main())
