"""What is said of a change: of a Pod in its manifest's words, of other resources in a sentence part each."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from sample import HERE, digest, image, locked, secret, target

from i2kit import differences
from i2kit.differences import Difference, lines, pod_differences
from i2kit.fields import field_differences
from i2kit.images.locked import Locked, Package
from i2kit.manifest import loads
from i2kit.manifest.workloads import (
    Container,
    EnvSecret,
    EnvValue,
    Pod,
    SecretItem,
    SecretValue,
    SecretVolume,
    Workload,
    Workloads,
)
from i2kit.plan import Plan
from i2kit.planner import plan
from i2kit.resources import Backend, Balancer, BalancerPort, DnsRecord, Image, InstanceGroup
from i2kit.strategy import Scaling
from i2kit.testing import strategies

MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata:
      labels: {app: web, tier: front}
      annotations: {example.com/team: red}
    spec:
      restartPolicy: Always
      terminationGracePeriodSeconds: 30
      securityContext: {seccompProfile: {type: Unconfined}}
      containers:
      - name: web
        image: hello:1
        args: [-v, --port=8080]
        workingDir: /srv
        env:
        - {name: GREETING, value: hello}
        - {name: FROM_CONFIG, valueFrom: {configMapKeyRef: {name: config, key: level}}}
        - {name: PASSWORD, valueFrom: {secretKeyRef: {name: credentials, key: password}}}
        - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
        ports: [{containerPort: 8080}]
        readinessProbe: {httpGet: {path: /ready, port: 8080}, periodSeconds: 5}
        livenessProbe: {tcpSocket: {port: 8080}}
        startupProbe: {exec: {command: [/bin/check]}}
        resources: {limits: {memory: 64Mi, cpu: 500m}, requests: {memory: 32Mi}}
        volumeMounts:
        - {name: config, mountPath: /etc/web}
        - {name: cache, mountPath: /cache}
        - {name: keys, mountPath: /keys}
      - {name: side, image: "side:1"}
      volumes:
      - {name: config, configMap: {name: config}}
      - {name: cache, emptyDir: {sizeLimit: 1Mi}}
      - {name: keys, secret: {secretName: credentials}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: config}
data:
  level: info
  index.html: |
    <h1>one</h1>
    <p>two</p>
    <p>three</p>
---
apiVersion: v1
kind: Secret
metadata: {name: credentials}
stringData: {password: canary-7731}
"""

KEY = b"k" * 32
REFERENCES = {"hello:1": "a", "hello:2": "e", "side:1": "f"}


def lock(**changes: Any) -> Locked:
    images = {name: image(f"docker.io/library/{name}", letter) for name, letter in REFERENCES.items()}
    return evolve(locked(), images=images | changes.pop("images", {}), **changes)


def planned(*replacements: tuple[str, str], locked: Locked | None = None) -> Plan:
    text = MANIFEST
    for old, new in replacements:
        assert text.count(old) == 1, f"{old!r} stands in the manifest {text.count(old)} times"
        text = text.replace(old, new)
    return plan(loads(text), locked or lock(), target(), secret_key=KEY)


def compared(new: Plan, old: Plan, *, locks: bool = True) -> tuple[Difference, ...]:
    """Compare the first workload of two plans, as whoever has the last release's plan at hand does."""
    groups = [next(one for one in side.resources if isinstance(one, InstanceGroup)) for side in (new, old)]
    images = [side.by_key()[f"Image/{group.image}"] for side, group in zip((new, old), groups, strict=True)]
    assert isinstance(images[0], Image)
    assert isinstance(images[1], Image)
    known = {"new_lock": new.lock, "old_lock": old.lock} if locks else {}
    return pod_differences(groups[0], images[0], groups[1], images[1], **known)


def told(*replacements: tuple[str, str], locked: Locked | None = None, locks: bool = True) -> list[str]:
    return [str(one) for one in compared(planned(*replacements, locked=locked), planned(), locks=locks)]


