"""Secrets that only AWS Systems Manager has reach containers, and nobody else: a real VM, moto's store, TLS and signatures before it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import metadata
import pytest
from attrs import evolve, frozen
from certificates import Authority
from cloudimages import build, laid_over
from conftest import Machine
from metadata import ADDRESS, VM, Boot, Network
from parameterstore import ADDRESS as STORE
from parameterstore import FOLDER, HOST, Keys, Store, serving

sys.path.insert(0, str(Path(__file__).parents[1] / "beds"))

from aws.bed import REGION, Bed, running

from i2kit import resources
from i2kit.environment import Environment
from i2kit.manifest.workloads import SecretValue
from i2kit.testing.context import SampleContext
from i2kit.testing.samples import Samples
from i2kit_aws import secrets
from i2kit_aws.networks import Located
from i2kit_aws.site import Site
from i2kit_aws.templates import boot_document

pytestmark = pytest.mark.e2e

SAMPLES = Samples(environment="prod", provider="aws", format="aws")
SECRET = evolve(SAMPLES.secret(), keys=("certificate", "password"))
PATH = f"/i2kit/prod/secrets/{SECRET.name}"
ASKED = f"secrets: GetParametersByPath {PATH} of https://{HOST}"
CANARY = "canary-of-the-parameter-store"
CERTIFICATE = hashlib.sha512(b"").digest() * 700
"""Some bytes that take more than one page of the store's answers."""
VALUES = {"password": CANARY.encode(), "certificate": CERTIFICATE}

SCRIPT = f"""
echo "the secret is $PASSWORD"
echo "the certificate is $(busybox sha256sum </secrets/certificate)"
busybox cat /etc/resolv.conf
if echo | busybox nc -w 5 {ADDRESS} 80; then echo "the service is in reach"; else echo "the service is out of reach"; fi
exec httpd -f -p 8080 -h /www
"""


