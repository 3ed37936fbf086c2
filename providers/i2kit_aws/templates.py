"""Launch templates: what AWS starts a group's members by, and where the group stands as it was planned.

A template is made first and goes last. What is planned and no matter of AWS's are its tags, what the guest is told its user data.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen

from i2kit.errors import ProviderError
from i2kit.names import digest
from i2kit.resources import Boot, InstanceGroup
from i2kit.strategy import Scaling
from i2kit_aws import secrets, tags
from i2kit_aws.gateway import absent
from i2kit_aws.networks import Located
from i2kit_aws.site import Site

LATEST = "$Latest"
"""The version that Auto Scaling groups launch."""
LONGEST_USER_DATA = 16 << 10

_LONGEST_AUTHORITIES = 8 << 10
_MOST = 200
_NOT_FOUND = ("InvalidLaunchTemplateName.NotFoundException", "InvalidLaunchTemplateId.NotFound")
_ALREADY_THERE = "InvalidLaunchTemplateName.AlreadyExistsException"
_OPTION = "option:"
# Facts that are numbers: their tags, and the fields of a group.
_NUMBERS = {
    "cpu": "cpu_millis",
    "memory": "memory_mib",
    "health-port": "health_port",
    "drain": "drain_seconds",
    "grace": "grace_seconds",
    "min-ready": "min_ready_seconds",
    "deadline": "progress_deadline_seconds",
    "restarts": "restarts",
}
_WORDS = {"image": "image", "network": "network", "architecture": "architecture", "form": "form"}


@frozen(kw_only=True)
class Template:
    """A launch template as it is: its tags, its newest version's data, and `told`, by which that version is known again."""

    id: str
    name: str
    latest: int
    tags: Mapping[str, str]
    data: Mapping[str, Any] = field(factory=dict)
    told: str = ""


@frozen(kw_only=True)
class Start:
    """What members are started with: image, type, network, and the name of an instance profile or none."""

    ami: str
    type: str
    located: Located
    profile: str = ""


def data_of(site: Site, group: InstanceGroup, start: Start) -> dict[str, Any]:
    """Return a launch template's data for a group; raise `ProviderError` when the guest is to be told more than AWS takes."""
    marks = site.tags(group.mark, group.name, group=group.name)
    card: dict[str, Any] = {"DeviceIndex": 0, "Groups": [start.located.members], "DeleteOnTermination": True}
    if not site.settings.network.vpc:
        card["AssociatePublicIpAddress"] = start.located.public
    data: dict[str, Any] = {
        "ImageId": start.ami,
        "InstanceType": start.type,
        "UserData": _user_data(site, group, start.located),
        # A guest that is dead powers itself off: then the instance is gone, and Auto Scaling starts another one.
        "InstanceInitiatedShutdownBehavior": "terminate",
        # Containers have the VM's own network, so answers need not go a hop further.
        "MetadataOptions": {
            "HttpEndpoint": "enabled",
            "HttpTokens": "required",
            "HttpPutResponseHopLimit": 1,
            "InstanceMetadataTags": "disabled",
        },
        "Monitoring": {"Enabled": False},
        "NetworkInterfaces": [card],
        "TagSpecifications": tags.specification(marks, "instance", "volume", "network-interface"),
    }
    return data | ({"IamInstanceProfile": {"Name": start.profile}} if start.profile else {})


def _user_data(site: Site, group: InstanceGroup, located: Located) -> str:
    text = json.dumps(boot_document(site, group, located), separators=(",", ":")).encode()
    if len(text) > LONGEST_USER_DATA:
        raise ProviderError.of(
            "boot-config-too-large",
            f"the boot configuration of {group.name} takes {len(text)} bytes",
            expected=f"at most {LONGEST_USER_DATA}",
        )
    return base64.b64encode(text).decode()


def boot_document(site: Site, group: InstanceGroup, located: Located) -> dict[str, Any]:
    """Return what all members of a group are told when they boot (docs/reference/guest.md): references to Secrets, no values."""
    boot = group.boot
    document: dict[str, Any] = {"schema": 1, "healthFrom": list(located.cidrs), "fields": boot.fields, "search": list(boot.search)}
    if boot.secrets:
        paths = {name: secrets.path_of(site, resource) for name, resource in boot.secrets.items()}
        document["parameterStore"] = {"region": site.settings.region, **_reached(site.gateway.endpoint("ssm")), "secrets": paths}
    return document


def _reached(endpoint: Mapping[str, str]) -> dict[str, str]:
    """Return how the guest reaches a service. Whom to trust is said for an address of one's own; everybody's roots are in the image."""
    told = endpoint["endpoint"].startswith("https:") and len(endpoint.get("ca", "")) <= _LONGEST_AUTHORITIES
    return {name: value for name, value in endpoint.items() if name != "ca" or told}


