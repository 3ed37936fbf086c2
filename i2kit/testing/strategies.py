"""Hypothesis strategies for small Workloads and Plans."""

from __future__ import annotations

from typing import Literal

from hypothesis import strategies as st

from i2kit.errors import Where
from i2kit.manifest.workloads import (
    ConfigVolume,
    Container,
    EmptyDir,
    EnvField,
    EnvSecret,
    EnvValue,
    EnvVar,
    Exec,
    HttpGet,
    Mount,
    Pod,
    Port,
    Probe,
    Resources,
    SecretData,
    SecretItem,
    SecretValue,
    SecretVolume,
    Service,
    ServicePort,
    TcpSocket,
    Volume,
    VolumeFile,
    Workload,
    Workloads,
)
from i2kit.plan import Plan
from i2kit.resources import Resource
from i2kit.testing.samples import Samples

names = st.from_regex(r"[a-z]([a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True)
"""Names as Kubernetes allows them, short ones."""

_WHERE = Where(file="sample.yaml", line=1, path="spec.template.spec.containers[0].image")
_KEYS = ("password", "user")
_texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), max_size=12)
_seconds = st.integers(0, 3)


@st.composite
def probes(draw: st.DrawFn) -> Probe:
    """A probe of any of the three kinds."""
    handlers = st.one_of(
        st.builds(HttpGet, port=st.just(8080), path=st.just("/")),
        st.builds(TcpSocket, port=st.just(8080)),
        st.builds(Exec, command=st.just(("/bin/true",))),
    )
    return Probe(handler=draw(handlers), initial_delay_seconds=draw(_seconds), period_seconds=draw(st.integers(1, 10)))


def _env(secrets: tuple[str, ...]) -> st.SearchStrategy[EnvVar]:
    upper = st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True)
    kinds: list[st.SearchStrategy[EnvVar]] = [
        st.builds(EnvValue, name=upper, value=_texts),
        st.builds(EnvField, name=upper, field=st.sampled_from(["status.podIP", "metadata.name", "metadata.namespace"])),
    ]
    if secrets:
        kinds.append(st.builds(EnvSecret, name=upper, secret=st.sampled_from(secrets), key=st.sampled_from(_KEYS)))
    return st.one_of(kinds)


def _volume(secrets: tuple[str, ...]) -> st.SearchStrategy[Volume]:
    kinds: list[st.SearchStrategy[Volume]] = [
        st.builds(EmptyDir, name=st.just("data")),
        st.builds(
            ConfigVolume,
            name=st.just("data"),
            files=_texts.map(lambda text: (VolumeFile(path="app.conf", content=text.encode()),)),
        ),
    ]
    if secrets:
        item = st.builds(SecretItem, secret=st.sampled_from(secrets), key=st.sampled_from(_KEYS), path=st.just("key"))
        kinds.append(st.builds(SecretVolume, name=st.just("data"), items=st.tuples(item)))
    return st.one_of(kinds)


@st.composite
def pods(draw: st.DrawFn, *, images: tuple[str, ...] = ("hello:1",), secrets: tuple[str, ...] = ()) -> Pod:
    """A Pod of one or two containers of `images`, which may use `secrets` (their keys are ``password`` and ``user``)."""
    volumes = draw(st.lists(_volume(secrets), max_size=1))
    mounts = tuple(Mount(volume=volume.name, path="/data", read_only=True) for volume in volumes)
    containers = [
        Container(
            name=name,
            image=draw(st.sampled_from(images)),
            where=_WHERE,
            args=draw(st.none() | st.lists(_texts, max_size=2).map(tuple)),
            env=tuple(draw(st.lists(_env(secrets), max_size=3, unique_by=lambda one: one.name))),
            ports=(Port(container_port=8080 + index, name="http"),),
            readiness_probe=draw(st.none() | probes()),
            resources=Resources(memory_limit=draw(st.none() | st.integers(16, 64).map(lambda mib: mib << 20))),
            mounts=mounts,
        )
        for index, name in enumerate(draw(st.lists(names, min_size=1, max_size=2, unique=True)))
    ]
    return Pod(containers=tuple(containers), volumes=tuple(volumes), labels={"app": draw(names)})


@st.composite
def workloads(draw: st.DrawFn, *, images: tuple[str, ...] = ("hello:1",)) -> Workloads:
    """Up to three Deployments in one or two namespaces, some with Services in front of them, some with Secrets."""
    deployments: list[Workload] = []
    services: list[Service] = []
    secrets: list[SecretData] = []
    for name in draw(st.lists(names, min_size=1, max_size=3, unique=True)):
        namespace = draw(st.sampled_from(["default", "shop"]))
        used = draw(st.sampled_from([(), ("credentials",)]))
        if used and (namespace, "credentials") not in {(one.namespace, one.name) for one in secrets}:
            data = {key: SecretValue(draw(st.binary(max_size=8))) for key in _KEYS}
            secrets.append(SecretData(name="credentials", namespace=namespace, data=data))
        pod = draw(pods(images=images, secrets=used))
        deployments.append(Workload(name=name, namespace=namespace, replicas=draw(st.integers(0, 3)), pod=pod, where=_WHERE))
        if draw(st.booleans()):
            kind: Literal["ClusterIP", "LoadBalancer"] = draw(st.sampled_from(["ClusterIP", "LoadBalancer"]))
            port = ServicePort(port=draw(st.integers(1, 9000)), target_port=8080, name="http")
            public = kind == "LoadBalancer" and draw(st.booleans())
            services.append(
                Service(
                    name=name,
                    namespace=namespace,
                    type=kind,
                    ports=(port,),
                    workloads=(name,),
                    where=_WHERE,
                    hostnames=(f"{name}.{namespace}.example.com",) if public else (),
                )
            )
    return Workloads(workloads=tuple(deployments), services=tuple(services), secrets=tuple(secrets))


@st.composite
def plans(draw: st.DrawFn, *, samples: Samples | None = None) -> Plan:
    """The plan of up to three workloads of one application, each in one of three versions, with or without a Service and a Secret.

    Two plans that are drawn are often neighbours: the same application with another version, another size, or a workload more or less.
    """
    samples = samples or Samples()
    resources: list[Resource] = []
    for name in draw(st.lists(st.sampled_from(["api", "db", "web"]), min_size=1, max_size=3, unique=True)):
        version = draw(st.sampled_from(["1", "2", "3"]))
        secret = draw(st.sampled_from([None, "1", "2"]))
        made = samples.workload(version, replicas=draw(st.integers(0, 3)), workload=name, secret=secret)
        served = draw(st.booleans())
        resources += [one for one in made if served or one.kind not in ("Balancer", "DnsRecord")]
    order = ("Network", "Secret", "Image", "InstanceGroup", "Balancer", "DnsRecord")
    return samples.plan(*sorted(resources, key=lambda one: order.index(one.kind)))
