"""The `i2kit` command: arguments, rendering and exit codes over the library."""

from i2kit.cli.program import main as main