def boot_in(data: Mapping[str, Any]) -> Boot:
    """Return what a template's data tell the guest; nothing when they are not ours. Pure."""
    try:
        document = json.loads(base64.b64decode(data.get("UserData") or ""))
        paths = document.get("parameterStore", {}).get("secrets", {})
        return Boot(
            fields=dict(document["fields"]),
            search=tuple(document["search"]),
            secrets={name: path.rpartition("/")[2] for name, path in paths.items()},
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return Boot()


def facts_of(group: InstanceGroup) -> dict[str, str]:
    """Return what a template's tags say of a group."""
    facts = {name: str(getattr(group, one)) for name, one in (_NUMBERS | _WORDS).items()}
    return facts | {f"{_OPTION}{name}": value for name, value in group.options.items()}


def group_in(template: Template, *, replicas: int, scaling: Scaling | None) -> InstanceGroup | None:
    """Return the group of that size and with those bounds that a template stands for; None when it stands for none. Pure."""
    mark, held = tags.mark_of(template.tags), template.tags
    if mark is None or not all(tags.fact(held, name) for name in _WORDS):
        return None
    prefix = f"{tags.PREFIX}{_OPTION}"
    return InstanceGroup(
        name=template.name,
        mark=mark,
        replicas=replicas,
        scaling=scaling,
        boot=boot_in(template.data),
        options={name.removeprefix(prefix): value for name, value in held.items() if name.startswith(prefix)},
        **{one: tags.fact(held, name) for name, one in _WORDS.items()},  # type: ignore[arg-type]
        **{one: int(tags.fact(held, name, "0")) for name, one in _NUMBERS.items()},  # type: ignore[arg-type]
    )


def all_of(site: Site) -> list[Template]:
    """Return the environment's templates with their newest versions; AWS lists those only of the whole region."""
    described = list(
        site.gateway.pages("ec2", "DescribeLaunchTemplates", "LaunchTemplates", Filters=tags.having(site.own()), MaxResults=_MOST)
    )
    if not described:
        return []
    versions = site.gateway.pages("ec2", "DescribeLaunchTemplateVersions", "LaunchTemplateVersions", Versions=[LATEST], MaxResults=_MOST)
    newest = {str(one["LaunchTemplateId"]): one for one in versions}
    return [_template(one, newest.get(str(one["LaunchTemplateId"]), {})) for one in described]


def of_group(site: Site, group: str) -> Template | None:
    """Return a group's template; None when there is none."""
    gone = absent(*_NOT_FOUND)
    answer = gone(lambda: site.gateway.call("ec2", "DescribeLaunchTemplates", LaunchTemplateNames=[group]))
    described = [
        one for one in (answer or {}).get("LaunchTemplates", []) if tags.unlisted(one.get("Tags")).get(tags.ENVIRONMENT) == site.label
    ]
    if not described:
        return None
    return _template(described[0], next(iter(versions_of(site, group, LATEST)), {}))


def versions_of(site: Site, group: str, *versions: str) -> list[Mapping[str, Any]]:
    """Return versions of a group's template, all of them unless some are named; none when it is not there."""
    gone = absent(*_NOT_FOUND)
    asked = {"Versions": list(versions)} if versions else {}
    found = gone(
        lambda: list(
            site.gateway.pages(
                "ec2", "DescribeLaunchTemplateVersions", "LaunchTemplateVersions", LaunchTemplateName=group, MaxResults=_MOST, **asked
            )
        )
    )
    return found or []


def profile_in(data: Mapping[str, Any]) -> str:
    """Return the name of the instance profile in a template's data; empty when there is none. Pure."""
    return str(data.get("IamInstanceProfile", {}).get("Name") or "")


def profiles_in(versions: Sequence[Mapping[str, Any]]) -> set[str]:
    """Return the names of the instance profiles that versions of a template name. Pure."""
    return {profile_in(one.get("LaunchTemplateData", {})) for one in versions} - {""}


def _template(described: Mapping[str, Any], version: Mapping[str, Any]) -> Template:
    return Template(
        id=str(described["LaunchTemplateId"]),
        name=str(described["LaunchTemplateName"]),
        latest=int(described.get("LatestVersionNumber") or 0),
        tags=tags.unlisted(described.get("Tags")),
        data=version.get("LaunchTemplateData") or {},
        told=str(version.get("VersionDescription") or ""),
    )


def told_of(data: Mapping[str, Any]) -> str:
    """Return by what a version with these data is known again: AWS gives them back in words of its own. Pure."""
    return f"i2kit {digest(data)[:32]}"


def create(site: Site, group: InstanceGroup, data: Mapping[str, Any]) -> bool:
    """Make the template of a group, with everything that is known of it; say whether there was none of its name."""
    held = site.tags(group.mark, group.name, **facts_of(group))
    made = absent(_ALREADY_THERE)(
        lambda: site.gateway.call(
            "ec2",
            "CreateLaunchTemplate",
            LaunchTemplateName=group.name,
            VersionDescription=told_of(data),
            LaunchTemplateData=data,
            TagSpecifications=tags.specification(held, "launch-template"),
        )
    )
    return made is not None


def renew(site: Site, template: Template, data: Mapping[str, Any]) -> bool:
    """Make another version when the newest one has other data; say whether. Members that run stay as they are."""
    if template.told == told_of(data):
        return False
    token = digest(template.id, template.latest, told_of(data))[:32]
    site.gateway.call(
        "ec2",
        "CreateLaunchTemplateVersion",
        LaunchTemplateId=template.id,
        VersionDescription=told_of(data),
        LaunchTemplateData=data,
        ClientToken=token,
    )
    return True


def label(site: Site, template: Template, group: InstanceGroup) -> None:
    """Have the template's tags say what is planned; the last thing that changes, so that what is seen is what is done."""
    site.retag(template.id, template.tags, site.tags(group.mark, group.name, **facts_of(group)))


def delete(site: Site, group: str) -> None:
    """Remove the template of a group; nothing happens when it is not there."""
    absent(*_NOT_FOUND)(lambda: site.gateway.call("ec2", "DeleteLaunchTemplate", LaunchTemplateName=group))