WEB = "containers[web]"
CHANGES: list[tuple[str, str, list[str]]] = [
    ("value: hello", "value: good day", [f"{WEB}.env[GREETING]: 'hello' -> 'good day'"]),
    ("level: info", "level: debug", [f"{WEB}.env[FROM_CONFIG]: 'info' -> 'debug'", "volumes[config]/level: 'info' -> 'debug'"]),
    (
        "{name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}",
        "{name: NEW, value: x}",
        [f"{WEB}.env[NEW] added: 'x'", f"{WEB}.env[POD_IP] removed: field status.podIP"],
    ),
    ("fieldPath: status.podIP", "fieldPath: metadata.name", [f"{WEB}.env[POD_IP]: field status.podIP -> field metadata.name"]),
    ("args: [-v, --port=8080]", "args: [-v, --port=9090]", [f"{WEB}.args: ['-v', '--port=8080'] -> ['-v', '--port=9090']"]),
    ("args: [-v, --port=8080]", "", [f"{WEB}.args removed: ['-v', '--port=8080']"]),
    (
        "args: [-v, --port=8080]",
        "command: [/bin/other]",
        [f"{WEB}.command added: ['/bin/other']", f"{WEB}.args removed: ['-v', '--port=8080']"],
    ),
    ("workingDir: /srv", "workingDir: /", [f"{WEB}.workingDir: '/srv' -> '/'"]),
    ("image: hello:1", "image: hello:2", [f"{WEB}.image: hello:1 -> hello:2"]),
    ("path: /ready", "path: /up", [f"{WEB}.readinessProbe.httpGet.path: '/ready' -> '/up'"]),
    ("periodSeconds: 5", "periodSeconds: 7", [f"{WEB}.readinessProbe.periodSeconds: 5 -> 7"]),
    ("{tcpSocket: {port: 8080}}", "{tcpSocket: {port: 8081}}", [f"{WEB}.livenessProbe.tcpSocket.port: 8080 -> 8081"]),
    ("livenessProbe: {tcpSocket: {port: 8080}}", "", [f"{WEB}.livenessProbe removed: tcpSocket :8080"]),
    (
        "startupProbe: {exec: {command: [/bin/check]}}",
        "startupProbe: {tcpSocket: {port: 1}}",
        [f"{WEB}.startupProbe.tcpSocket added: :1", f"{WEB}.startupProbe.exec removed: /bin/check"],
    ),
    ("[/bin/check]", "[/bin/check, -a]", [f"{WEB}.startupProbe.exec.command: ['/bin/check'] -> ['/bin/check', '-a']"]),
    ("memory: 64Mi", "memory: 96Mi", [f"{WEB}.resources.limits.memory: 64Mi -> 96Mi", "VM memory: 196Mi -> 228Mi"]),
    ("cpu: 500m", "cpu: 2", [f"{WEB}.resources.limits.cpu: 500m -> 2", "VM cpu: 500m -> 2"]),
    (
        "mountPath: /cache",
        "mountPath: /tmp",
        [f"{WEB}.volumeMounts[/tmp] added: cache, writable", f"{WEB}.volumeMounts[/cache] removed: cache, writable"],
    ),
    ("mountPath: /cache", "mountPath: /cache, readOnly: true", [f"{WEB}.volumeMounts[/cache]: cache, writable -> cache, read-only"]),
    ("<p>two</p>", "<p>2</p>", ["volumes[config]/index.html changed (+1 -1 lines)"]),
    (
        "configMap: {name: config}",
        "configMap: {name: config, defaultMode: 0600}",
        [f"volumes[config]/{name} mode: 0644 -> 0600" for name in ("index.html", "level")],
    ),
    ("{sizeLimit: 1Mi}", "{sizeLimit: 2Mi}", ["volumes[cache].emptyDir.sizeLimit: 1Mi -> 2Mi"]),
    (
        "emptyDir: {sizeLimit: 1Mi}",
        "configMap: {name: config}",
        [f"{WEB}.volumeMounts[/cache]: cache, writable -> cache, read-only", "volumes[cache]: emptyDir -> configMap of 2 files"],
    ),
    (
        "secretName: credentials",
        "secretName: credentials, defaultMode: 0400",
        ["volumes[keys]/password: key password of Secret credentials, mode 0644 -> key password of Secret credentials, mode 0400"],
    ),
    ("tier: front", "tier: back", ["metadata.labels[tier]: 'front' -> 'back'"]),
    (", tier: front", "", ["metadata.labels[tier] removed: 'front'"]),
    ("team: red", "team: blue", ["metadata.annotations[example.com/team]: 'red' -> 'blue'"]),
    ("terminationGracePeriodSeconds: 30", "terminationGracePeriodSeconds: 60", ["terminationGracePeriodSeconds: 30 -> 60"]),
    ("password: canary-7731", "password: canary-7732", ["Secret credentials changed"]),
    ('- {name: side, image: "side:1"}', "", ["containers[side] removed: side:1", "VM memory: 196Mi -> 130Mi"]),
    (
        "        - {name: config, mountPath: /etc/web}\n        - {name: cache, mountPath: /cache}",
        "\
        - {name: cache, mountPath: /cache}\n        - {name: config, mountPath: /etc/web}",
        [f"{WEB}.volumeMounts in another order"],
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), CHANGES, ids=lambda value: value if isinstance(value, str) else "")
def test_each_field_of_a_pod_is_told_in_the_words_of_its_manifest(old: str, new: str, expected: list[str]) -> None:
    assert told((old, new)) == expected


