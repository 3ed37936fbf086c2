"""Release records as parameters of Systems Manager: a claim for each, and pieces for what does not fit into it.

A claim is made by one PutParameter that never overwrites, so that of many who append a number one succeeds. What is larger lies in pieces
whose names follow from their content; they are written first, and mean nothing until a claim names them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from attrs import asdict, frozen

from i2kit.driver import Record
from i2kit.errors import ConflictingRecord, ProviderError, TransientError
from i2kit.resources import Mark
from i2kit_aws import tags
from i2kit_aws.gateway import absent
from i2kit_aws.site import Site

SCHEMA = 1
# What a parameter of the standard tier holds, which costs nothing; base64 is a byte a character.
_CHARACTERS = 4096
# What GetParametersByPath returns, and DeleteParameters takes, at most.
_BATCH = 10
_NAME = re.compile(r"/(?P<application>[^/]+)/(?P<number>[1-9][0-9]*)(?:/[0-9a-f]{64}/(?P<index>[0-9]+))?")


@frozen(kw_only=True)
class _Claim:
    """What a record's parameter says: its body's hash, and the `body` in base64 or in how many pieces it lies.

    `by` is random: it tells this claim from another one of the same body.
    """

    by: str
    sha256: str
    body: str | None = None
    pieces: int = 0
    schema: int = SCHEMA

    def __str__(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    def names(self, path: str) -> list[str]:
        """Return the names of the pieces of the record at `path`."""
        return [f"{path}/{self.sha256}/{index}" for index in range(self.pieces)]

    def whole(self, path: str, values: Mapping[str, str]) -> bytes | None:
        """Return the record's body; None where a piece is missing, or something is not what it was."""
        text = self.body if self.body is not None else "".join(values.get(name, "") for name in self.names(path))
        try:
            body = base64.b64decode(text, validate=True)
        except ValueError:
            return None
        return body if hashlib.sha256(body).hexdigest() == self.sha256 else None


def read(site: Site, application: str) -> Sequence[Record]:
    """Return the application's records in order. Raises `ProviderError` for one that cannot be read."""
    path = site.path("records", application)
    values = _values(site, path)
    numbers = sorted(_claims(site.path("records"), values))
    return [one for number in numbers if (one := _record(site, f"{path}/{number}", number, values))]


def append(site: Site, application: str, number: int, body: bytes) -> None:
    """Create record `number` whole; raise `ConflictingRecord` if it exists."""
    path = _path(site, application, number)
    claim, pieces = _claim(path, body)
    marks = tags.listed(site.tags(Mark(environment=site.label, application=application), f"record {number} of {application}"))
    _write(site, pieces, marks)
    if not _put(site, path, str(claim), marks):
        _settle(site, path, claim)
    if pieces:
        # Who removed the application's last record at this moment took them for leftovers.
        there = _values(site, f"{path}/{claim.sha256}")
        _write(site, {name: value for name, value in pieces.items() if name not in there}, marks)


def remove(site: Site, application: str, number: int) -> None:
    """Remove record `number`, and pieces that no record needs; nothing happens when it is not there."""
    # The claim first: a record is whole or not there.
    absent("ParameterNotFound")(lambda: site.gateway.call("ssm", "DeleteParameter", Name=_path(site, application, number)))
    root = site.path("records")
    _delete(site, leftovers(root, _names(site, f"{root}/{application}"), number))


def applications(site: Site) -> Sequence[str]:
    """Return the names of the applications that have records."""
    root = site.path("records")
    return sorted({parts["application"] for parts in map(_parts(root), _names(site, root)) if parts and not parts["index"]})


def leftovers(root: str, names: Sequence[str], removed: int) -> list[str]:
    """Return which of an application's parameters are pieces that no record needs, once record `removed` is not there. Pure.

    Pieces of the number behind the last record may be those of a record that is being appended; without any record nobody appends.

    >>> piece = f"/shop/2/{'0' * 64}/0"
    >>> leftovers("", ["/shop/1", piece], 2) == leftovers("", ["/shop/3", piece], 1) == leftovers("", [piece], 1) == [piece]
    True
    >>> leftovers("", ["/shop/1", piece], 4)
    []
    """
    claims = _claims(root, names) - {removed}
    # The answer may be older than the removal.
    highest = max(claims, default=math.inf)

    def left(name: str) -> bool:
        parts = _parts(root)(name)
        if not parts or not parts["index"]:
            return False
        number = int(parts["number"])
        return number == removed or (number not in claims and number < highest)

    return [name for name in names if left(name)]


def _path(site: Site, application: str, number: int) -> str:
    return site.path("records", application, str(number))


