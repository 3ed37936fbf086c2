"""The WSGI application before moto's: understands each request, lets it meet its trouble, refuses what AWS refuses, keeps a journal."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from attrs import define, field
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.test import run_wsgi_app

from aws import groups, images, nats, networks
from aws.faults import Faults, Rule
from aws.marks import unmarked
from aws.permissions import needed
from aws.protocols import Call, Refusal, answer, decode
from aws.refusals import refuse

CONTROL = "/_bed"
# The longest that a held request waits for a test that has forgotten it.
PATIENCE = 60.0
_REMEMBERED = 2000
Answer = tuple[int, list[tuple[str, str]], bytes]

# What moto passes to the drivers' own errors, and AWS answers as the client's.
_ECHOES = {"autoscaling": ("ValidationError", 400), "ebs": ("ResourceNotFoundException", 404)}


class _Cut(ConnectionResetError):
    """The connection ends here."""


@define(kw_only=True)
class Entry:
    """One line of the journal."""

    number: int
    action: str
    region: str
    permissions: list[str]
    parameters: dict[str, Any]
    status: int = 0
    code: str = ""
    met: list[str] = field(factory=list)
    effect: bool = False
    agent: str = ""
    unmarked: list[str] = field(factory=list)
    generation: int = 0
    trace: str = ""


class Application:
    """The account. One request at a time gets to moto, whose dictionaries are not made for more; waiting happens outside of that."""

    def __init__(self, control: Callable[[Application, str, dict[str, Any]], Any]) -> None:
        self.moto = DomainDispatcherApplication(create_backend_app)
        self.lock = threading.RLock()
        self.faults = Faults()
        self.journal: list[Entry] = []
        self.control = control
        self._seen: OrderedDict[str, Answer] = OrderedDict()
        self._generation = 0

    def forget(self) -> None:
        """Drop the journal, the rules and the answers that stale reads would show."""
        self.faults.clear()
        self.journal.clear()
        self._generation += 1
        self._seen.clear()

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path.startswith(CONTROL):
            return self._controlled(environ, start)
        if path.startswith(("/moto-api", "/latest/")):
            with self.lock:
                return self.moto(environ, start)  # type: ignore[no-any-return]
        call = decode(environ)
        parameters = _shown(call.parameters)
        agent = environ.get("HTTP_USER_AGENT", "")
        entry = Entry(number=0, action=call.action, region=call.region, permissions=needed(call), parameters=parameters, agent=agent)
        with self.lock:
            entry.number, entry.generation = len(self.journal), self._generation
            self.journal.append(entry)
        try:
            rules = [] if self.faults.dead else self.faults.striking(call)
            entry.met = [f"{rule.kind} {rule.moment}" for rule in rules]
            status, headers, body = self._answered(call, entry, rules, environ)
        except _Cut:
            entry.met = entry.met or ["dead"]
            _cut(environ)
            raise
        entry.status = status
        entry.code = next((value for name, value in headers if name == "x-bed-code"), "")
        start(f"{status} -", [(name, value) for name, value in headers if name != "x-bed-code"])
        return self._sent(body, [rule for rule in rules if rule.moment == "answered"])

    def _controlled(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        size = int(environ.get("CONTENT_LENGTH") or 0)
        given = json.loads(environ["wsgi.input"].read(size) or b"{}")
        try:
            result, status = self.control(self, environ["PATH_INFO"].removeprefix(CONTROL).strip("/"), given), "200 OK"
        except Exception as error:
            result, status = {"error": f"{type(error).__name__}: {error}"}, "400 Bad Request"
        start(status, [("Content-Type", "application/json")])
        return [json.dumps(result, default=str).encode()]

    def _answered(self, call: Call, entry: Entry, rules: list[Rule], environ: dict[str, Any]) -> Answer:
        self._alive(entry)
        for rule in rules:
            if rule.kind == "slow":
                rule.released.wait(rule.seconds)
        self._at("before", rules)
        failing = next((rule for rule in rules if rule.kind == "error" and rule.moment == "before"), None)
        if failing:
            return _worded(call, Refusal(failing.code, failing.message, failing.status))
        made = self._stale(call, environ) if any(rule.kind == "stale" for rule in rules) else None
        if made is None:
            with self.lock:
                self._alive(entry)
                made = self._fulfilled(call, entry, environ)
        self._at("after", rules)
        failing = next((rule for rule in rules if rule.kind == "error" and rule.moment == "after"), None)
        if failing:
            return _worded(call, Refusal(failing.code, failing.message, failing.status))
        return made

    def _alive(self, entry: Entry) -> None:
        # A request that was slow or held, and whose test is over, must not touch the next one's account.
        if self.faults.dead or entry.generation != self._generation:
            raise _Cut

    def _at(self, moment: str, rules: list[Rule]) -> None:
        for rule in rules:
            if rule.moment != moment:
                continue
            if rule.kind == "hold":
                rule.reached.set()
                rule.released.wait(PATIENCE)
            elif rule.kind == "die":
                self._die(rule)
                raise _Cut
            elif rule.kind == "cut":
                raise _Cut

    def _die(self, rule: Rule) -> None:
        self.faults.dead = True
        if rule.pid:
            os.kill(rule.pid, signal.SIGKILL)

    def _sent(self, body: bytes, rules: list[Rule]) -> Iterator[bytes]:
        # Dead from now on: whatever the client still sends after this answer has no effect any more.
        for rule in rules:
            if rule.kind == "die":
                self.faults.dead = True
        yield body
        for rule in rules:
            if rule.kind == "die":
                self._die(rule)

    def _fulfilled(self, call: Call, entry: Entry, environ: dict[str, Any]) -> Answer:
        try:
            refuse(call)
            entry.unmarked = unmarked(call)
            _ticks(call)
            made = self._by_moto(environ)
            if call.service in ("autoscaling", "ec2", "elbv2") and not call.reads:
                groups.settle()
            entry.effect = not call.reads and made[0] < 400
        except Refusal as refusal:
            return _worded(call, refusal)
        except NotImplementedError as error:
            return _worded(call, Refusal("NotImplemented", f"moto does not have it: {error}", 501))
        except Exception as error:
            entry.trace = traceback.format_exc()
            code, status = _ECHOES.get(call.service, ("InternalError", 500)) if isinstance(error, KeyError) else ("InternalError", 500)
            return _worded(call, Refusal(code, f"moto stumbled: {type(error).__name__}: {error}", status))
        if call.action == "ec2:DescribeNetworkInterfaces":
            networks.describe_ticks(call)
        if call.action == "ec2:DescribeNatGateways":
            nats.describe_ticks(call)
        if call.action in ("ec2:DescribeInstances", "ec2:DescribeNetworkInterfaces", "autoscaling:DescribeAutoScalingGroups"):
            groups.describe_ticks(call.account, call.region)
        if call.reads and made[0] < 400:
            self._seen[_key(call, environ)] = made
            while len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        return made

    def _by_moto(self, environ: dict[str, Any]) -> Answer:
        environ["wsgi.input"].seek(0)
        parts, status, headers = run_wsgi_app(self.moto, environ, buffered=True)
        body = b"".join(parts)
        made = [(name, value) for name, value in headers.items() if name.lower() not in ("transfer-encoding", "connection")]
        code = int(status.split(" ")[0])
        # AWS ends the namespace with a slash. A reader that goes by it sees nothing in moto's answers.
        body = re.sub(rb'(xmlns="http://ec2\.amazonaws\.com/doc/[\d-]+)"', rb'\1/"', body)
        made = [(name, value) for name, value in made if name.lower() != "content-length" or environ["REQUEST_METHOD"] == "HEAD"]
        return code, [*made, ("x-bed-code", _code(body) if code >= 400 else "")], body

    def _stale(self, call: Call, environ: dict[str, Any]) -> Answer | None:
        """The answer of the last time; None when there was none, for then there is nothing old to show."""
        return self._seen.get(_key(call, environ))


def _ticks(call: Call) -> None:
    if call.service == "autoscaling" and call.reads:
        # AWS tries again and again; a reader is what makes time pass here.
        groups.settle()
    if call.action in ("ec2:DescribeSnapshots", "ec2:DescribeImages"):
        images.describe_ticks(call)


def _key(call: Call, environ: dict[str, Any]) -> str:
    said = f"{call.action} {call.region} {environ['PATH_INFO']} {environ.get('QUERY_STRING', '')} ".encode()
    return hashlib.sha256(said + environ["wsgi.input"].getvalue()).hexdigest()


def _worded(call: Call, refusal: Refusal) -> Answer:
    status, headers, body = answer(call, refusal)
    return status, [*headers, ("x-bed-code", refusal.code)], body


def _code(body: bytes) -> str:
    found = re.search(rb'<Code>([^<]+)</Code>|"__type": ?"(?:[^"#]*#)?([^"]+)"', body)
    return (found[1] or found[2]).decode() if found else ""


def _shown(value: Any) -> Any:
    """A value as the journal keeps it: blobs by their size."""
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, dict):
        return {str(name): _shown(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_shown(one) for one in value]
    return value


def _cut(environ: dict[str, Any]) -> None:
    line = environ.get("werkzeug.socket")
    if line is not None:
        with contextlib.suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)
