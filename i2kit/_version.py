"""The version of i2kit."""

__version__ = "0.1.0.dev0"
