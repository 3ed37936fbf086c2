"""The planner: what becomes of workloads, and what it refuses."""

from __future__ import annotations

import json
from typing import TypeVar

import pytest
import yaml
from attrs import evolve
from sample import HERE, container, image, locked, secret, service, target, workload, workloads

from i2kit import wire
from i2kit.capabilities import Level, Support
from i2kit.driver import Limits
from i2kit.errors import InvalidInput
from i2kit.manifest.workloads import EnvSecret, EnvValue, Pod, Resources, SecretItem, SecretVolume
from i2kit.plan import Plan
from i2kit.planner import plan
from i2kit.resources import Balancer, DnsRecord, Image, InstanceGroup, Secret

T = TypeVar("T")
KEY = b"k" * 32


def the(planned: Plan, kind: type[T]) -> T:
    (found,) = [one for one in planned.resources if isinstance(one, kind)]
    return found


def group(**changes: object) -> InstanceGroup:
    pod = Pod(containers=(container(**changes),))
    return the(plan(workloads(workload(pod=pod)), locked(), target()), InstanceGroup)


def test_a_deployment_and_its_service_become_image_group_balancer_and_record() -> None:
    planned = plan(workloads(services=(service(),)), locked(), target())
    assert [one.kind for one in planned.resources] == ["Network", "Image", "InstanceGroup", "Balancer", "DnsRecord"]
    assert the(planned, Balancer).backends[0].group == the(planned, InstanceGroup).name
    assert the(planned, DnsRecord).name == "hello.default.svc.cluster.local"
    assert the(planned, Balancer).scope == "public"


def test_every_resource_comes_after_what_it_needs() -> None:
    planned = plan(workloads(services=(service(),)), locked(), target())
    made: set[str] = set()
    for resource in planned.resources:
        assert set(resource.needs) <= made
        made.add(f"{resource.kind}/{resource.name}")


def test_the_same_input_gives_the_same_plan() -> None:
    first, second = (plan(workloads(services=(service(),)), locked(), target()) for _ in range(2))
    assert first == second


def test_credentials_for_registries_are_no_part_of_a_plan() -> None:
    one = workload(pod=Pod(containers=(container(),), pull_secrets=("pull",)))
    given = evolve(workloads(one), pull_secrets=(secret(name="pull", password=b"canary-7732"),))
    planned = plan(given, locked(), target(), secret_key=KEY)
    assert planned == plan(workloads(), locked(), target(), secret_key=KEY)
    assert "canary-7732" not in repr(given)


def test_the_size_of_a_group_is_not_part_of_its_revision() -> None:
    names = {the(plan(workloads(workload(replicas=count)), locked(), target()), InstanceGroup).name for count in (1, 5)}
    assert len(names) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"env": (EnvValue(name="A", value="1"),)},
        {"args": ("-v",)},
        {"working_dir": "/srv"},
        {"resources": Resources(memory_limit=200 << 20)},
        {"resources": Resources(cpu_limit=2000)},
    ],
)
def test_a_change_of_the_pod_makes_another_revision(change: dict[str, object]) -> None:
    assert group().name != group(**change).name


def test_another_digest_behind_the_same_tag_makes_another_image() -> None:
    moved = locked(**{"hello:1": image(letter="e")})
    before, after = (the(plan(workloads(), lock, target()), Image) for lock in (locked(), moved))
    assert before.name != after.name


def test_two_workloads_with_the_same_pod_share_an_image() -> None:
    planned = plan(workloads(workload("one"), workload("two")), locked(), target())
    assert len([one for one in planned.resources if isinstance(one, Image)]) == 1
    assert len({one.name for one in planned.resources if isinstance(one, InstanceGroup)}) == 2


def test_secret_values_are_nowhere_in_the_plan() -> None:
    env = EnvSecret(name="PASSWORD", secret="db", key="password")
    volume = SecretVolume(name="v", items=(SecretItem(secret="db", key="password", path="p"),))
    pod = Pod(containers=(container(env=(env,)),), volumes=(volume,))
    planned = plan(workloads(workload(pod=pod), secrets=(secret(password=b"canary-7731"),)), locked(), target(), secret_key=KEY)
    text = json.dumps(wire.to_data(planned)) + repr(planned)
    assert "canary-7731" not in text
    assert "Y2FuYXJ5LTc3MzE" not in text
    assert the(planned, InstanceGroup).boot.secrets == {"db": the(planned, Secret).name}


def test_a_changed_secret_makes_another_version_and_another_revision() -> None:
    pod = Pod(containers=(container(env=(EnvSecret(name="P", secret="db", key="p"),)),))
    plans = [plan(workloads(workload(pod=pod), secrets=(secret(p=value),)), locked(), target(), secret_key=KEY) for value in (b"1", b"2")]
    assert the(plans[0], Secret).version != the(plans[1], Secret).version
    assert the(plans[0], InstanceGroup).name != the(plans[1], InstanceGroup).name
    assert the(plans[0], Image).name == the(plans[1], Image).name


