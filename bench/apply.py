"""Applies many Deployments on the fake cloud, whose calls take 100 ms and of which 5 % are throttled, beside the least time they need.

At least: the greater of the critical path (network, image, group, balancer, name, and the records) and all calls' time together divided
by how many may run at once. Also the calls of a deploy that finds nothing to do, which must not grow with the number of Deployments.

python bench/apply.py [Deployments]
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from clouds import SAMPLES, Operator

from i2kit.clock import SystemClock
from i2kit.plan import Plan
from i2kit.testing.cloud import FakeCloud, Faults

LATENCY = 0.1
CONCURRENCY = 8
CRITICAL_CALLS = 9
"""One after the other: claim, look around, network, image, group, look, balancer, name, release."""


def application(count: int) -> Plan:
    resources = {}
    for number in range(count):
        for one in SAMPLES.workload("1", workload=f"web-{number}"):
            resources[one.kind, one.name] = one
    return SAMPLES.plan(*resources.values())


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    cloud = FakeCloud("conformance", clock=SystemClock(), faults=Faults(latency=(LATENCY, LATENCY), throttled=0.05))
    with tempfile.TemporaryDirectory() as folder:
        operator = Operator(cloud=cloud, folder=Path(folder))
        plan = application(count)
        start = time.perf_counter()
        assert operator.deploy(plan).ok
        seconds = time.perf_counter() - start
        bound = max(CRITICAL_CALLS * LATENCY, cloud.call_seconds / CONCURRENCY)
        calls = Counter(call.method for call in cloud.calls)
        print(f"{count} Deployments: {seconds:.1f} s for {sum(calls.values())} calls ({dict(calls)}); at least {bound:.1f} s")
        print(f"ratio {seconds / bound:.2f}")
        for size in (10, count):
            quiet = FakeCloud("conformance")
            again = Operator(cloud=quiet, folder=Path(folder))
            again.deploy(application(size))
            quiet.forget_calls()
            again.deploy(application(size))
            print(f"deploying {size} Deployments again: {len(quiet.calls)} calls")


if __name__ == "__main__":
    main()
