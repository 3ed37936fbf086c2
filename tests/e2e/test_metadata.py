"""The guest finds its boot configuration where each cloud leaves it: real VMs, real servers, real config drives."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import metadata
import pytest
from attrs import evolve
from cloudimages import build, reading_from
from conftest import Machine
from metadata import ADDRESS, VM, Boot, Network

from i2kit.images import document as documents
from i2kit.resources import Image

pytestmark = pytest.mark.e2e

CANARY = "canary-of-the-database"
GROUPS = {
    "schema": 1,
    "healthFrom": ["10.88.0.1/32"],
    "fields": {"metadata.namespace": "default"},
    "secrets": {"db": {"password": base64.b64encode(CANARY.encode()).decode()}},
}
"""The boot configuration as a cloud's template has it: the same for every member."""

SCRIPT = """
echo "name $HOSTNAME $(hostname) $POD_NAME"
test "$PASSWORD" = {canary} && echo "the secret is right"
busybox nslookup {name} | busybox grep -q {address} && echo "the name server answers"
if echo | busybox nc -w 5 {address} 80; then echo "the service is in reach"; else echo "the service is out of reach"; fi
exec httpd -f -p 8080 -h /www
"""


def manifest() -> str:
    script = SCRIPT.format(canary=CANARY, name=metadata.NAME, address=ADDRESS)
    pod = {
        "containers": [
            {
                "name": "web",
                "image": "hello:1",
                "command": ["/bin/busybox", "sh", "-c", script],
                "env": [
                    {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
                ],
            }
        ]
    }
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "List",
            "items": [
                {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "stringData": {"password": CANARY}},
                {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "metadata": {"name": "web"},
                    "spec": {
                        "selector": {"matchLabels": {"app": "web"}},
                        "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod},
                    },
                },
            ],
        }
    )


@pytest.fixture(scope="module")
def here(machine: Machine) -> Iterator[Path]:
    """A folder of the module's own; the library works in the machine's folders."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
            patch.setenv(name, machine.environment[name])
        folder = machine.home / "metadata"
        folder.mkdir()
        yield folder


@pytest.fixture(scope="module")
def network(here: Path) -> Iterator[Network]:
    with metadata.network(here) as network:
        yield network


@pytest.fixture(scope="module")
def boot(here: Path) -> Callable[..., Boot]:
    """Build the image for a platform."""
    return lambda platform, change=None: build(here, manifest(), platform, change)


def open_to_containers(image: Image) -> dict[str, str]:
    """Let the containers ask the metadata service."""
    (pod,) = (file.contents for file in documents.parse(image.yaml).files if file.path == "etc/i2kit/pod.json")
    return {"etc/i2kit/pod.json": json.dumps({**json.loads(pod or b""), "metadataAccess": True})}


def is_named(vm: VM, name: str) -> None:
    """The container knows its VM by its name, and has the secret."""
    assert vm.line("[web] name") == f"[web] name {name} {name} {name}"
    vm.line("[web] the secret is right")
    vm.line("[web] the name server answers")


AWS = {"/latest/meta-data/instance-id": "i-0123456789abcdef0", "/latest/user-data": json.dumps(GROUPS)}


def test_amazons_service_is_asked_with_a_token_and_then_hidden(network: Network, boot: Callable[..., Boot], here: Path) -> None:
    with network.service("aws", AWS, shut=True) as service, network.vm(boot("aws"), here / "aws.console") as vm:
        assert "HTTP status 503" in str(vm.event("boot")["reason"])
        # Who may ask is not known yet, and the VM is alive.
        assert vm.health("/livez", ADDRESS) == (200, "the guest works")
        assert vm.health("/readyz") == (503, "the VM is starting")
        service.opened.set()
        is_named(vm, "i-0123456789abcdef0")
        vm.line("[web] the service is out of reach")
        assert vm.event("readiness")["ready"]
        assert vm.health("/readyz") == (200, "every container is ready")
        assert vm.health("/livez", ADDRESS) == (0, ""), "an address that is not in healthFrom was answered"
        assert not service.refused
        assert set(service.asked) == {"PUT /latest/api/token", "GET /latest/meta-data/instance-id", "GET /latest/user-data"}
        assert CANARY not in vm.console.read_text()


def test_an_instance_without_user_data_says_so_and_ends(network: Network, boot: Callable[..., Boot], here: Path) -> None:
    pages = {"/latest/meta-data/instance-id": "i-0"}
    with network.service("aws", pages), network.vm(boot("aws"), here / "none.console") as vm:
        assert vm.event("fatal")["reason"] == (
            f"boot configuration: GET http://{ADDRESS}/latest/user-data: HTTP status 404: the instance has no user data"
        )
        assert vm.end() == 0


def test_googles_service_is_asked_with_its_header_and_stays_where_it_is_wanted(
    network: Network, boot: Callable[..., Boot], here: Path
) -> None:
    instance = "/computeMetadata/v1/instance"
    pages = {f"{instance}/name": "web-x7k2", f"{instance}/attributes/i2kit-boot": json.dumps(GROUPS)}
    with network.service("gcp", pages) as service, network.vm(boot("gcp", open_to_containers), here / "gcp.console") as vm:
        is_named(vm, "web-x7k2")
        vm.line("[web] the service is in reach")
        assert not service.refused
        assert set(service.asked) == {f"GET {page}" for page in pages}


UUID = "83679162-1378-4288-a2d4-70e13ec132aa"
METADATA = "openstack/latest/meta_data.json"
USER_DATA = "openstack/latest/user_data"


def test_a_server_without_config_drive_asks_novas_service(network: Network, boot: Callable[..., Boot], here: Path) -> None:
    pages = {f"/{METADATA}": json.dumps({"uuid": UUID, "name": "My server"}), f"/{USER_DATA}": json.dumps(GROUPS)}
    with network.service("openstack", pages) as service, network.vm(boot("openstack"), here / "nova.console") as vm:
        is_named(vm, UUID)
        vm.line("[web] the service is out of reach")
        assert not service.refused
        assert set(service.asked) == {f"GET {page}" for page in pages}


def iso(folder: Path, label: str, files: dict[str, str]) -> tuple[str, ...]:
    """Write a volume as Nova does with genisoimage; return QEMU's options for a drive that has it: IDE, or SATA on a q35."""
    contents = folder / label
    for name, text in files.items():
        path = contents / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    image = folder / f"{label}.iso"
    nova = ("-ldots", "-allow-lowercase", "-allow-multidot", "-l", "-quiet", "-J", "-r", "-V", label)
    subprocess.run(["xorriso", "-as", "mkisofs", "-o", image, *nova, contents], check=True, capture_output=True)
    return ("-drive", f"file={image},if=none,id=config,format=raw,readonly=on", "-device", "ide-cd,drive=config")


