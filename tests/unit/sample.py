"""Small valid values of the waist types, to vary in tests."""

from __future__ import annotations

from typing import Any

from i2kit.capabilities import Capability, Level, Support
from i2kit.driver import DRIVER_API, Limits, Provider
from i2kit.environment import Environment
from i2kit.errors import Where
from i2kit.images.locked import Inventory, Layer, Locked, LockedBase, LockedImage
from i2kit.manifest.workloads import Container, Pod, SecretData, SecretValue, Service, ServicePort, Workload, Workloads
from i2kit.target import Target

HERE = Where(file="hello.yaml", line=7, path="spec.template.spec.containers[0].image")


def digest(letter: str) -> str:
    return "sha256:" + letter * 64


def image(reference: str = "docker.io/library/hello:1", letter: str = "a", **changes: Any) -> LockedImage:
    values: dict[str, Any] = {
        "reference": reference,
        "digest": digest(letter),
        "architecture": "x86_64",
        "layers": (Layer(digest=digest(letter), diff_id=digest(letter), size=1 << 20),),
        "inventory": Inventory(files=3, bytes=1000, sha256="0" * 64),
        "unpacked": 2 << 20,
        "entrypoint": ("/bin/hello",),
        "cmd": ("-p", "8080"),
    }
    return LockedImage(**(values | changes))


def locked(**images: LockedImage) -> Locked:
    base = LockedBase(
        name="debian",
        packages=(),
        guest=digest("b"),
        kernel=image("docker.io/i2kit/kernel:1", "c"),
        pod=image("docker.io/i2kit/pod:1", "d"),
        cmdline="console=ttyS0",
    )
    return Locked(images={"hello:1": image(), **images}, base=base, builder="assembler", builder_version="1")


def container(**changes: Any) -> Container:
    return Container(**({"name": "hello", "image": "hello:1", "where": HERE} | changes))


def workload(name: str = "hello", **changes: Any) -> Workload:
    values: dict[str, Any] = {
        "name": name,
        "namespace": "default",
        "replicas": 2,
        "pod": Pod(containers=(container(),)),
        "where": HERE,
    }
    return Workload(**(values | changes))


def service(name: str = "hello", **changes: Any) -> Service:
    values: dict[str, Any] = {
        "name": name,
        "namespace": "default",
        "type": "LoadBalancer",
        "ports": (ServicePort(port=80, target_port=8080),),
        "workloads": ("hello",),
        "where": HERE,
    }
    return Service(**(values | changes))


def workloads(*of: Workload, services: tuple[Service, ...] = (), secrets: tuple[SecretData, ...] = ()) -> Workloads:
    return Workloads(workloads=of or (workload(),), services=services, secrets=secrets)


def secret(name: str = "db", namespace: str = "default", **data: bytes) -> SecretData:
    return SecretData(name=name, namespace=namespace, data={key: SecretValue(value) for key, value in data.items()})


def provider(**levels: Level) -> Provider:
    def nothing(*_arguments: object) -> Any:
        raise AssertionError("the planner must not touch a provider")

    capabilities = {capability: Level(support=Support.FULL) for capability in Capability}
    capabilities.update({Capability[name]: level for name, level in levels.items()})
    return Provider(
        name="sample",
        summary="for tests",
        api=DRIVER_API,
        formats=("kernel+initrd",),
        capabilities=capabilities,
        limits=nothing,
        connect=nothing,
        check=nothing,
    )


def target(*, limits: Limits | None = None, **levels: Level) -> Target:
    return Target(
        environment=Environment(name="test", provider="sample"),
        provider=provider(**levels),
        limits=limits or Limits(max_memory_mib=4096, max_cpu_millis=4000),
        formats=("kernel+initrd",),
        application="hello",
    )
