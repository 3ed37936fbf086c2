"""What a request to AWS says, checked against botocore's own model of the service, and how each service words a refusal."""

from __future__ import annotations

import functools
import io
import json
import re
import uuid
from typing import Any
from urllib.parse import parse_qsl, unquote
from xml.sax.saxutils import escape

import botocore.session
from attrs import field, frozen
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request
from moto.core.routing import get_service_router
from moto.core.utils import get_service_model
from moto.iam.models import get_account_id_from

# How a service signs, what botocore calls it, and what IAM policies call it.
NAMES = {
    "monitoring": ("cloudwatch", "cloudwatch"),
    "elasticloadbalancing": ("elbv2", "elasticloadbalancing"),
    "servicequotas": ("service-quotas", "servicequotas"),
    "tagging": ("resourcegroupstaggingapi", "tag"),
}
# Enumerations that grow with every new machine AWS buys.
_GROWING = ("InstanceType",)
# What the models' patterns have and Python's do not: letters and digits, spaces of all kinds, and characters of two halves.
_CLASSES = {
    r"\p{L}\p{Z}\p{N}": r"\w \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
    r"\uD800\uDC00-\uDBFF\uDFFF": r"\U00010000-\U0010FFFF",
}
_SIGNING = {"Action", "Version", "AWSAccessKeyId", "Signature", "SignatureMethod", "SignatureVersion", "Timestamp", "Expires"}