def vfat(folder: Path, label: str, files: dict[str, str]) -> tuple[str, ...]:
    """Write a volume as Nova does with mkfs; return QEMU's options for a disk that has it."""
    image = folder / f"{label}.vfat"
    image.write_bytes(bytes(64 << 20))
    subprocess.run(["mkfs.vfat", "-n", label, image], check=True, capture_output=True)
    folders = sorted({str(parent) for name in files for parent in Path(name).parents} - {"."}, key=len)
    for path in folders:
        subprocess.run(["mmd", "-i", image, f"::{path}"], check=True)
    for name, text in files.items():
        subprocess.run(["mcopy", "-i", image, "-", f"::{name}"], check=True, input=text.encode())
    return ("-drive", f"file={image},if=none,id=config,format=raw", "-device", "virtio-blk-pci,drive=config")


@pytest.mark.parametrize(("drive", "machine_type"), [(iso, "pc"), (vfat, "q35")])
def test_a_config_drive_is_read_and_the_service_is_left_alone(
    network: Network,
    boot: Callable[..., Boot],
    here: Path,
    drive: Callable[[Path, str, dict[str, str]], tuple[str, ...]],
    machine_type: str,
) -> None:
    drives = drive(here, "config-2", {METADATA: json.dumps({"uuid": UUID, "name": "web-0"}), USER_DATA: json.dumps(GROUPS)})
    started = evolve(boot("openstack"), drives=drives, machine=machine_type)
    with network.service("openstack", {}) as service, network.vm(started, here / f"{drive.__name__}.console") as vm:
        is_named(vm, "web-0")
        vm.line("[web] the service is out of reach")
        assert not service.asked


def test_a_disk_of_ours_is_read(network: Network, boot: Callable[..., Boot], here: Path) -> None:
    """As the local region has it where the firmware hands over no files."""
    drives = iso(here, "i2kit", {"boot.json": json.dumps({**GROUPS, "instance": "web-1"})})
    started = evolve(boot("openstack", reading_from("disk")), drives=drives, machine="q35")
    with network.vm(started, here / "disk.console") as vm:
        is_named(vm, "web-1")
