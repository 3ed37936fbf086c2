"""The Pod template: from its fields to a `Pod`, with what only shows across fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from i2kit.errors import Where
from i2kit.manifest.environs import environment
from i2kit.manifest.objects import Objects
from i2kit.manifest.page import did_you_mean
from i2kit.manifest.table import Tree
from i2kit.manifest.volumes import mounts, volumes
from i2kit.manifest.workloads import Container, Exec, HttpGet, Pod, Port, Probe, Resources, TcpSocket, Volume
from i2kit.resources import HEALTH_PORT

_GRACE_SECONDS = 30


def pod(template: Tree, namespace: str, objects: Objects) -> Pod:
    """Make a Pod of a Pod template (`metadata` and `spec`)."""
    spec, meta = template.sub("spec"), template.sub("metadata")
    found = volumes(spec, namespace, objects)
    return Pod(
        containers=containers(spec, namespace, objects, {volume.name: volume for volume in found}),
        volumes=found,
        pull_secrets=pull_secrets(spec, namespace, objects),
        labels=meta.get("labels") or {},
        annotations=meta.get("annotations") or {},
        restart_policy="Always",
        termination_grace_period_seconds=spec.get("terminationGracePeriodSeconds", _GRACE_SECONDS),
    )


def pull_secrets(spec: Tree, namespace: str, objects: Objects) -> tuple[str, ...]:
    """Return the names of the Secrets with credentials for the Pod's images, as far as they are among the manifests."""
    named = (objects.pull_secret(reference, namespace) for reference in spec.get("imagePullSecrets") or ())
    return tuple(dict.fromkeys(name for name in named if name is not None))


def containers(spec: Tree, namespace: str, objects: Objects, known: Mapping[str, Volume]) -> tuple[Container, ...]:
    """Make the containers; their names must differ."""
    trees = spec.get("containers") or []
    if "containers" in spec and not trees and not spec.failed:
        spec.problem("missing-field", "has no container", "containers", expected="at least one")
    names: set[str] = set()
    for tree in trees:
        name = tree.get("name")
        if name in names:
            tree.problem("duplicate-name", f"a second container is called {name!r}", "name", expected="every container name once")
        if name is not None:
            names.add(name)
    broken = spec.broken("volumes") or any("name" not in volume for volume in spec.get("volumes") or ())
    return tuple(_container(tree, namespace, objects, known, broken) for tree in trees)


def _container(tree: Tree, namespace: str, objects: Objects, known: Mapping[str, Volume], broken: bool) -> Container:
    ports = container_ports(tree)
    command, args = tree.get("command"), tree.get("args")
    return Container(
        name=tree.get("name", ""),
        image=tree.get("image", ""),
        where=tree.where("image"),
        command=tuple(command) if command else None,
        args=tuple(args) if args else None,
        working_dir=tree.get("workingDir", ""),
        env=environment(tree, namespace, objects),
        ports=ports,
        readiness_probe=_probe(tree, "readinessProbe", ports),
        liveness_probe=_probe(tree, "livenessProbe", ports),
        startup_probe=_probe(tree, "startupProbe", ports),
        resources=_resources(tree),
        mounts=mounts(tree, known, broken),
    )


def container_ports(tree: Tree) -> tuple[Port, ...]:
    """Return the ports; names must differ within the container, and the guest's own port is taken."""
    found: list[Port] = []
    for port in tree.get("ports") or ():
        if "containerPort" not in port:
            continue
        number, name = port["containerPort"], port.get("name", "")
        if number == HEALTH_PORT:
            port.problem(
                "reserved-port",
                f"{HEALTH_PORT} is the port on which the guest answers health checks",
                "containerPort" if "containerPort" in port.lines else "",
                expected="another port",
            )
        if name and any(other.name == name for other in found):
            port.problem("duplicate-name", f"a second port is called {name!r}", "name", expected="every port name once")
        found.append(Port(container_port=number, name=name, protocol=port.get("protocol", "TCP")))
    return tuple(found)


def _resources(container: Tree) -> Resources:
    if "resources" not in container:
        return _NO_RESOURCES
    tree = container["resources"]
    limits, requests = tree.sub("limits"), tree.sub("requests")
    for name in ("cpu", "memory"):
        if name in limits and name in requests and requests[name] > limits[name]:
            requests.problem("out-of-range", f"the request for {name} is greater than its limit", name, expected="at most the limit")
    return Resources(
        memory_request=requests.get("memory"),
        memory_limit=limits.get("memory"),
        cpu_request=requests.get("cpu"),
        cpu_limit=limits.get("cpu"),
        memory_where=_counts("memory", limits, requests),
        cpu_where=_counts("cpu", limits, requests),
    )


def _counts(name: str, limits: Tree, requests: Tree) -> Where | None:
    """Return the place of the limit, else of the request."""
    return next((tree.where(name) for tree in (limits, requests) if name in tree), None)


_NO_RESOURCES = Resources()


def _probe(container: Tree, name: str, ports: tuple[Port, ...]) -> Probe | None:
    if name not in container:
        return None
    tree: Tree = container[name]
    chosen = tree.only("httpGet", "tcpSocket", "exec")
    success = tree.get("successThreshold") or 1
    if name != "readinessProbe" and success != 1:
        tree.problem("out-of-range", f"is {success}", "successThreshold", expected="1 for liveness and startup probes")
    if chosen is None:
        return None
    return Probe(
        handler=_handler(tree[chosen], chosen, ports, container),
        initial_delay_seconds=tree.get("initialDelaySeconds", 0),
        period_seconds=tree.get("periodSeconds") or 10,
        timeout_seconds=tree.get("timeoutSeconds") or 1,
        success_threshold=success,
        failure_threshold=tree.get("failureThreshold") or 3,
    )


def _handler(tree: Tree, kind: str, ports: tuple[Port, ...], container: Tree) -> HttpGet | TcpSocket | Exec:
    if kind == "exec":
        if not tree.get("command") and not tree.broken("command") and "command" in tree:
            tree.problem("missing-field", "is an empty command", "command", expected="a command and its arguments")
        return Exec(command=tuple(tree.get("command") or ()))
    port = _probe_port(tree, ports, container)
    if kind == "tcpSocket":
        return TcpSocket(port=port, host=tree.get("host", ""))
    scheme: Literal["HTTP", "HTTPS"] = tree.get("scheme", "HTTP")
    return HttpGet(
        port=port,
        path=tree.get("path") or "/",
        scheme=scheme,
        host=tree.get("host", ""),
        headers=tuple((header["name"], header.get("value", "")) for header in tree.get("httpHeaders") or () if "name" in header),
    )


def _probe_port(tree: Tree, ports: tuple[Port, ...], container: Tree) -> int:
    """Return the number of the probe's port; 0 where it cannot be known, which is noted."""
    wanted: Any = tree.get("port", 0)
    if isinstance(wanted, int):
        return wanted
    for port in ports:
        if port.name == wanted and port.protocol == "TCP":
            return port.container_port
    if not container.broken("ports") and not any(port.failed for port in container.get("ports") or ()):
        names = [port.name for port in ports if port.name and port.protocol == "TCP"]
        tree.problem(
            "unknown-port",
            f"the container has no TCP port called {wanted!r}",
            "port",
            expected=f"one of {', '.join(names)}" if names else "a port number, or a name given under ports",
            hint=did_you_mean(wanted, names),
        )
    return 0
