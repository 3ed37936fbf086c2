"""What a small application looks like at every stage, for tests that only show it."""

from __future__ import annotations

from attrs import evolve

from i2kit.errors import Where
from i2kit.housekeeping import Garbage
from i2kit.manifest.workloads import Notice
from i2kit.pauses import RolloutStatus
from i2kit.plan import (
    Change,
    ChangeOutcome,
    Changes,
    GroupStatus,
    Instance,
    InstanceStatus,
    Observed,
    ObservedResource,
    Outcome,
    Plan,
    Status,
    WorkloadStatus,
)
from i2kit.releases import Release, ReleasedWorkload
from i2kit.resources import Backend, Balancer, BalancerPort, Boot, DnsRecord, Image, InstanceGroup, Mark, Network, Secret
from i2kit.steps import Position, Rollout
from i2kit.strategy import CanaryStep, Strategy


def mark(workload: str = "", revision: str = "") -> Mark:
    return Mark(environment="local", application="hello", namespace="default", workload=workload, revision=revision)


def group(name: str = "web-1a2b3c-0f0f0f0f", workload: str = "web", *, secrets: dict[str, str] | None = None) -> InstanceGroup:
    return InstanceGroup(
        name=name,
        mark=mark(workload, "1a2b3c4d5e"),
        image="web-0011223344556677",
        network="local-aaaa0000",
        replicas=2,
        cpu_millis=500,
        memory_mib=72,
        architecture="x86_64",
        boot=Boot(secrets=secrets or {}),
    )


NETWORK = Network(name="local-aaaa0000", mark=Mark(environment="local"), dns_zone="i2kit.internal")
SECRET = Secret(name="db-99887766-01010101", mark=mark(), secret="db", version="99887766", keys=("password", "user"))
IMAGE = Image(
    name="web-0011223344556677",
    mark=Mark(environment="local"),
    digest="0" * 64,
    format="kernel+initrd",
    architecture="x86_64",
    builder="assembler",
    yaml="kernel: {}\n",
)
GROUP = group(secrets={"db": SECRET.name})
BALANCER = Balancer(
    name="web-bbbb0000",
    mark=mark("web"),
    service="web",
    network=NETWORK.name,
    scope="public",
    ports=(BalancerPort(port=80, target_port=8080, name="http"),),
    backends=(Backend(group=GROUP.name),),
)
RECORD = DnsRecord(name="web.default.svc.cluster.local", mark=mark("web"), balancer=BALANCER.name, network=NETWORK.name)

OLD = group("web-old")
SERVING = evolve(BALANCER, backends=(Backend(group=OLD.name),))
CANARY = Strategy(type="canary", steps=(CanaryStep(weight=20, pause_seconds=60), CanaryStep(weight=50, pause_seconds=None)))

PLAN = Plan(
    environment="local",
    application="hello",
    provider="local",
    resources=(NETWORK, SECRET, IMAGE, GROUP, BALANCER, RECORD),
    fingerprint="f" * 64,
    notices=(
        Notice(where=Where(file="hello.yaml", line=9, path="spec.strategy"), message="it has no effect here: every change is rolling"),
    ),
)
CHANGES = Changes(
    environment="local",
    application="hello",
    changes=(
        Change(action="no-op", resource=NETWORK, reason="it is there and works"),
        Change(action="create", resource=SECRET, reason="it does not exist yet"),
        Change(action="create", resource=IMAGE, reason="it does not exist yet"),
        Change(action="create", resource=GROUP, reason="replaces web-old: the image changed [bold]x[/bold]"),
        Change(action="update", resource=BALANCER, reason="backends (web-old 100) -> (web-1a2b3c-0f0f0f0f 100)"),
        Change(action="no-op", resource=RECORD, reason="it answers with the address of web-bbbb0000"),
        Change(action="delete", resource=OLD, reason="replaced by web-1a2b3c-0f0f0f0f"),
    ),
    rollouts=(
        Rollout(
            workload="default/web",
            new=GROUP,
            size=2,
            olds=(OLD,),
            stable=OLD,
            strategy=CANARY,
            balancers=(f"Balancer/{BALANCER.name}",),
            position=Position(to=GROUP.name),
        ),
    ),
)
SETTLED = Changes(
    environment="local", application="hello", changes=(Change(action="no-op", resource=NETWORK, reason="it is there and works"),)
)
OBSERVED = Observed(
    resources=(
        ObservedResource(resource=NETWORK),
        ObservedResource(
            resource=OLD,
            instances=tuple(Instance(id=name, group=OLD.name, state="running", ready=True) for name in ("web-old-0", "web-old-1")),
        ),
        ObservedResource(resource=SERVING),
        ObservedResource(resource=RECORD),
    )
)

