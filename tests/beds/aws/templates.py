"""Launch templates as AWS keeps them: tags that change, user data in every version. Patches moto's templates."""

from __future__ import annotations

from typing import Any

from moto.core.types import Base64EncodedString
from moto.ec2.models.launch_templates import LaunchTemplate, LaunchTemplateVersion


def install() -> None:
    """Put the patches in place, once for a process."""
    # moto shows the tags that a template was created with, for ever.
    LaunchTemplate.tags = property(lambda template: template.get_tags(), lambda template, tags: None)
    LaunchTemplateVersion.user_data = property(_user_data)


def _user_data(version: Any) -> Base64EncodedString | None:
    """The user data of a version; moto takes those of the first one only for what they are."""
    given = version.data.get("UserData")
    return Base64EncodedString(given) if isinstance(given, str) else given