def test_what_is_no_part_of_the_pod_is_no_difference() -> None:
    assert told() == []
    assert told(("metadata: {name: web}", "metadata: {name: web, labels: {a: b}}")) == []
    assert told(("  selector:", "  replicas: 5\n  minReadySeconds: 9\n  selector:")) == []


def test_a_restart_policy_is_told() -> None:
    # No Deployment has another one; the Pod knows them for the kinds to come.
    found = loads(MANIFEST)
    (workload,) = found.workloads
    other = evolve(found, workloads=(evolve(workload, pod=evolve(workload.pod, restart_policy="OnFailure")),))
    differing = compared(plan(other, lock(), target(), secret_key=KEY), planned())
    assert [str(one) for one in differing] == ["restartPolicy: 'Always' -> 'OnFailure'"]


def test_a_tag_that_moved_is_told_with_both_digests() -> None:
    moved = lock(images={"hello:1": image("docker.io/library/hello:1", "9")})
    assert told(locked=moved) == [f"{WEB}.image: hello:1 moved (sha256:{'a' * 12}… -> sha256:{'9' * 12}…)"]


def test_arguments_that_only_the_image_brings_are_not_told_as_the_manifests() -> None:
    without = ("args: [-v, --port=8080]", "")
    moved = lock(images={"hello:1": image("docker.io/library/hello:1", "9", cmd=("-q",))})
    both = compared(planned(without, locked=moved), planned(without))
    assert [one.path for one in both] == [f"{WEB}.image"]
    # Without the locks nobody knows which words are whose.
    both = compared(planned(without, locked=moved), planned(without), locks=False)
    assert [one.path for one in both] == [f"{WEB}.image", f"{WEB}.command"]


def package(name: str, version: str, letter: str = "1") -> Package:
    return Package(name=name, version=version, architecture="amd64", sha256=letter * 64, filename=f"{name}.deb", size=1)


def with_base(*packages: Package, kernel: str = "c", pod: str = "d", guest: str = "b") -> Locked:
    images = image(f"docker.io/i2kit/kernel:{kernel}", kernel), image(f"docker.io/i2kit/pod:{pod}", pod)
    return lock(base=evolve(lock().base, packages=packages, guest=digest(guest), kernel=images[0], pod=images[1]))


def test_the_base_is_told_package_by_package() -> None:
    old = with_base(package("linux-image-6.1.0-48-cloud-amd64", "6.1.172"), package("busybox", "1.35"), package("libgone", "1"))
    new = with_base(
        package("linux-image-6.1.0-49-cloud-amd64", "6.1.174", "2"),
        package("busybox", "1.35", "3"),
        package("libnew", "2"),
        kernel="7",
        pod="8",
    )
    assert [str(one) for one in compared(planned(locked=new), planned(locked=old))] == [
        f"base: package busybox: 1.35 is another file (sha256:{'1' * 12}… -> sha256:{'3' * 12}…)",
        "base: package libgone removed: 1",
        "base: package libnew added: 2",
        "base: package linux-image: 6.1.172 -> 6.1.174",
    ]
    without = [str(one) for one in compared(planned(locked=new), planned(locked=old), locks=False)]
    assert without == ["base: i2kit/kernel:c, i2kit/pod:d -> i2kit/kernel:7, i2kit/pod:8"]


