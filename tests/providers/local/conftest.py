"""A bed for the local region: environments with folders of their own, which are always taken down again."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import load
import pytest
from attrs import evolve, frozen

import i2kit
from i2kit.driver import Artefact
from i2kit.environment import Environment
from i2kit.images.builder import BuildRequest
from i2kit.images.store import default_store
from i2kit.manifest.workloads import SecretValue
from i2kit.plan import Action, Change, ObservedResource, Plan
from i2kit.resources import Image, InstanceGroup, Resource, key
from i2kit.stages import ready_builder
from i2kit_local.driver import LocalDriver
from i2kit_local.groups import Patience
from i2kit_local.supervisor import processes

ROOT = Path(__file__).parents[3]
IMPATIENT = Patience(poll_seconds=0.5, timeout_seconds=2.0, failures=3, boot_seconds=90.0)
# Generous, since this may be one of many things that the machine does.
BOOT_SECONDS = 90.0


def wait_until(condition: Callable[[], object], what: str, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.05)


class BedContext:
    """Hands over the files of images that were built before, and a secret's values."""

    def __init__(self, artefacts: dict[str, Artefact]) -> None:
        self._artefacts = artefacts

    def secret(self, name: str) -> dict[str, SecretValue]:
        return {"password": SecretValue(f"canary-{name}".encode())}

    def artefact(self, name: str) -> Artefact:
        return self._artefacts[name]

    def progress(self, message: str) -> None:
        pass

    def check(self) -> None:
        pass


class Bed:
    """One environment and what a test does with it."""

    def __init__(self, name: str, artefacts: dict[str, Artefact]) -> None:
        self.environment = Environment(name=name)
        self.driver = LocalDriver(self.environment, patience=IMPATIENT)
        self.region = self.driver.region
        self.context = BedContext(artefacts)

    def apply(self, action: Action, *resources: Resource) -> None:
        for resource in resources:
            self.driver.apply(Change(action=action, resource=resource, reason="the test wants it"), self.context)

    def seen(self, resource: Resource) -> ObservedResource:
        return self.driver.observe().by_key()[key(resource)]

    def faults(self, resource: Resource) -> tuple[str, ...]:
        return self.seen(resource).faults

    def url(self, balancer: Resource) -> str:
        (endpoint,) = self.seen(balancer).endpoints
        return endpoint

    def ready(self, group: InstanceGroup) -> int:
        return self.driver.health(group.name).ready

    def await_ready(self, group: InstanceGroup) -> None:
        wait_until(lambda: self.ready(group) == group.replicas, f"{group.name} ready ({self.driver.health(group.name)})", BOOT_SECONDS)

    def qemu(self, member: str) -> int | None:
        """The process id of a member's QEMU."""
        for pid in processes(self.region.folders):
            with suppress(OSError):
                argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if b"qemu" in argv[0] and member.encode() in argv:
                    return pid
        return None

    def monitor(self, index: int, command: str) -> None:
        """Send a member's QEMU a command, as a person with the socket could."""
        with socket.socket(socket.AF_UNIX) as sock, sock.makefile("rw") as file:
            sock.settimeout(10)
            sock.connect(str(self.region.folders.socket(f"{index}.qmp")))
            file.readline()
            for one in ("qmp_capabilities", command):
                file.write(json.dumps({"execute": one}) + "\n")
                file.flush()
                file.readline()

    def supervisorctl(self, *arguments: str) -> None:
        configuration = str(self.region.folders.state / "supervisord.conf")
        command = [sys.executable, "-m", "supervisor.supervisorctl", "-c", configuration, *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)

    def program(self, name: str) -> int:
        """The process id of one of supervisor's programs, 0 when it does not run."""
        info = self.region.supervisor._call("getProcessInfo", name)
        return int(info["pid"])

    def take_down(self) -> None:
        with self.region.locked():
            self.region.remove()
        shutil.rmtree(self.region.folders.state, ignore_errors=True)
        self.driver.close()