def test_a_secret_version_depends_on_the_key() -> None:
    pod = Pod(containers=(container(env=(EnvSecret(name="P", secret="db", key="p"),)),))
    versions = {
        the(plan(workloads(workload(pod=pod), secrets=(secret(p=b"1"),)), locked(), target(), secret_key=key), Secret).version
        for key in (b"a" * 32, b"b" * 32)
    }
    assert len(versions) == 2


def test_what_the_image_says_is_escaped_and_what_the_manifest_says_is_not() -> None:
    images = {"hello:1": image(entrypoint=("/bin/sh", "-c", "echo $(HOME)"), cmd=("x",))}
    pod = Pod(containers=(container(args=("$(GREETING)",)),))
    document = yaml.safe_load(the(plan(workloads(workload(pod=pod)), locked(**images), target()), Image).yaml)
    assert document["services"][0]["command"] == ["/bin/sh", "-c", "echo $$(HOME)", "$(GREETING)"]


def test_a_command_drops_the_images_arguments() -> None:
    pod = Pod(containers=(container(command=("/bin/other",)),))
    document = yaml.safe_load(the(plan(workloads(workload(pod=pod)), locked(), target()), Image).yaml)
    assert document["services"][0]["command"] == ["/bin/other"]


def test_all_problems_come_at_once_with_their_places() -> None:
    big = workload("big", pod=Pod(containers=(container(resources=Resources(memory_limit=1 << 43)),)))
    tiny = workload("tiny", pod=Pod(containers=(container(resources=Resources(memory_limit=64)),)))
    many = workload("many", replicas=5000)
    with pytest.raises(InvalidInput) as caught:
        plan(workloads(big, tiny, many), locked(), target())
    assert [problem.code for problem in caught.value.problems] == ["memory-too-large", "memory-too-small", "too-many-replicas"]
    assert all("hello.yaml:7" in str(problem) for problem in caught.value.problems)


def test_a_root_file_system_that_does_not_fit_in_memory_is_refused_with_the_figures() -> None:
    with pytest.raises(InvalidInput, match=r"300 MiB unpacked.*at most 128 MiB"):
        plan(workloads(), locked(**{"hello:1": image(unpacked=300 << 20)}), target())


DISKS = ("kernel+initrd", "kernel+squashfs")


@pytest.mark.parametrize(
    ("unpacked_mib", "formats", "expected"),
    [
        (16, DISKS, ("kernel+initrd", "memory")),
        (17, DISKS, ("kernel+squashfs", "disk")),
        (1000, DISKS, ("kernel+squashfs", "disk")),
        (17, ("kernel+initrd",), ("kernel+initrd", "memory")),
        (2, ("kernel+squashfs",), ("kernel+squashfs", "disk")),
        (17, ("qcow2-bios",), ("qcow2-bios", "disk")),
        (2, ("qcow2-bios",), ("qcow2-bios", "memory")),
    ],
)
def test_large_root_file_systems_go_to_a_disk_where_the_provider_takes_one(
    unpacked_mib: int, formats: tuple[str, ...], expected: tuple[str, str]
) -> None:
    place = evolve(target(), formats=formats)
    base = evolve(locked().base, disk=image("docker.io/i2kit/disk:1", "e"))
    planned = plan(workloads(), evolve(locked(**{"hello:1": image(unpacked=unpacked_mib << 20)}), base=base), place)
    made = the(planned, Image)
    assert (made.format, made.root) == expected
    assert ("docker.io/i2kit/disk:1" in made.sources) == ("docker.io/i2kit/disk:1" in made.yaml) == (made.root == "disk")
    assert the(planned, InstanceGroup).memory_mib < 160


def test_where_the_root_lies_is_part_of_an_images_identity() -> None:
    images = [the(plan(workloads(), locked(), evolve(target(), formats=(one,))), Image) for one in DISKS]
    assert images[0].digest != images[1].digest


def test_what_does_not_fit_a_vm_is_refused_with_a_disk_too() -> None:
    pod = Pod(containers=(container(resources=Resources(memory_limit=4100 << 20)),))
    with pytest.raises(InvalidInput, match="needs 4168 MiB: 4100 for its containers, 0 for their root file systems, 68 for kernel"):
        plan(workloads(workload(pod=pod)), locked(**{"hello:1": image(unpacked=1 << 30)}), evolve(target(), formats=DISKS))


def test_what_the_provider_cannot_do_is_refused_with_its_reason() -> None:
    udp = evolve(service(), ports=(evolve(service().ports[0], protocol="UDP"),))
    level = Level(support=Support.UNSUPPORTED, reason="the balancer speaks TCP only")
    with pytest.raises(InvalidInput, match=r"Service hello needs balancing of UDP.*speaks TCP only"):
        plan(workloads(services=(udp,)), locked(), target(BALANCER_UDP=level))


