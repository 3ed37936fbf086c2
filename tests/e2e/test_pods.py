"""What Pods ask for and really get: Secrets, ConfigMaps, several containers, probes, names, restarts."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Machine, fetch, until

pytestmark = pytest.mark.e2e

CANARY = "canary-83f1c2"
MANIFEST = f"""
apiVersion: v1
kind: Secret
metadata: {{name: db}}
stringData: {{password: {CANARY}, user: admin}}
---
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings}}
data: {{COLOUR: blue, page.txt: "from a file\\n"}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: pair}}
spec:
  replicas: 1
  selector: {{matchLabels: {{app: pair}}}}
  template:
    metadata: {{labels: {{app: pair, tier: web}}}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
        - name: writer
          image: hello:1
          command: ["/bin/sh", "-c"]
          args:
            - |
              {{
                echo "env=$COLOUR/$USER_NAME/$(cat /secret/password)/$(GREETING)"
                echo "pod=$POD_NAME ip=$POD_IP tier=$TIER"
                cat /config/page.txt
              }} > /shared/index.txt
              exec /bin/httpd -f -p 8099 -h /shared
          envFrom: [{{configMapRef: {{name: settings}}}}]
          env:
            - {{name: USER_NAME, valueFrom: {{secretKeyRef: {{name: db, key: user}}}}}}
            - {{name: GREETING, value: "hello $(USER_NAME)"}}
            - {{name: POD_NAME, valueFrom: {{fieldRef: {{fieldPath: metadata.name}}}}}}
            - {{name: POD_IP, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}
            - {{name: TIER, valueFrom: {{fieldRef: {{fieldPath: "metadata.labels['tier']"}}}}}}
          readinessProbe: {{exec: {{command: ["/bin/sh", "-c", "read x < /shared/index.txt"]}}, periodSeconds: 1}}
          resources: {{limits: {{memory: 16Mi}}}}
          volumeMounts:
            - {{name: shared, mountPath: /shared}}
            - {{name: secret, mountPath: /secret, readOnly: true}}
            - {{name: config, mountPath: /config}}
        - name: server
          image: hello:1
          command: ["/bin/httpd", "-f", "-p", "8081", "-h", "/shared"]
          ports: [{{name: web, containerPort: 8081}}]
          readinessProbe: {{tcpSocket: {{port: web}}, periodSeconds: 1}}
          resources: {{limits: {{memory: 16Mi}}}}
          volumeMounts: [{{name: shared, mountPath: /shared}}]
      volumes:
        - {{name: shared, emptyDir: {{}}}}
        - {{name: secret, secret: {{secretName: db, defaultMode: 0444}}}}
        - {{name: config, configMap: {{name: settings}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: pair}}
spec:
  type: LoadBalancer
  selector: {{app: pair}}
  ports: [{{port: 18081, targetPort: web}}]
---
name: caller
replicas: 1
containers:
  - image: hello:1
    ports: [8080]
"""
# The caller is ready only when it reaches the other Service by name: its probe's host is one.
CALLER = (
    MANIFEST.split("---\nname: caller")[0]
    + """---
apiVersion: apps/v1
kind: Deployment
metadata: {name: caller}
spec:
  selector: {matchLabels: {app: caller}}
  template:
    metadata: {labels: {app: caller}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
        - name: web
          image: hello:1
          readinessProbe:
            httpGet: {host: HOST, port: 18081, path: /index.txt}
            periodSeconds: 1
          resources: {limits: {memory: 16Mi}}
"""
)


@pytest.fixture(scope="module")
def pair(machine: Machine) -> Iterator[str]:
    path = machine.write("pair.yaml", MANIFEST)
    machine.run("deploy", "-f", path)
    yield path
    machine.run("destroy", "-f", path)


def workload(machine: Machine, path: str, name: str) -> dict[str, object]:
    (found,) = [one for one in machine.data("status", "-f", path)["workloads"] if one["name"] == name]
    return dict(found)


def page(machine: Machine, path: str) -> str:
    (url,) = workload(machine, path, "pair")["endpoints"]  # type: ignore[misc]
    return fetch(f"{url}/index.txt")


def test_environment_secrets_fields_and_volumes_reach_the_container(machine: Machine, pair: str) -> None:
    (instance,) = workload(machine, pair, "pair")["instances"]  # type: ignore[misc]
    assert page(machine, pair).splitlines() == [
        f"env=blue/admin/{CANARY}/hello admin",
        f"pod={instance['id']} ip={instance['address']} tier=web",
        "from a file",
    ]


def test_the_papers_simplified_form_serves_behind_a_balancer(machine: Machine, pair: str) -> None:
    (url,) = workload(machine, pair, "caller")["endpoints"]  # type: ignore[misc]
    assert "<h1>" in fetch(url)


def test_a_secret_shows_nowhere(machine: Machine, pair: str) -> None:
    needles = (CANARY.encode(), base64.b64encode(CANARY.encode()))
    shown = [machine.run(*command, "-f", pair).encode() for command in (("plan", "-o", "json"), ("status",), ("logs",), ("graph",))]
    command_lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [text for text in (*shown, *command_lines) for needle in needles if needle in text]
    allowed = {"boot.json", "secret.json"}
    for path in machine.home.rglob("*"):
        # `net` pins the network namespace, which cannot be read.
        if not path.is_file() or path.name == "net" or "manifests" in path.parts:
            continue
        text = path.read_bytes()
        if any(needle in text for needle in needles):
            assert path.stat().st_mode & 0o077 == 0, f"{path} is readable by others"
            assert "images" not in path.parts, f"{path} carries the Secret"
            assert path.name in allowed or "secrets" in path.parts, f"{path} carries the Secret"


def test_a_changed_secret_replaces_the_vms_and_not_the_image(machine: Machine, pair: str) -> None:
    Path(pair).write_text(MANIFEST.replace("user: admin", "user: root"))
    plan = machine.data("plan", "-f", pair)
    changed = {(change["action"], change["kind"]) for change in plan["changes"] if change["action"] != "no-op"}
    assert ("replace", "InstanceGroup") in changed
    assert ("create", "Secret") in changed
    assert not [one for one in changed if one[1] == "Image"]
    assert any("Secret db" in change["reason"] for change in plan["changes"])
    machine.run("deploy", "-f", pair)
    assert "hello root" in page(machine, pair)


@pytest.mark.parametrize("host", ["pair", "pair.default.svc.cluster.local"])
def test_services_are_found_by_name(machine: Machine, pair: str, host: str) -> None:
    path = machine.write("caller.yaml", CALLER.replace("HOST", host))
    machine.run("deploy", "-f", path, "-a", "pair")
    assert workload(machine, pair, "caller")["ready"] == 1


def test_a_crashed_container_is_started_again(machine: Machine) -> None:
    path = machine.write(
        "crash.yaml",
        """
apiVersion: apps/v1
kind: Deployment
metadata: {name: crash}
spec:
  selector: {matchLabels: {app: crash}}
  template:
    metadata: {labels: {app: crash}}
    spec:
      containers:
        - name: once
          image: hello:1
          command: ["/bin/sh", "-c", "read x < /keep/seen && exec /bin/httpd -f -p 8080 -h /www; echo first > /keep/seen; exit 7"]
          readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
          resources: {limits: {memory: 16Mi}}
          volumeMounts: [{name: keep, mountPath: /keep}]
      terminationGracePeriodSeconds: 1
      volumes: [{name: keep, emptyDir: {}}]
""",
    )
    try:
        machine.run("deploy", "-f", path)
        log = machine.run("logs", "-f", path)
        assert '"state": "exited"' in log
        until(lambda: workload(machine, path, "crash")["ready"] == 1, what="the container runs again")
    finally:
        machine.run("destroy", "-f", path)
