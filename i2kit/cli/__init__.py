"""The `i2kit` command: arguments, rendering and exit codes over the library."""