def test_a_providers_own_annotations_become_options_and_no_other_revision() -> None:
    known = evolve(target(), provider=evolve(target().provider, annotations={"InstanceGroup": {"size": "a"}, "Balancer": {"tls": "b"}}))
    given = {"sample.i2kit.dev/size": "large", "other.i2kit.dev/size": "x", "free": "y"}
    plain, annotated = (
        plan(workloads(workload(annotations=one), services=(service(annotations={"sample.i2kit.dev/tls": "c"}),)), locked(), known)
        for one in ({}, given)
    )
    assert the(annotated, InstanceGroup).options == {"size": "large"}
    assert the(annotated, Balancer).options == {"tls": "c"}
    assert the(annotated, InstanceGroup).name == the(plain, InstanceGroup).name
    with pytest.raises(InvalidInput) as error:
        plan(workloads(workload(annotations=given), services=(service(annotations=given),)), locked(), target())
    assert [one.code for one in error.value.problems] == ["unknown-annotation"] * 2
    assert "hello.yaml" in str(error.value)


def test_names_keep_to_the_providers_limits() -> None:
    limits = Limits(max_memory_mib=4096, max_cpu_millis=4000, name_lengths={"InstanceGroup": 32, "Balancer": 32})
    long = workload("a-name-that-is-as-long-as-kubernetes-lets-it-be-in-a-manifest-x")
    planned = plan(workloads(long, services=(service("b" * 63, workloads=(long.name,)),)), locked(), target(limits=limits))
    assert len(the(planned, InstanceGroup).name) + len("-9999") <= 32
    assert len(the(planned, Balancer).name) <= 32


def test_a_plan_survives_the_way_through_json() -> None:
    planned = plan(workloads(services=(service(),)), locked(), target())
    assert wire.from_data(json.loads(json.dumps(wire.to_data(planned))), Plan) == planned


def test_containers_of_one_image_share_its_root_file_system_and_the_memory_for_it() -> None:
    one, both = Pod(containers=(container(),)), Pod(containers=(container(), container(name="side")))
    document = yaml.safe_load(the(plan(workloads(workload(pod=both)), locked(), target()), Image).yaml)
    described = json.loads(next(file["contents"] for file in document["files"] if file["path"] == "etc/i2kit/pod.json"))
    assert [container["root"] for container in described["containers"]] == ["containers/services/hello"] * 2
    assert list(described["inventory"]) == ["containers/services/hello"]
    memory = [the(plan(workloads(workload(pod=pod)), locked(), target()), InstanceGroup).memory_mib for pod in (one, both)]
    assert memory[1] - memory[0] == 64


def test_the_user_of_the_image_runs_the_container() -> None:
    document = yaml.safe_load(the(plan(workloads(), locked(**{"hello:1": image(uid=33, gid=34)}), target()), Image).yaml)
    assert (document["services"][0]["uid"], document["services"][0]["gid"]) == (33, 34)


def test_a_container_with_nothing_to_run_is_refused() -> None:
    silent = locked(**{"hello:1": image(entrypoint=(), cmd=())})
    with pytest.raises(InvalidInput) as caught:
        plan(workloads(), silent, target())
    assert [(one.code, one.where) for one in caught.value.problems] == [("no-command", HERE)]
    told = workload(pod=Pod(containers=(container(command=("/bin/hello",)),)))
    assert plan(workloads(told), silent, target()).resources


def test_public_names_stand_beside_the_private_one_and_lead_to_the_same_balancer() -> None:
    planned = plan(workloads(services=(service(hostnames=("shop.example.com", "www.example.com")),)), locked(), target())
    records = [one for one in planned.resources if isinstance(one, DnsRecord)]
    assert [(one.name, one.scope) for one in records] == [
        ("hello.default.svc.cluster.local", "private"),
        ("shop.example.com", "public"),
        ("www.example.com", "public"),
    ]
    assert {(one.balancer, one.mark) for one in records} == {(the(planned, Balancer).name, the(planned, Balancer).mark)}
    assert planned.notices == ()


def test_public_names_need_a_provider_that_has_them() -> None:
    level = Level(support=Support.UNSUPPORTED, reason="it has no zones")
    with pytest.raises(InvalidInput, match=r"Service hello needs public names.*it has no zones"):
        plan(workloads(services=(service(hostnames=("shop.example.com",)),)), locked(), target(PUBLIC_DNS=level))
    assert plan(workloads(services=(service(),)), locked(), target(PUBLIC_DNS=level))


def test_a_public_name_that_is_emulated_is_told() -> None:
    level = Level(support=Support.EMULATED, reason="it answers inside only")
    (notice,) = plan(workloads(services=(service(hostnames=("shop.example.com",)),)), locked(), target(PUBLIC_DNS=level)).notices
    assert notice.message == "the name shop.example.com is emulated by provider sample: it answers inside only"
    assert notice.where == service().where


def test_records_of_before_there_were_public_names_are_read() -> None:
    data = wire.to_data(plan(workloads(services=(service(),)), locked(), target()))
    assert [one.pop("scope") for one in data["resources"] if one["kind"] == "DnsRecord"] == ["private"]
    assert wire.from_data(json.loads(json.dumps(data)), Plan) == plan(workloads(services=(service(),)), locked(), target())
