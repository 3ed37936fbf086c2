"""A cloud in memory that misbehaves on request: latency, throttling, lost answers, stale reads, partial failures, quotas, bad images."""

from i2kit.testing.cloud.clock import FakeClock
from i2kit.testing.cloud.cloud import FakeCloud
from i2kit.testing.cloud.faults import Faults
from i2kit.testing.cloud.front import Answer
from i2kit.testing.cloud.members import Behaviour, dies_after, never_boots, never_ready, never_starts

__all__ = ["Answer", "Behaviour", "FakeClock", "FakeCloud", "Faults", "dies_after", "never_boots", "never_ready", "never_starts"]
