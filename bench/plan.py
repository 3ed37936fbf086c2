"""Seconds to plan 10,000 Deployments with their Services (aim: under 3 s), beside the time to compare the result with itself.

The images are the same for all; everything else differs.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "unit"))

from sample import container, locked, service, target, workload, workloads

from i2kit.diff import diff
from i2kit.manifest.workloads import EnvValue, Pod
from i2kit.plan import Observed, ObservedResource
from i2kit.planner import plan

COUNT = 10_000


def main() -> None:
    names = [f"web-{number}" for number in range(COUNT)]
    asked = workloads(
        *(workload(name, pod=Pod(containers=(container(env=(EnvValue(name="N", value=name),)),))) for name in names),
        services=tuple(service(name, workloads=(name,)) for name in names),
    )
    start = time.perf_counter()
    planned = plan(asked, locked(), target())
    planning = time.perf_counter() - start
    observed = Observed(resources=tuple(ObservedResource(resource=one) for one in planned.resources))
    start = time.perf_counter()
    changes = diff(planned, observed)
    comparing = time.perf_counter() - start
    assert not changes.pending
    print(f"plan {COUNT} Deployments with Services: {planning:.2f} s; diff of {len(planned.resources)} resources: {comparing:.2f} s")


main()