def _parts(root: str) -> Callable[[str], re.Match[str] | None]:
    return lambda name: _NAME.fullmatch(name.removeprefix(root))


def _claims(root: str, names: Iterable[str]) -> set[int]:
    """Return the numbers of the records that parameters claim."""
    return {int(parts["number"]) for parts in map(_parts(root), names) if parts and not parts["index"]}


def _claim(path: str, body: bytes) -> tuple[_Claim, dict[str, str]]:
    """Return the claim of a new record, and its pieces by name where it has any."""
    text, sha256, by = base64.b64encode(body).decode(), hashlib.sha256(body).hexdigest(), uuid.uuid4().hex[:16]
    whole = _Claim(by=by, sha256=sha256, body=text)
    if len(str(whole)) <= _CHARACTERS:
        return whole, {}
    parts = [text[at : at + _CHARACTERS] for at in range(0, len(text), _CHARACTERS)]
    claim = _Claim(by=by, sha256=sha256, pieces=len(parts))
    return claim, dict(zip(claim.names(path), parts, strict=True))


def _understood(path: str, value: str) -> _Claim:
    """Return what a parameter claims. Raises `ProviderError` for what nobody understands."""
    try:
        told: dict[str, Any] = json.loads(value)
        if told["schema"] > SCHEMA:
            raise ProviderError.of("newer-record", f"a newer i2kit wrote the release record {path}", hint="upgrade i2kit")
        return _Claim(**told)
    except (ValueError, TypeError, KeyError) as error:
        raise _damaged(path, "is none") from error


def _record(site: Site, path: str, number: int, values: Mapping[str, str]) -> Record | None:
    """Return the record at `path`, or None when it is being removed."""
    claim = _understood(path, values[path])
    body = claim.whole(path, values)
    if body is None:
        # Between the pages of an answer records come and go; what was whole when it was claimed stays so until it is removed.
        body = claim.whole(path, _values(site, f"{path}/{claim.sha256}"))
    if body is None and _value(site, path) == values[path]:
        raise _damaged(path, "lacks pieces, or has others")
    return None if body is None else Record(number=number, body=body)


def _settle(site: Site, path: str, claim: _Claim) -> None:
    """Return when it is this claim that is there: the answer to an earlier try was lost. Otherwise clean up and raise."""
    there = _value(site, path)
    if there == str(claim):
        return
    if there is None:
        # For a while after a parameter was deleted, AWS may refuse another of its name.
        raise TransientError.of("aws-unavailable", f"ssm:PutParameter: {path} was removed a moment ago")
    if _understood(path, there).sha256 != claim.sha256:
        _delete(site, claim.names(path))
    raise ConflictingRecord.of("record-exists", f"release record {path} exists")


def _write(site: Site, pieces: Mapping[str, str], marks: Sequence[Mapping[str, str]]) -> None:
    for name, value in pieces.items():
        # One that is there has the same content, by its name.
        _put(site, name, value, marks)


def _put(site: Site, name: str, value: str, marks: Sequence[Mapping[str, str]]) -> bool:
    """Create a parameter; False when there is one of that name."""
    given = {"Name": name, "Value": value, "Type": "String", "Tier": "Standard", "Tags": marks}
    return absent("ParameterAlreadyExists")(lambda: site.gateway.call("ssm", "PutParameter", **given)) is not None


def _value(site: Site, name: str) -> str | None:
    answer = absent("ParameterNotFound")(lambda: site.gateway.call("ssm", "GetParameter", Name=name))
    return None if answer is None else str(answer["Parameter"]["Value"])


def _values(site: Site, path: str) -> dict[str, str]:
    """Return the values of all parameters below `path` by their names."""
    pages = site.gateway.pages("ssm", "GetParametersByPath", "Parameters", Path=path, Recursive=True, MaxResults=_BATCH)
    return {str(one["Name"]): str(one["Value"]) for one in pages}


def _names(site: Site, path: str) -> list[str]:
    """Return the names of all parameters below `path`; five times as many fit on a page as with their values."""
    below = [{"Key": "Path", "Option": "Recursive", "Values": [path]}]
    pages = site.gateway.pages("ssm", "DescribeParameters", "Parameters", ParameterFilters=below, MaxResults=50)
    return [str(one["Name"]) for one in pages]


def _delete(site: Site, names: Sequence[str]) -> None:
    for at in range(0, len(names), _BATCH):
        site.gateway.call("ssm", "DeleteParameters", Names=list(names[at : at + _BATCH]))


def _damaged(path: str, how: str) -> ProviderError:
    hint = f"remove it: aws ssm delete-parameter --name {path}"
    return ProviderError.of("damaged-record", f"the release record {path} {how}", hint=hint)
