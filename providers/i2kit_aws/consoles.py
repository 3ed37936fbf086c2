"""What instances have said on their consoles, as far as EC2 keeps it: the last 64 KiB."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence

from i2kit.consoles import parsed
from i2kit.driver import LogLine
from i2kit_aws import members
from i2kit_aws.gateway import absent
from i2kit_aws.site import Site

# EC2 cuts what it keeps anywhere. Of so much the first line may be the end of one, and of something that a container wrote.
_CUT_BYTES = 60 << 10
_gone = absent("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed")


def said(site: Site, instance: str) -> Sequence[str]:
    """Return the lines that EC2 has of an instance's console, up to the present moment (on Nitro, which alone has that)."""
    return whole(output(site, instance)).split("\n")


def output(site: Site, instance: str) -> bytes:
    """Return what EC2 has of an instance's console; nothing when there is no such instance any more."""
    answer = _gone(lambda: site.gateway.call("ec2", "GetConsoleOutput", InstanceId=instance, Latest=True)) or {}
    return base64.b64decode(answer.get("Output") or "")


def whole(console: bytes) -> str:
    """Return a console's text without what may be half of its first line. Pure."""
    text = console.decode(errors="replace")
    return text.partition("\n")[2] if len(console) >= _CUT_BYTES else text


def lines(site: Site, group: str, *, tail: int | None, follow: bool) -> Iterator[LogLine]:
    """Yield the lines of a group's members."""
    raise NotImplementedError


def _last(site: Site, group: str, tail: int | None) -> Iterator[LogLine]:
    for member in members.of_group(site, group):
        if member.exists:
            yield from parsed(member.id, said(site, member.id), tail)
