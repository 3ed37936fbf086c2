"""The test's side of the bed: starts the server, speaks to it, and ends it by its id, whatever happened."""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from attrs import frozen
from botocore.config import Config

REGION = "eu-west-1"
_PATIENCE = 60.0
_SCARCE = (
    "Could not launch On-Demand Instances. InsufficientInstanceCapacity - We currently do not have sufficient {type} capacity in the "
    "Availability Zone you requested ({zone}). Our system will be working on provisioning additional capacity."
)


_SESSION_LOCK = threading.Lock()


@functools.cache
def _session() -> boto3.session.Session:
    # Reading the services' models is most of what making a client takes; a session keeps them.
    return boto3.session.Session()


@frozen(kw_only=True)
class Held:
    """A request that is held at its moment until it is released."""

    bed: Bed
    number: int

    def reached(self, seconds: float = 30.0) -> bool:
        """Wait until a request is held; say whether one is."""
        return bool(self.bed.ask("await", number=self.number, seconds=seconds))

    def release(self) -> None:
        """Let the request go on."""
        self.bed.ask("release", number=self.number)


@frozen(kw_only=True)
class Faults:
    """Troubles on demand. Actions are patterns such as ``autoscaling:CreateAutoScalingGroup``, ``ec2:Describe*`` or ``*``.

    `times` of -1 is always; `skip` calls go well before; `where` names parameters and the values that they must have; of the
    calls that match, a `share` meets the trouble, always the same ones for a `seed`.
    """

    bed: Bed

    def add(self, action: str, kind: str, **rule: Any) -> int:
        """Add a rule as `faults.Rule` says. Raises RuntimeError for what is none."""
        return int(self.bed.ask("fault", action=action, kind=kind, **rule))

    def throttle(self, action: str, times: int = 1, **rule: Any) -> int:
        """Answer that calls come too fast, in the service's own words."""
        service = action.partition(":")[0]
        code = {"ec2": "RequestLimitExceeded", "ebs": "RequestThrottledException", "ssm": "ThrottlingException"}.get(service, "Throttling")
        status = 503 if service == "ec2" else 400
        return self.add(action, "error", times=times, code=code, message="Rate exceeded", status=status, **rule)

    def fail(self, action: str, times: int = 1, code: str = "InternalError", status: int = 500, **rule: Any) -> int:
        """Answer with an error, before the effect or (``moment="after"``) after it."""
        return self.add(action, "error", times=times, code=code, status=status, **rule)

    def cut(self, action: str, moment: str = "before", times: int = 1, **rule: Any) -> int:
        """End the connection before the effect, or after it without an answer."""
        return self.add(action, "cut", moment=moment, times=times, **rule)

    def slow(self, action: str, seconds: float, times: int = -1, **rule: Any) -> int:
        """Let calls take their time."""
        return self.add(action, "slow", seconds=seconds, times=times, **rule)

    def stale(self, action: str, times: int = 1, **rule: Any) -> int:
        """Answer reads as they were answered the last time that the same was asked; what was not asked before is answered truly."""
        return self.add(action, "stale", times=times, **rule)

    def die(self, action: str = "*", moment: str = "before", skip: int = 0, pid: int = 0, **rule: Any) -> int:
        """Let the client die at a call, after `skip` that matched.

        That is before the effect, after it but before the answer, or after the answer (``answered``). From then on no request has an
        effect or an answer until `clear`. With a `pid`, that process gets KILL at the same moment.
        """
        return self.add(action, "die", moment=moment, skip=skip, pid=pid, **rule)

    def hold(self, action: str, moment: str = "before", **rule: Any) -> Held:
        """Hold a call at a moment until it is released (a minute at most)."""
        return Held(bed=self.bed, number=self.add(action, "hold", moment=moment, **rule))

    def met(self, number: int) -> int:
        """How many calls a rule has met, those that it skipped among them."""
        return int(self.bed.ask("rule", number=number)["met"])

    def clear(self) -> None:
        """End all troubles; who died lives again."""
        self.bed.ask("clear")


