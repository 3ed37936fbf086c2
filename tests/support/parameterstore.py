"""AWS Systems Manager at the end of a VM's network: moto keeps the parameters, and this server in front of it is as strict as AWS.

It speaks TLS only, and answers nobody whose request is not signed with the role's credentials, now; botocore verifies the signatures.
"""

from __future__ import annotations

import json
import ssl
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from certificates import Authority
from metadata import Network

from i2kit_local.netns import BRIDGE_ADDRESS

REGION = "eu-west-1"
HOST = f"ssm.{REGION}.amazonaws.com"
"""What the network's name server has to know."""
ADDRESS = str(BRIDGE_ADDRESS)
ROLE = "i2kit-prod-web"
FOLDER = "/latest/meta-data/iam/security-credentials/"
_TOLERANCE = 300  # seconds
_TIME = "%Y%m%dT%H%M%SZ"


@frozen(kw_only=True)
class Keys:
    """Credentials of a role."""

    access: str = "ASIAIOSFODNN7EXAMPLE"
    secret: str = "key-of-the-role/EXAMPLE"
    token: str = "token-of-the-role=="

    def pages(self) -> dict[str, str]:
        """Return what the metadata service knows of them."""
        known = {"Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": self.access, "SecretAccessKey": self.secret, "Token": self.token}
        return {FOLDER: ROLE, f"{FOLDER}{ROLE}": json.dumps({**known, "Expiration": "2099-01-01T00:00:00Z"})}


@define
class Store:
    """What the service knows, and what it was asked.

    Its first answers can be `troubles`, errors by their codes; so many requests of the role as `denials` says are denied before it has its
    rights, and tokens can be `expired`.
    """

    keys: Keys
    url: str
    expired: set[str] = field(factory=set)
    denials: int = 0
    troubles: list[str] = field(factory=list)
    asked: Counter[str] = field(factory=Counter)
    refused: list[str] = field(factory=list)

    def answer(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Return status and text, as AWS would."""
        action = headers.get("x-amz-target", "")
        self.asked[action] += 1
        if self.troubles:
            return self._refuse(self.troubles.pop(0), "of the test's making")
        if headers.get("x-amz-security-token") in self.expired:
            return self._refuse("ExpiredTokenException", "The security token included in the request is expired")
        if reason := self._objection(headers, body):
            return self._refuse("InvalidSignatureException", reason)
        if self.denials:
            self.denials -= 1
            return self._refuse("AccessDeniedException", f"User: {ROLE} is not authorized to perform: ssm:GetParametersByPath")
        return self._forward(headers, body)

    def _refuse(self, code: str, message: str) -> tuple[int, bytes]:
        self.refused.append(code)
        return 400, json.dumps({"__type": code, "message": message}).encode()

    def _objection(self, headers: dict[str, str], body: bytes) -> str | None:
        """Say what is wrong with a signature. As AWS does, it tells the request that should have been signed, token and all."""
        at = headers.get("x-amz-date", "")
        if headers.get("x-amz-security-token") != self.keys.token:
            return "The security token included in the request is invalid."
        if abs((datetime.strptime(at, _TIME).replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()) > _TOLERANCE:
            return f"Signature expired: {at} is now earlier than it may be"
        given = headers.get("authorization", "")
        names = given.partition("SignedHeaders=")[2].partition(",")[0].split(";")
        signed = {name: headers.get(name, "") for name in names}
        request = AWSRequest(method="POST", url=f"https://{headers['host']}/", headers=signed, data=body)
        request.context["timestamp"] = at
        signer = SigV4Auth(Credentials(self.keys.access, self.keys.secret, self.keys.token), "ssm", REGION)
        canonical = signer.canonical_request(request)
        signature = signer.signature(signer.string_to_sign(request, canonical), request)
        scope = f"AWS4-HMAC-SHA256 Credential={self.keys.access}/{signer.credential_scope(request)}, SignedHeaders="
        if {"host", "x-amz-date", "x-amz-security-token", "x-amz-target"} - set(names):
            return f"headers are not signed: {names}"
        if given.startswith(scope) and given.endswith(f", Signature={signature}"):
            return None
        return f"The request signature we calculated does not match the signature you provided.\n\nThe Canonical String is\n'{canonical}'"

    def _forward(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        passed = {name: headers[name] for name in ("authorization", "content-type", "x-amz-date", "x-amz-target")}
        try:
            with urllib.request.urlopen(urllib.request.Request(self.url, body, {**passed, "host": HOST}), timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()


@contextmanager
def serving(network: Network, store: Store, authority: Authority, folder: Path) -> Iterator[None]:
    """Serve a store in a VM's network while the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            status, text = store.answer(headers, self.rfile.read(int(headers["content-length"])))
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_arguments: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_arguments: Any) -> None:
            pass  # who does not trust the certificate hangs up

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.vouch_for(HOST, folder))
    server = network.namespace.inside(lambda: Server((ADDRESS, 443), Handler))
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