class Refusal(Exception):
    """AWS's answer to a request that it does not fulfil."""

    def __init__(self, code: str, message: str, status: int = 400, **extra: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status, self.extra = code, message, status, extra


@frozen(kw_only=True)
class Call:
    """One request, understood. `parameters` are as botocore's model names them; blobs are bytes."""

    service: str
    prefix: str
    name: str
    region: str
    account: str
    protocol: str
    parameters: dict[str, Any] = field(factory=dict)
    refusal: Refusal | None = None

    @property
    def action(self) -> str:
        """The action as policies name it, such as ``ec2:RunInstances``."""
        return f"{self.prefix}:{self.name}"

    @property
    def reads(self) -> bool:
        """Whether the call changes nothing."""
        return self.name.startswith(("Describe", "List", "Get", "Head"))


@functools.cache
def _session() -> botocore.session.Session:
    return botocore.session.Session()


@functools.cache
def model(service: str) -> ServiceModel:
    """Return botocore's model of a service. Raises UnknownServiceError."""
    return _session().get_service_model(service)


@functools.cache
def _pattern(text: str) -> re.Pattern[str] | None:
    """Return a model's pattern; None for one that Python cannot read."""
    for theirs, ours in _CLASSES.items():
        text = text.replace(theirs, ours)
    try:
        return re.compile(text)
    except re.error:
        return None


def body_of(environ: dict[str, Any]) -> bytes:
    """Read a request's body, and leave it to be read again."""
    size = environ.get("CONTENT_LENGTH")
    if environ.get("wsgi.input_terminated"):
        body = environ["wsgi.input"].read()
        environ["CONTENT_LENGTH"] = str(len(body))
        environ.pop("HTTP_TRANSFER_ENCODING", None)
    else:
        body = environ["wsgi.input"].read(int(size)) if size else b""
    environ["wsgi.input"] = io.BytesIO(body)
    return bytes(body)


def decode(environ: dict[str, Any]) -> Call:
    """Understand a request. What is wrong with it is the call's `refusal`."""
    body = body_of(environ)
    scope = re.search(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/", environ.get("HTTP_AUTHORIZATION", "") + environ.get("QUERY_STRING", ""))
    key, region, signed = scope.groups() if scope else ("", "us-east-1", "s3")
    service, prefix = NAMES.get(signed, (signed, signed))
    base = {"region": region, "account": get_account_id_from(key), "prefix": prefix}
    form = dict(parse_qsl(body.decode("latin-1") if body else environ.get("QUERY_STRING", ""), keep_blank_values=True))
    if form.get("SignatureVersion") == "2":
        refusal = Refusal("AuthFailure", "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.")
        return Call(service="ec2", name=form.get("Action", ""), protocol="ec2", refusal=refusal, **(base | {"prefix": "ec2"}))
    if service == "elbv2" and form.get("Version") == "2012-06-01":
        service = "elb"
    protocol = str(model(service).metadata["protocol"])
    if protocol.endswith("cbor"):
        # botocore speaks another of the service's protocols as long as it prefers that.
        protocol = "json" if "HTTP_X_AMZ_TARGET" in environ else "query" if "Action" in form else protocol
    try:
        name, parameters, problems = _understood(service, protocol, environ, body, form)
        refusal = problems[0] if problems else None
    except Refusal as error:
        name, parameters, refusal = _guess(environ, form), {}, error
    return Call(service=service, name=name, protocol=protocol, parameters=parameters, refusal=refusal, **base)


def _guess(environ: dict[str, Any], form: dict[str, str]) -> str:
    target = environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2]
    return str(form.get("Action") or target or f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")


def _understood(
    service: str, protocol: str, environ: dict[str, Any], body: bytes, form: dict[str, str]
) -> tuple[str, dict[str, Any], list[Refusal]]:
    if protocol in ("ec2", "query"):
        operation = _operation(service, protocol, form.get("Action", ""))
        tree = _tree({name: value for name, value in form.items() if name not in _SIGNING})
    elif protocol == "json":
        operation = _operation(service, protocol, environ.get("HTTP_X_AMZ_TARGET", "").rpartition(".")[2])
        tree = _loaded(body)
    elif protocol in ("rest-json", "rest-xml"):
        return _restful(service, protocol, environ)
    else:
        return environ["PATH_INFO"].rpartition("/")[2], {}, []
    found = _Reading(protocol=protocol)
    parameters = found.value(operation.input_shape, tree, "") if operation.input_shape else {}
    if not operation.input_shape and tree:
        found.unknown(next(iter(tree)))
    return operation.name, parameters, found.problems


def _operation(service: str, protocol: str, name: str) -> OperationModel:
    if name not in model(service).operation_names:
        code = {"json": "UnknownOperationException", "ec2": "InvalidAction"}.get(protocol, "InvalidAction")
        raise Refusal(code, f"The action {name} is not valid for this web service.")
    return model(service).operation_model(name)


def _loaded(body: bytes) -> dict[str, Any]:
    try:
        loaded = json.loads(body or b"{}")
    except ValueError:
        raise Refusal("SerializationException", "The request is not JSON.") from None
    return loaded if isinstance(loaded, dict) else {}


def _restful(service: str, protocol: str, environ: dict[str, Any]) -> tuple[str, dict[str, Any], list[Refusal]]:
    path = re.sub(r"^/20\d\d-\d\d-\d\d/", "/2013-04-01/", environ["PATH_INFO"]) if service == "route53" else environ["PATH_INFO"]
    request = Request(environ | {"PATH_INFO": path, "wsgi.input": io.BytesIO(environ["wsgi.input"].getvalue())})
    try:
        operation, uri = get_service_router(service).match(request)
    except Exception:
        raise Refusal("InvalidAction", f"nothing answers {environ['REQUEST_METHOD']} {path}", 404) from None
    uri = {name: unquote(value) if isinstance(value, str) else value for name, value in uri.items()}
    parser = PROTOCOL_PARSERS[protocol](get_service_model(service).operation_model(operation.name))
    given = {"method": request.method, "values": request.values, "headers": request.headers, "url_path": path, "url_params": uri}
    parameters = dict(parser.parse({**given, "body": request.data}) or {}) if service != "s3" else dict(uri)
    shape = model(service).operation_model(operation.name).input_shape
    wanted = shape.required_members if isinstance(shape, StructureShape) and service != "s3" else []
    return operation.name, parameters, [_missing(protocol, one) for one in wanted if parameters.get(one) is None]


def _missing(protocol: str, path: str) -> Refusal:
    if protocol == "ec2":
        return Refusal("MissingParameter", f"The request must contain the parameter {path}")
    code = "ValidationError" if protocol == "query" else "ValidationException"
    message = f"1 validation error detected: Value null at '{path}' failed to satisfy constraint: Member must not be null"
    return Refusal(code, message)


def _tree(form: dict[str, str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in form.items():
        node = tree
        *way, last = name.split(".")
        for step in way:
            if not isinstance(node.get(step), dict):
                node[step] = {}
            node = node[step]
        node[last] = value
    return tree


@frozen(kw_only=True)
class _Reading:
    """Turns a request's tree into values, and collects what the model does not allow."""

    protocol: str
    problems: list[Refusal] = field(factory=list)

    def unknown(self, path: str) -> None:
        # AWS's JSON services pass over what they do not know. A driver that means something by it should hear.
        code = {"ec2": "UnknownParameter", "query": "MalformedInput"}.get(self.protocol, "SerializationException")
        self.problems.append(Refusal(code, f"The parameter {path} is not recognized"))

    def invalid(self, path: str, value: Any, why: str) -> None:
        if self.protocol == "ec2":
            message, code = f"Value ({value}) for parameter {path} is invalid. {why}", "InvalidParameterValue"
        else:
            message = f"1 validation error detected: Value '{str(value)[:80]}' at '{path}' failed to satisfy constraint: {why}"
            code = "ValidationError" if self.protocol == "query" else "ValidationException"
        self.problems.append(Refusal(code, message))

    def value(self, shape: Shape, node: Any, path: str) -> Any:
        if isinstance(shape, StructureShape):
            return self._structure(shape, node, path)
        if isinstance(shape, ListShape):
            items = [self.value(shape.member, one, f"{path}.{number}") for number, one in enumerate(self._items(shape, node, path), 1)]
            self._bounded(shape, len(items), path, items)
            return items
        if isinstance(shape, MapShape):
            return {name: self.value(shape.value, one, f"{path}.{name}") for name, one in self._entries(node)}
        return self._scalar(shape, node, path)

    def _structure(self, shape: StructureShape, node: Any, path: str) -> dict[str, Any]:
        if not isinstance(node, dict):
            if node != "":
                self.invalid(path, node, "Member must be a structure")
            return {}
        names = {self._wire(name, member): name for name, member in shape.members.items()}
        read: dict[str, Any] = {}
        for wire, below in node.items():
            whole = f"{path}.{wire}" if path else wire
            if wire not in names:
                self.unknown(whole)
            elif below is not None:
                read[names[wire]] = self.value(shape.members[names[wire]], below, whole)
        for name in shape.required_members:
            if name not in read:
                self.problems.append(_missing(self.protocol, f"{path}.{name}" if path else name))
        return read

    def _wire(self, name: str, member: Shape) -> str:
        if self.protocol == "json":
            return str(member.serialization.get("name", name))
        if self.protocol == "ec2":
            given = str(member.serialization.get("queryName") or member.serialization.get("name") or name)
            return given if "queryName" in member.serialization else given[0].upper() + given[1:]
        return str(member.serialization.get("name", name))

    def _items(self, shape: ListShape, node: Any, path: str) -> list[Any]:
        if self.protocol == "json":
            return node if isinstance(node, list) else self.invalid(path, node, "Member must be a list") or []
        if node == "":
            return []
        if self.protocol == "query" and not shape.serialization.get("flattened"):
            node = node.get(shape.member.serialization.get("name", "member"), node) if isinstance(node, dict) else node
        if not isinstance(node, dict) or not all(number.isdigit() and int(number) > 0 for number in node):
            self.invalid(path, node, "Member must be a numbered list")
            return []
        return [node[number] for number in sorted(node, key=int)]

    def _entries(self, node: Any) -> list[tuple[str, Any]]:
        if self.protocol == "json":
            return list(node.items()) if isinstance(node, dict) else []
        return [(str(one.get("key")), one.get("value")) for one in (node.get("entry", node) if isinstance(node, dict) else {}).values()]

    def _scalar(self, shape: Shape, node: Any, path: str) -> Any:
        kind = shape.type_name
        if isinstance(node, dict | list):
            self.invalid(path, node, f"Member must be of type {kind}")
            return None
        if kind in ("integer", "long"):
            if isinstance(node, bool) or not re.fullmatch(r"-?\d+", str(node)) or (self.protocol == "json" and isinstance(node, str)):
                self.invalid(path, node, "Member must be an integer")
                return None
            self._bounded(shape, int(node), path, node)
            return int(node)
        if kind == "boolean":
            if str(node).lower() not in ("true", "false"):
                self.invalid(path, node, "Member must be a boolean")
            return str(node).lower() == "true"
        if kind == "string":
            self._text(shape, node, path)
        return node

    def _text(self, shape: Shape, node: Any, path: str) -> None:
        if not isinstance(node, str):
            self.invalid(path, node, "Member must be a string")
            return
        self._bounded(shape, len(node), path, node)
        written = shape.metadata.get("pattern")
        pattern = _pattern(written) if written else None
        if pattern and not pattern.fullmatch(node):
            self.invalid(path, node, f"Member must satisfy regular expression pattern: {written}")
        choices = getattr(shape, "enum", [])
        # EC2 takes some of them in either case.
        if choices and not any(part in shape.name for part in _GROWING) and node.lower() not in {one.lower() for one in choices}:
            self.invalid(path, node, f"Member must satisfy enum value set: [{', '.join(choices)}]")

    def _bounded(self, shape: Shape, size: int, path: str, value: Any) -> None:
        most, least = shape.metadata.get("max"), shape.metadata.get("min")
        what = "length" if shape.type_name in ("list", "string") else "value"
        if most is not None and size > most:
            self.invalid(path, value, f"Member must have {what} less than or equal to {most}")
        if least is not None and size < least:
            self.invalid(path, value, f"Member must have {what} greater than or equal to {least}")


def answer(call: Call, refusal: Refusal) -> tuple[int, list[tuple[str, str]], bytes]:
    """Word a refusal as the service does: status, headers and body."""
    number = str(uuid.uuid4())
    code, message = escape(refusal.code), escape(refusal.message)
    if call.protocol in ("json", "rest-json", "smithy-rpc-v2-cbor"):
        body = json.dumps({"__type": refusal.code, "message": refusal.message, "Message": refusal.message, **refusal.extra})
        kind = "application/x-amz-json-1.1" if call.protocol == "json" else "application/json"
        return refusal.status, [("Content-Type", kind), ("x-amzn-ErrorType", refusal.code), ("x-amzn-RequestId", number)], body.encode()
    if call.protocol == "ec2":
        inner = f"<Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors><RequestID>{number}</RequestID>"
        body = f"<Response>{inner}</Response>"
    elif call.service == "s3":
        body = f"<Error><Code>{code}</Code><Message>{message}</Message><RequestId>{number}</RequestId></Error>"
    else:
        kind = "Sender" if refusal.status < 500 else "Receiver"
        inner = f"<Type>{kind}</Type><Code>{code}</Code><Message>{message}</Message>"
        body = f"<ErrorResponse><Error>{inner}</Error><RequestId>{number}</RequestId></ErrorResponse>"
    return refusal.status, [("Content-Type", "text/xml")], f'<?xml version="1.0" encoding="UTF-8"?>{body}'.encode()
