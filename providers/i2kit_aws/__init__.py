"""The provider for Amazon Web Services; what users need of it is registered by `plugin`."""
