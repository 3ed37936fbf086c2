"""What authors of plug-ins test theirs with: the driver contract in executable form, sample resources, kill points, strategies."""

import pytest

# Without this a failing test of the suite would say nothing but AssertionError.
pytest.register_assert_rewrite("i2kit.testing.bench", "i2kit.testing.conformance")