@frozen(kw_only=True)
class Bed:
    """An AWS account behind `url`. `reset` makes it as good as new in some milliseconds."""

    url: str
    region: str = REGION

    @property
    def faults(self) -> Faults:
        """Troubles on demand."""
        return Faults(bed=self)

    @property
    def environment(self) -> dict[str, str]:
        """What a child needs in its environment to use this account and no other, whatever the user's own configuration says."""
        nowhere = "/nonexistent/i2kit-bed"
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "of-no-account",
            "AWS_CONFIG_FILE": nowhere,
            "AWS_SHARED_CREDENTIALS_FILE": nowhere,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def ask(self, verb: str, **given: Any) -> Any:
        """Ask the server for something of `control.py`. Raises RuntimeError with its reason when it refuses."""
        request = urllib.request.Request(f"{self.url}/_bed/{verb}", json.dumps(given).encode(), {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["error"]) from None

    def reset(self) -> None:
        """Empty the account, and forget settings, troubles and the journal."""
        self.ask("reset")

    def inventory(self) -> dict[str, list[str]]:
        """Everything in the account by type, such as ``ec2:vpc``, in all regions that were used."""
        return dict(self.ask("inventory"))

    def journal(self, since: int = 0) -> list[dict[str, Any]]:
        """All requests since a number: action, permissions, parameters, region, agent, status, code, what they met.

        Also whether they had an effect, and which resources they touched that carry none of i2kit's marks.
        """
        return list(self.ask("journal", since=since))

    def calls(self, since: int = 0) -> Counter[str]:
        """How often each action was called."""
        return Counter(entry["action"] for entry in self.journal(since))

    def permissions(self) -> set[str]:
        """Every permission that the calls so far need from a policy."""
        return {one for entry in self.journal() for one in entry["permissions"]}

    def health(self, state: str | None, target_group: str = "*", instance: str = "*") -> None:
        """Set targets' health: initial, healthy, unhealthy, draining, unused; None lets it follow the instances' lives again.

        `instance` may be the name of an Auto Scaling group: then it is that of all its members, those to come too.
        """
        self.ask("health", state=state, target_group=target_group, instance=instance)

    def set(self, **settings: Any) -> None:
        """Set new_members, image_tags or one of the numbers of calls (drain_calls, ...), as `settings.Settings` says."""
        self.ask("set", **settings)

    def snapshot(self, snapshot: str, state: str | None = None, message: str = "", age: float = 0.0) -> None:
        """Set a snapshot's state, such as ``error``, and what AWS says about it; let it be older by `age` seconds."""
        self.ask("snapshot", snapshot=snapshot, state=state, message=message, age=age)

    def image(self, name: str, state: str, message: str = "", calls: int = 0) -> None:
        """Set the state of the image of a name, such as ``failed``, and why; it stays ``pending`` for so many DescribeImages."""
        self.ask("image", name=name, state=state, message=message, calls=calls)

    def console(self, instance: str, text: str) -> None:
        """Set what an instance (``*``: each of which nothing else is set) has said on its console; until then it has said nothing."""
        self.ask("console", instance=instance, text=text)

    def lifecycle(self, instance: str, state: str = "InService") -> None:
        """Set a group's member's state in the group."""
        self.ask("lifecycle", instance=instance, state=state)

    def state(self, instance: str, state: str) -> None:
        """Set an instance's own state, such as ``pending`` or ``stopped``. A group replaces what is neither pending nor running."""
        self.ask("state", instance=instance, state=state)

    def power_off(self, instance: str) -> None:
        """Let a guest power itself off. Its group replaces it."""
        self.ask("power-off", instance=instance)

    def scarce(
        self, group: str = "*", zone: str = "*", times: int = -1, code: str = "InsufficientInstanceCapacity", message: str = _SCARCE
    ) -> None:
        """Let launches of a group fail, with an activity that says so; ``{type}`` and ``{zone}`` in the message are filled in."""
        self.ask("capacity", group=group, zone=zone, times=times, code=code, message=message)

    def plenty(self) -> None:
        """End all scarcity; groups start what they lack."""
        self.ask("enough")

    def quota(self, service: str, code: str, value: float) -> None:
        """Set a service quota."""
        self.ask("quota", service=service, code=code, value=value)

    def client(self, service: str, **config: Any) -> Any:
        """A boto3 client of this account, which does not retry unless told."""
        made = Config(**{"retries": {"total_max_attempts": 1}, "connect_timeout": 5, "read_timeout": 60, **config})
        key, secret = self.environment["AWS_ACCESS_KEY_ID"], self.environment["AWS_SECRET_ACCESS_KEY"]
        given = {"aws_access_key_id": key, "aws_secret_access_key": secret, "region_name": self.region}
        with _SESSION_LOCK:
            return _session().client(service, endpoint_url=self.url, config=made, **given)


@contextlib.contextmanager
def running(*, stock: bool = False) -> Iterator[Bed]:
    """Run the server in a process of its own, ended with the block by its id; `stock` runs moto as it is, without control."""
    command = [sys.executable, "-m", "aws.server", *(["stock"] if stock else [])]
    here = str(Path(__file__).parents[1])
    # A pipe as standard input: the server ends with this process even if that is killed.
    process = subprocess.Popen(command, cwd=here, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said: list[str] = []
    assert process.stdout
    assert process.stderr
    listener = threading.Thread(target=said.extend, args=(iter(process.stderr.readline, ""),), daemon=True)
    listener.start()
    try:
        port = process.stdout.readline().strip()
        if not port:
            process.wait()
            listener.join()
            raise RuntimeError(f"the server does not start: {''.join(said)}")
        yield Bed(url=f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()
        listener.join()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()
