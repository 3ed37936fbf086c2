"""For plug-in authors: the conformance suite, a fake provider, and kill points."""