def page(url: str, seconds: float = 5.0) -> str:
    """The page, without a connection that is kept: the next one may go to another member."""
    request = urllib.request.Request(url, headers={"Connection": "close"})
    with urllib.request.urlopen(request, timeout=seconds) as answer:
        return str(answer.read().decode())


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folders of the tests' own for state and sockets."""
    root = tmp_path_factory.mktemp("l", numbered=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(root / "state"))
        patch.setenv("XDG_RUNTIME_DIR", str(root / "run"))
        yield root


@pytest.fixture(scope="session")
def make_bed(folders: Path) -> Iterator[Callable[..., Bed]]:
    """Makes environments, and takes them down, whatever became of the tests."""
    beds: list[Bed] = []

    def make(name: str, artefacts: dict[str, Artefact] | None = None) -> Bed:
        beds.append(Bed(name, artefacts or {}))
        return beds[-1]

    yield make
    for bed in beds:
        bed.take_down()


@frozen(kw_only=True)
class Built:
    """An application as planned and built, in two versions."""

    plans: tuple[Plan, Plan]
    artefacts: dict[str, Artefact]


@contextmanager
def store_of_our_own(scratch: Path) -> Iterator[None]:
    """A copy of the user's store to build with; what that lacks of the base is downloaded."""
    with pytest.MonkeyPatch.context() as patch:
        user_store = default_store().root
        patch.setenv("XDG_DATA_HOME", str(scratch / "data"))
        patch.setenv("XDG_CACHE_HOME", str(scratch / "cache"))
        if user_store.is_dir():
            shutil.copytree(user_store, default_store().root, dirs_exist_ok=True)
        yield


@pytest.fixture(scope="session")
def hello(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """Build the example by the library, in two versions that differ in their greeting."""
    scratch = tmp_path_factory.mktemp("hello")
    with store_of_our_own(scratch):
        layout = ROOT / "out" / "images" / "hello"
        if not layout.is_dir():
            layout = scratch / "layout"
            script = ROOT / "examples" / "hello" / "image" / "build.py"
            subprocess.run([sys.executable, str(script), "--out", str(layout)], check=True, stdout=subprocess.DEVNULL)
        default_store().import_path(layout)
        first, second = (_planned(scratch, greeting) for greeting in ("greeting one", "greeting two"))
        yield Built(plans=(first, second), artefacts={**_built(first, scratch), **_built(second, scratch)})


@pytest.fixture(scope="session")
def loadserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """Build the web server that is put under load."""
    scratch = tmp_path_factory.mktemp("loadserver")
    with store_of_our_own(scratch):
        load.image(scratch / "layout")
        default_store().import_path(scratch / "layout")
        # The second version ends at once when it gets its TERM, whatever it is doing.
        hasty = load.manifest("2").replace('value: "2"}]', 'value: "2"}, {name: ON_TERM, value: die}]')
        assert "ON_TERM" in hasty
        first, second = (planned(scratch, text, "load") for text in (load.manifest("1"), hasty))
        yield Built(plans=(first, second), artefacts={**_built(first, scratch), **_built(second, scratch)})


def _planned(scratch: Path, greeting: str) -> Plan:
    text = (ROOT / "examples" / "hello" / "hello.yaml").read_text()
    text = text.replace("Hello from a virtual machine", greeting)
    # busybox' httpd does not listen to TERM as process 1.
    text = text.replace("terminationGracePeriodSeconds: 2\n", "terminationGracePeriodSeconds: 1\n")
    return planned(scratch, text, "hello")


def planned(scratch: Path, text: str, application: str) -> Plan:
    manifest = scratch / f"{application}.yaml"
    manifest.write_text(text)
    workloads = i2kit.load([manifest])
    environment = Environment()
    return i2kit.plan(workloads, i2kit.resolve(workloads, environment), environment, application=application)


def _built(plan: Plan, scratch: Path) -> dict[str, Artefact]:
    (image,) = (one for one in plan.resources if isinstance(one, Image))
    artefact = ready_builder("assembler").build(BuildRequest(image=image))
    # A test makes the kernel panic by an interrupt, which it otherwise ignores.
    cmdline = scratch / f"{image.name}.cmdline"
    cmdline.write_text(f"{artefact.files['cmdline'].read_text().strip()} unknown_nmi_panic\n")
    return {image.name: evolve(artefact, files={**artefact.files, "cmdline": cmdline})}
