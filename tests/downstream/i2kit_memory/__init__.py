"""A provider for i2kit whose cloud is a dictionary, or one JSON file: the model for plug-ins of your own."""