def test_the_lock_of_another_plan_is_not_believed() -> None:
    old, new = planned(locked=with_base(package("busybox", "1"))), planned(locked=with_base(package("busybox", "2"), pod="8"))
    for known in ({"new_lock": old.lock, "old_lock": old.lock}, {"new_lock": new.lock, "old_lock": new.lock}):
        groups, images = (
            [next(one for one in side.resources if isinstance(one, kind)) for side in (new, old)] for kind in (InstanceGroup, Image)
        )
        found = pod_differences(groups[0], images[0], groups[1], images[1], **known)
        assert [str(one) for one in found] == ["base: i2kit/kernel:c, i2kit/pod:d -> i2kit/kernel:c, i2kit/pod:8"]


def test_another_order_alone_is_told() -> None:
    first, second = "- {name: GREETING, value: hello}", "- {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}"
    assert told((first, "- X"), (second, first), ("- X", second)) == [f"{WEB}.env in another order"]
    first, second = "- {name: cache, emptyDir: {sizeLimit: 1Mi}}", "- {name: keys, secret: {secretName: credentials}}"
    assert told((first, "- X"), (second, first), ("- X", second)) == ["volumes in another order"]
    side = '- {name: side, image: "side:1"}'
    assert told((side, ""), ("- name: web\n", f"{side}\n      - name: web\n")) == ["containers in another order"]


def test_another_guest_builder_or_kernel_command_line_is_told() -> None:
    assert told(locked=with_base(pod="8", guest="9")) == [f"guest: sha256:{'b' * 12}… -> sha256:{'9' * 12}…"]
    assert told(locked=with_base(pod="8")) == ["base made in another way of the same packages"]
    assert told(locked=lock(builder_version="2")) == ["builder: assembler 1 -> assembler 2"]
    assert told(locked=lock(builder_version="2"), locks=False) == ["builder is another version of assembler"]
    quiet = evolve(lock().base, cmdline="console=ttyS0 quiet")
    assert told(locked=lock(base=quiet)) == ["kernel command line: 'console=ttyS0' -> 'console=ttyS0 quiet'"]


def test_a_changed_file_shows_its_lines_and_no_more_than_a_few() -> None:
    (changed,) = compared(planned(("<p>two</p>", "<p>2</p>\n    <p>and \u202e</p>")), planned())
    assert lines([changed]) == [
        "volumes[config]/index.html changed (+2 -1 lines)",
        "    @@ -1,3 +1,4 @@",
        "     <h1>one</h1>",
        "    -<p>two</p>",
        "    +<p>2</p>",
        "    +<p>and \\u202e</p>",
        "     <p>three</p>",
    ]
    many = "\n".join(f"    <p>{number}</p>" for number in range(500))
    (changed,) = compared(planned(("    <p>two</p>", many)), planned())
    assert len(changed.lines) == differences.DIFF_LINES + 1
    assert changed.lines[-1] == "… 492 more lines"


def test_a_file_that_only_lost_its_last_newline_is_told() -> None:
    (changed,) = compared(planned(("index.html: |", "index.html: |-")), planned())
    assert changed.lines[-2:] == ("-<p>three</p>", "+<p>three</p> (no newline at the end)")


def test_a_file_too_long_to_compare_is_told_by_its_length() -> None:
    many = "\n".join(f"    <p>{number}</p>" for number in range(5000))
    (changed,) = compared(planned(("    <p>two</p>", many)), planned())
    assert str(changed) == "volumes[config]/index.html changed (3 -> 5002 lines)"


def test_long_values_are_cut_where_they_begin_to_differ() -> None:
    (changed,) = compared(
        planned(("value: hello", f"value: {'a' * 300}z{'b' * 300}")), planned(("value: hello", f"value: {'a' * 300}y{'b' * 300}"))
    )
    assert len(changed.before) == len(changed.after) == differences.VALUE_LENGTH
    assert "ay" in changed.before
    assert "az" in changed.after


def test_a_long_script_shows_the_lines_that_changed() -> None:
    script = "set -e; " + "true; " * 20
    old = planned(("args: [-v, --port=8080]", f"command: [sh, -c, '{script}one']"))
    (changed,) = compared(planned(("args: [-v, --port=8080]", f"command: [sh, -c, '{script}two']")), old)
    assert changed.path == f"{WEB}.command"
    assert [line[:1] for line in changed.lines] == ["@", " ", "-", "+"]
    assert changed.lines[-2].endswith("one")
    assert changed.lines[-1].endswith("two")