DONE = Outcome(
    application="hello",
    environment="local",
    changes=(
        ChangeOutcome(key="Network/local-aaaa0000", action="no-op", result="unchanged", message="it is there and works"),
        ChangeOutcome(key=f"InstanceGroup/{GROUP.name}", action="create", result="done", seconds=7.25),
        ChangeOutcome(key=f"Balancer/{BALANCER.name}", action="update", result="done", seconds=0.5),
    ),
)
FAILED = Outcome(
    application="hello",
    environment="local",
    changes=(
        ChangeOutcome(
            key=f"InstanceGroup/{GROUP.name}",
            action="create",
            result="failed",
            message="not ready after 60 s without progress: 0 of 2 ready; the group was removed",
            seconds=61.0,
            log=("web-0 [web] Traceback", "web-0 [web] ValueError: no \x1b[31mgreeting\x1b[0m"),
        ),
        ChangeOutcome(key=f"Balancer/{BALANCER.name}", action="create", result="skipped", message=f"InstanceGroup/{GROUP.name} failed"),
    ),
)
REASON = "not ready after 60 s without progress: 0 of 2 ready; web-old serves again"
ROLLED_BACK = evolve(FAILED, changes=(evolve(FAILED.changes[0], message=REASON, rolled_back=True), FAILED.changes[1]))
STEP = "step 1 of 2 (20% of the traffic): waiting to be promoted or aborted"
PAUSED = Outcome(
    application="hello",
    environment="local",
    changes=(
        ChangeOutcome(key=f"InstanceGroup/{GROUP.name}", action="create", result="paused", message=STEP, seconds=8.0),
        ChangeOutcome(key=f"Balancer/{BALANCER.name}", action="update", result="paused", message=STEP, seconds=8.0),
    ),
)
ABORTED = Outcome(
    application="hello",
    environment="local",
    changes=(ChangeOutcome(key=f"InstanceGroup/{GROUP.name}", action="create", result="aborted", message="aborted; web-old serves again"),),
)


def release(number: int, revision: str, *, action: str = "deploy", current: bool = False) -> Release:
    return Release(
        number=number,
        time=1_700_000_000.0 + 60 * number,
        action=action,
        by="process 7 on laptop (since 2023-11-14 22:13:20 UTC)",
        current=current,
        workloads=(
            ReleasedWorkload(
                name="web", namespace="default", revision=revision, replicas=2, images=(f"hello:{number}@sha256:{number}a2b3c",)
            ),
        ),
    )


RELEASES = (release(1, "0a0b0c0d0e"), release(2, "1a2b3c4d5e"), release(3, "0a0b0c0d0e", action="rollback to 1", current=True))
ROLLOUTS = (
    RolloutStatus(workload="default/web", revision="1a2b3c4d5e", state="paused", stage=1, message=STEP),
    RolloutStatus(workload="shop/db", revision="", state="running", stage=2),
)
GARBAGE = (
    Garbage(kind="Image", name="web-0011", application="", reason="no group and no release uses it"),
    Garbage(kind="InstanceGroup", name="web-old", application="hello", reason="no release knows it"),
)
GONE = Changes(
    environment="local",
    application="hello",
    changes=(
        Change(action="delete", resource=BALANCER, reason="it is not wanted any more"),
        Change(action="delete", resource=GROUP, reason="it is not wanted any more"),
    ),
)
STATUS = Status(
    environment="local",
    application="hello",
    provider="local",
    workloads=(
        WorkloadStatus(
            name="web",
            namespace="default",
            revision="1a2b3c4d5e",
            desired=2,
            ready=1,
            groups=(GroupStatus(name=GROUP.name, revision="1a2b3c4d5e", size=2, ready=1),),
            instances=(
                InstanceStatus(id="web-0", revision="1a2b3c4d5e", state="running", ready=True, address="10.88.0.4"),
                InstanceStatus(id="web-1", revision="1a2b3c4d5e", state="starting", ready=False, address="", reason="no answer on /readyz"),
            ),
            endpoints=("http://127.0.0.1:8080",),
        ),
    ),
    faults=("Network local-aaaa0000: dnsmasq is not running",),
)