def manifest() -> str:
    """A Pod with a Secret, whose values here are not those that it gets."""
    pod = {
        "containers": [
            {
                "name": "web",
                "image": "hello:1",
                "command": ["/bin/busybox", "sh", "-c", SCRIPT],
                "env": [{"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}],
                "volumeMounts": [{"name": "secrets", "mountPath": "/secrets"}],
            }
        ],
        "volumes": [{"name": "secrets", "secret": {"secretName": "db", "items": [{"key": "certificate", "path": "certificate"}]}}],
    }
    spec = {"selector": {"matchLabels": {"app": "web"}}, "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "stringData": dict.fromkeys(VALUES, "another value")}
    web = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [secret, web]})


@pytest.fixture(scope="module")
def here(machine: Machine) -> Iterator[Path]:
    """A folder of the module's own; the library works in the machine's folders."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME"):
            patch.setenv(name, machine.environment[name])
        folder = machine.home / "parameters"
        folder.mkdir()
        yield folder


@pytest.fixture(scope="module")
def network(here: Path) -> Iterator[Network]:
    with metadata.network(here, {HOST: STORE}) as network:
        yield network


@pytest.fixture(scope="module")
def boot(here: Path) -> Boot:
    return build(here, manifest(), "aws")


class Values(SampleContext):
    """Hands out the values to the driver."""

    def secret(self, name: str) -> Mapping[str, SecretValue]:
        return {key: SecretValue(value) for key, value in VALUES.items()}


@frozen(kw_only=True)
class Account:
    """An account in which the driver has stored the Secret; `told` is what it tells a group's members of it."""

    bed: Bed
    told: Mapping[str, Any]

    def parameters(self) -> dict[str, str]:
        """All that the account's store has."""
        paginator = self.bed.client("ssm").get_paginator("get_parameters_by_path")
        found = [one for page in paginator.paginate(Path="/", Recursive=True, WithDecryption=True) for one in page["Parameters"]]
        return {one["Name"]: one["Value"] for one in found}


@pytest.fixture(scope="module")
def account(here: Path) -> Iterator[Account]:
    with running() as bed, pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in bed.environment.items():
            patch.setenv(name, value)
        site = Site.of(Environment(name="prod", provider="aws", settings={"region": REGION}))
        secrets.ensure(site, SECRET, Values(here))
        boot = resources.Boot(search=("shop.svc.cluster.local", "svc.cluster.local"), secrets={"db": SECRET.name})
        located = Located(vpc="", cidrs=("10.88.0.0/16",), subnets={}, outer={}, members="", balancers="", zone="")
        yield Account(bed=bed, told=boot_document(site, evolve(SAMPLES.group(), boot=boot), located))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.new()


@pytest.fixture
def store(network: Network, account: Account, authority: Authority, here: Path) -> Iterator[Store]:
    store = Store(Keys(), account.bed.url)
    with serving(network, store, authority, here):
        yield store


Pages = Callable[[Keys, str | None], dict[str, str]]


@pytest.fixture
def pages(account: Account) -> Pages:
    """What the metadata service knows of an instance whose group has the secret, with a CA and the role's keys."""

    def known(keys: Keys, ca: str | None) -> dict[str, str]:
        where = {**account.told["parameterStore"], "endpoint": f"https://{HOST}", **({"ca": ca} if ca else {})}
        told = json.dumps({**account.told, "parameterStore": where})
        return {"/latest/meta-data/instance-id": "i-0123456789abcdef0", "/latest/user-data": told, **keys.pages()}

    return known


def has_the_secret(vm: VM) -> None:
    """The container has it, and nothing but the container tells it."""
    assert vm.line("[web] the secret") == f"[web] the secret is {CANARY}"
    assert hashlib.sha256(CERTIFICATE).hexdigest() in vm.line("[web] the certificate")
    vm.line("[web] the service is out of reach")
    assert vm.event("readiness")["ready"]
    tells_nothing([line for line in vm.lines() if not line.startswith("[web] the secret")])


def tells_nothing(lines: list[str]) -> None:
    """Neither values nor credentials are in these lines."""
    text = "\n".join(lines)
    for secret in (CANARY, *(base64.b64encode(value).decode()[:16] for value in VALUES.values()), Keys().secret, Keys().token):
        assert secret not in text


def without(known: Mapping[str, str], path: str) -> dict[str, str]:
    return {name: text for name, text in known.items() if name != path}


def test_a_container_prints_a_secret_that_only_the_parameter_store_held(
    network: Network, boot: Boot, store: Store, authority: Authority, pages: Pages, here: Path
) -> None:
    """As on AWS: the image's own root certificates vouch for the service, and the role appears late."""
    trusting = laid_over(boot, {"etc/ssl/certs/ca-certificates.crt": authority.pem}, here / "trusting.initrd")
    known = pages(store.keys, None)
    store.troubles += ["ThrottlingException"]
    with network.service("aws", without(known, FOLDER)) as service, network.vm(trusting, here / "secret.console") as vm:
        reason = f"secrets: GET http://{ADDRESS}{FOLDER}: HTTP status 404: the instance has no role"
        assert vm.event("boot")["reason"] == reason
        assert vm.health("/livez") == (200, "the guest works")
        assert vm.health("/readyz") == (503, "the VM is starting")
        service.pages.update(known)
        has_the_secret(vm)
        assert "[web] search shop.svc.cluster.local svc.cluster.local" in vm.lines()
    assert store.refused == ["ThrottlingException"]
    assert store.asked == {"AmazonSSM.GetParametersByPath": 3}, "two pages, and one more time"
    assert not service.refused


def test_credentials_and_rights_that_come_late_are_waited_for(
    network: Network, boot: Boot, store: Store, authority: Authority, pages: Pages, here: Path
) -> None:
    old = Keys(access="ASIAOLD", secret="of-yesterday", token="old-token")
    store.expired.add(old.token)
    store.denials = 2
    with network.service("aws", pages(old, authority.pem)) as service, network.vm(boot, here / "late.console") as vm:
        reason = str(vm.event("boot")["reason"])
        assert reason.startswith(f"{ASKED}: HTTP status 400: ExpiredTokenException: The ")
        service.pages.update(store.keys.pages())
        has_the_secret(vm)
    assert set(store.refused) == {"ExpiredTokenException", "AccessDeniedException"}
    assert store.refused[-2:] == ["AccessDeniedException"] * 2


def test_a_wrong_signature_ends_the_vm(network: Network, boot: Boot, store: Store, authority: Authority, pages: Pages, here: Path) -> None:
    wrong = evolve(store.keys, secret="of-another-role")
    with network.service("aws", pages(wrong, authority.pem)), network.vm(boot, here / "wrong.console") as vm:
        reason = str(vm.event("fatal")["reason"])
        assert reason.startswith(f"{ASKED}: HTTP status 400: InvalidSignatureException: The ")
        assert vm.end() == 0
        tells_nothing([*vm.lines(), reason])
    assert store.refused == ["InvalidSignatureException"]


def test_a_server_that_nobody_vouches_for_is_told_nothing(network: Network, boot: Boot, store: Store, pages: Pages, here: Path) -> None:
    """Neither Amazon's roots, which are in the image, nor a CA of another name."""
    for ca in (None, Authority.new().pem):
        with network.service("aws", pages(store.keys, ca)), network.vm(boot, here / "untrusted.console") as vm:
            assert "certificate signed by unknown authority" in str(vm.event("fatal")["reason"])
            assert vm.end() == 0
            tells_nothing(vm.lines())
    assert not store.asked


def test_a_piece_that_is_missing_is_named(
    network: Network, boot: Boot, store: Store, account: Account, authority: Authority, pages: Pages, here: Path
) -> None:
    lost = f"{PATH}/certificate/4.15"
    value = account.parameters()[lost]
    account.bed.client("ssm").delete_parameter(Name=lost)
    try:
        with network.service("aws", pages(store.keys, authority.pem)), network.vm(boot, here / "missing.console") as vm:
            assert vm.event("fatal")["reason"] == f"secret db: parameter {lost}: is missing"
            assert vm.end() == 0
            tells_nothing(vm.lines())
    finally:
        account.bed.client("ssm").put_parameter(Name=lost, Value=value, Type="SecureString")


@pytest.mark.parametrize(("hours", "off"), [(-2, "behind"), (2, "ahead"), (-24 * 2000, "behind")])
def test_a_vm_whose_clock_is_wrong_takes_the_services(
    network: Network, boot: Boot, store: Store, authority: Authority, pages: Pages, here: Path, hours: int, off: str
) -> None:
    """By hours the signature is refused; by years the certificate is, before anything is signed."""
    clock = datetime.now(UTC) + timedelta(hours=hours)
    wrong = evolve(boot, drives=("-rtc", f"base={clock:%Y-%m-%dT%H:%M:%S}"))
    with network.service("aws", pages(store.keys, authority.pem)), network.vm(wrong, here / f"{off}{hours}.console") as vm:
        reason = str(vm.event("boot")["reason"])
        assert reason.startswith("secrets: this VM's clock is ")
        assert reason.endswith(f" {off}, and the service's is used")
        has_the_secret(vm)
    assert store.refused == (["InvalidSignatureException"] if abs(hours) < 24 else [])