def test_control_characters_reach_no_terminal() -> None:
    found = compared(planned(("value: hello", 'value: "\\e[2J\\n\\u202e"'), ("mountPath: /cache", 'mountPath: "/c\\e"')), planned())
    assert all(line.isprintable() for line in lines(found))
    assert str(found[0]) == rf"{WEB}.env[GREETING]: 'hello' -> '\x1b[2J\n\u202e'"


def test_of_an_image_that_is_not_known_any_more_only_the_group_is_told() -> None:
    new, old = planned(("tier: front", "tier: back"), ("periodSeconds: 5", "periodSeconds: 6")), planned(("cpu: 500m", "cpu: 1"))
    groups = [next(one for one in side.resources if isinstance(one, InstanceGroup)) for side in (new, old)]
    found = [str(one) for one in pod_differences(groups[0], None, groups[1], None)]
    assert found == [
        f"image: it changed, and what was in the old one is not known any more ({groups[1].image} -> {groups[0].image})",
        "metadata.labels[tier]: 'front' -> 'back'",
        "VM cpu: 1 -> 500m",
    ]
    assert pod_differences(groups[0], None, groups[0], None) == ()


def test_a_description_that_cannot_be_read_counts_as_unknown() -> None:
    new, old = planned(("periodSeconds: 5", "periodSeconds: 6")), planned()
    groups = [next(one for one in side.resources if isinstance(one, InstanceGroup)) for side in (new, old)]
    images = [next(one for one in side.resources if isinstance(one, Image)) for side in (new, old)]
    for text in ("", "# version 1\n", "a: [", "services: 3\nfiles: []\n", '{files: [{path: etc/i2kit/pod.json, contents: "{}"}]}'):
        (found,) = pod_differences(groups[0], images[0], groups[1], evolve(images[1], yaml=text))
        assert "not known any more" in str(found)


CANARIES = st.sampled_from([b"canary-7731", b"canary-8842"])


@st.composite
def one_workload(draw: st.DrawFn) -> Workloads:
    """One Deployment of a random Pod, with a Secret whose values are canaries."""
    pod = draw(strategies.pods(images=tuple(REFERENCES), secrets=("credentials",)))
    value = draw(CANARIES)
    found = Workload(name="web", namespace="default", replicas=draw(st.integers(0, 3)), pod=pod, where=pod.containers[0].where)
    return Workloads(workloads=(found,), secrets=(secret("credentials", password=value, user=value),))


@given(one_workload(), one_workload(), st.booleans())
def test_every_change_of_revision_has_a_reason_and_nothing_else_has(first: Workloads, second: Workloads, locks: bool) -> None:
    old, new = (plan(one, lock(), target(), secret_key=KEY) for one in (first, second))
    revisions = [next(one for one in side.resources if isinstance(one, InstanceGroup)).mark.revision for side in (old, new)]
    found = compared(new, old, locks=locks)
    assert bool(found) == (revisions[0] != revisions[1])
    assert not any("made in another way" in str(one) or one.path == "revision" for one in found), "a field is not told by its name"
    shown = "\n".join(lines(found)) + repr(found)
    assert "canary" not in shown
    assert all(line.isprintable() for line in lines(found))
    assert all(one.before != one.after or one.note for one in found)


@st.composite
def neighbours(draw: st.DrawFn) -> tuple[Pod, Pod]:
    """A Pod and the same with one thing changed."""
    pod = draw(strategies.pods(images=("hello:1",), secrets=("credentials",)))
    other = draw(strategies.pods(images=("hello:1",), secrets=("credentials",)))
    name = draw(st.sampled_from(["env", "args", "readiness_probe", "resources", "mounts"]))
    first: Container = pod.containers[0]
    changed = evolve(first, **{name: getattr(other.containers[0], name)})
    return pod, evolve(pod, containers=(changed, *pod.containers[1:]))


