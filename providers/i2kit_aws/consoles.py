"""What instances have said on their consoles, as far as EC2 keeps it: the last 64 KiB."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from i2kit.consoles import parsed
from i2kit.driver import LogLine
from i2kit_aws import members, waits
from i2kit_aws.gateway import absent
from i2kit_aws.site import Site

AT_ONCE = 4
"""How many consoles are asked for at once: EC2 answers few such questions, and shares the rate with all others."""
FOLLOW_SECONDS = 5.0
"""How often who follows looks again."""

# EC2 cuts what it keeps anywhere. Of so much the first line may be the end of one, and of something that a container wrote.
_CUT_BYTES = 60 << 10
_HEAD_BYTES = 256
_gone = absent("InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed")


def said(site: Site, instances: Sequence[str]) -> dict[str, Sequence[str]]:
    """Return the lines that EC2 has of instances' consoles up to the present moment, a request for each."""
    return {instance: _lines(whole(console)) for instance, console in _outputs(site, instances)}


def lines(site: Site, group: str, *, tail: int | None, follow: bool) -> Iterator[LogLine]:
    """Yield the last `tail` lines of each of a group's members, all that EC2 has if None; with `follow` go on until the driver is closed.

    Whoever follows asks again every few seconds: for the members, and for the console of each.
    """
    if follow:
        yield from _followed(site, group, tail)
        return
    for instance, console in said(site, _there(site, group)).items():
        yield from parsed(instance, console, tail)


def _followed(site: Site, group: str, tail: int | None) -> Iterator[LogLine]:
    readers: dict[str, Reader] = {}
    first = True
    while True:
        there = _there(site, group)
        # Who has left has said something before that.
        for instance, console in _outputs(site, list(dict.fromkeys([*readers, *there]))):
            news = readers.setdefault(instance, Reader()).news(console)
            yield from parsed(instance, news, tail if first else None)
        first = False
        readers = {instance: readers[instance] for instance in there}
        if waits.unless(lambda: site.gateway.closed, FOLLOW_SECONDS):
            return


def _there(site: Site, group: str) -> list[str]:
    return [one.id for one in members.of_group(site, group) if one.exists]


def _outputs(site: Site, instances: Sequence[str]) -> list[tuple[str, bytes]]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(zip(instances, pool.map(lambda one: _output(site, one), instances), strict=True))


def _output(site: Site, instance: str) -> bytes:
    """Return what EC2 has of an instance's console; nothing when there is no such instance any more."""
    # The latest output is there on Nitro alone. It comes as text: its base64 is undone on the way.
    answer = _gone(lambda: site.gateway.call("ec2", "GetConsoleOutput", InstanceId=instance, Latest=True)) or {}
    return str(answer.get("Output") or "").encode()


def whole(console: bytes) -> bytes:
    """Return a console's output without what may be half of its first line. Pure."""
    return console.partition(b"\n")[2] if len(console) >= _CUT_BYTES else console


def _lines(console: bytes) -> list[str]:
    return [one.decode(errors="replace") for one in console.split(b"\n")]


class Reader:
    """Reads on in a console of which EC2 shows a window that moves."""

    def __init__(self) -> None:
        self._shown = b""
        self._rest = b""

    def news(self, console: bytes) -> Sequence[str]:
        """Return the whole lines that came since the last call, given what EC2 has of the console now."""
        added = appended(self._shown, console) if self._shown else whole(console)
        self._shown = console or self._shown
        *lines, self._rest = (self._rest + added).split(b"\n")
        return [one.decode(errors="replace") for one in lines]


def appended(before: bytes, now: bytes) -> bytes:
    """Return what a console's output has that it did not have `before`; everything when nothing of that is left. Pure.

    >>> appended(b"one two", b"two three")
    b' three'
    """
    head = now[:_HEAD_BYTES]
    start = before.find(head) if head else -1
    while start >= 0:
        if now.startswith(before[start:]):
            return now[len(before) - start :]
        start = before.find(head, start + 1)
    # What is left may be shorter than what was looked for.
    left = next((size for size in range(min(len(head), len(before)), 0, -1) if now.startswith(before[-size:])), 0)
    return now[left:]