@given(neighbours())
def test_one_change_is_told_below_its_container(pods: tuple[Pod, Pod]) -> None:
    sides = [
        Workloads(workloads=(Workload(name="web", namespace="default", replicas=1, pod=pod, where=pod.containers[0].where),))
        for pod in pods
    ]
    old, new = (plan(one, lock(), target()) for one in sides)
    prefix = f"containers[{pods[0].containers[0].name}]."
    assert all(one.path.startswith(prefix) or one.path in ("VM memory", "Secret credentials") for one in compared(new, old))


def test_secrets_that_come_and_go_are_told_by_name_only() -> None:
    def of(*names: str) -> Plan:
        env = tuple(EnvSecret(name=f"P{index}", secret=name, key="p") for index, name in enumerate(names))
        volume = SecretVolume(name="v", items=tuple(SecretItem(secret=name, key="p", path=name) for name in names))
        pod = Pod(
            containers=(Container(name="web", image="hello:1", where=HERE, env=(EnvValue(name="A", value="1"), *env)),), volumes=(volume,)
        )
        secrets = tuple(secret(name, p=b"canary-7731") for name in names)
        return plan(
            Workloads(workloads=(Workload(name="web", namespace="default", replicas=1, pod=pod, where=HERE),), secrets=secrets),
            lock(),
            target(),
            secret_key=KEY,
        )

    found = [str(one) for one in compared(of("new", "same"), of("old", "same"))]
    assert found[-2:] == ["Secret new added", "Secret old removed"]
    assert "canary" not in "".join(found)
    assert not any(isinstance(value, SecretValue) for one in compared(of("new"), of("old")) for value in attrs.astuple(one))


def resource(kind: type[Any]) -> Any:
    return next(one for one in SERVED.resources if isinstance(one, kind))


SERVICE = """---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080, name: http}, {port: 53, protocol: UDP, targetPort: 53, name: dns}]}
"""
SERVED = plan(loads(MANIFEST + SERVICE), lock(), target(), secret_key=KEY)
HTTP, DNS = resource(Balancer).ports
GROUP = resource(Balancer).backends[0].group


@pytest.mark.parametrize(
    ("kind", "desired", "expected"),
    [
        (InstanceGroup, {"replicas": 3}, ("replicas 1 -> 3",)),
        (InstanceGroup, {"min_ready_seconds": 5, "grace_seconds": 9}, ("terminationGracePeriodSeconds 30 -> 9", "minReadySeconds 0 -> 5")),
        (InstanceGroup, {"scaling": Scaling(minimum=2, maximum=5)}, ("scaling none -> 2 to 5 at 80% cpu",)),
        (Balancer, {"ports": (evolve(HTTP, target_port=9090), DNS)}, ("port 80: target 8080 -> 9090",)),
        (Balancer, {"ports": (evolve(HTTP, name="www"),)}, ("port 53/UDP removed", "port 80: name http -> www")),
        (Balancer, {"ports": (HTTP, DNS, BalancerPort(port=443, target_port=8443))}, ("port 443 added",)),
        (Balancer, {"ports": (DNS, HTTP)}, ("ports in another order",)),
        (Balancer, {"backends": (Backend(group="web-b"),)}, (f"groups {GROUP} (100) -> web-b (100)",)),
        (Balancer, {"backends": ()}, (f"groups {GROUP} (100) -> none",)),
        (
            Balancer,
            {"backends": (Backend(group=GROUP, weight=90), Backend(group="web-b", weight=10))},
            (f"groups {GROUP} (100) -> {GROUP} (90), web-b (10)",),
        ),
        (Balancer, {"scope": "public"}, ("scope internal -> public",)),
        (DnsRecord, {"balancer": "other"}, (f"balancer {resource(Balancer).name} -> other",)),
        (DnsRecord, {}, ()),
    ],
)
def test_other_resources_are_told_field_by_field(kind: type[Any], desired: dict[str, Any], expected: tuple[str, ...]) -> None:
    seen = resource(kind)
    assert field_differences(evolve(seen, **desired), seen) == expected


@given(strategies.plans(), strategies.plans())
def test_resources_differ_in_words_exactly_if_they_differ(first: Plan, second: Plan) -> None:
    for name, one in first.by_key().items():
        other = second.by_key().get(name)
        if other is not None:
            assert bool(field_differences(one, other)) == (one != evolve(other, mark=one.mark))
