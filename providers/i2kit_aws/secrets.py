"""Secrets as SecureStrings of Systems Manager: each key's value in pieces, each of which says what it is part of."""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import asdict, evolve, frozen

from i2kit.driver import Context
from i2kit.errors import ProviderError
from i2kit.plan import ObservedResource
from i2kit.resources import Mark, Secret
from i2kit_aws import tags, waits
from i2kit_aws.gateway import AwsError, absent
from i2kit_aws.site import Site

FOLDER = "secrets"
# 4096 characters are what a parameter of the standard tier, which costs nothing, may have.
_PREFIX = "b:"
_PIECE = 4096 - len(_PREFIX)
# The most that one request removes, and how often it is said how far it got.
_AT_ONCE = 10
# AWS says: after deleting a parameter, wait for at least 30 seconds before making another of its name.
_GONE_SECONDS = 120.0
_TOO_MANY = "an account has at most 10,000 of them in a region; `i2kit gc` removes Secrets that nothing uses any more"


@frozen(kw_only=True)
class _Facts:
    """What a parameter's description says of its Secret: what the plan had, and of how many parameters it is one (`of`)."""

    mark: Mark
    secret: str
    version: str
    of: int

    def text(self) -> str:
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def read(cls, text: str) -> _Facts | None:
        """Return what a description says; None when it is none of ours."""
        try:
            given = json.loads(text)
            return cls(mark=Mark(**given.pop("mark")), **given)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


def path_of(site: Site, secret: str) -> str:
    """Return the path below which the values of the `Secret` resource of that name lie."""
    return site.path(FOLDER, secret)


def observe(site: Site) -> Sequence[ObservedResource]:
    """Return the environment's Secrets, by the names and descriptions of their parameters: values are not read."""
    root = site.path(FOLDER)
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for parameter in _described(site, {"Key": "Path", "Option": "Recursive", "Values": [root]}):
        resource, _, rest = str(parameter["Name"]).removeprefix(f"{root}/").partition("/")
        found[resource][rest] = str(parameter.get("Description") or "")
    return [one for name, pieces in sorted(found.items()) if (one := _observed(name, pieces)) is not None]


def _observed(name: str, pieces: Mapping[str, str]) -> ObservedResource | None:
    facts = next((one for text in pieces.values() if (one := _Facts.read(text)) is not None), None)
    if facts is None:
        return None
    keys = sorted({piece.rpartition("/")[0] for piece in pieces} - {""})
    secret = Secret(name=name, mark=facts.mark, secret=facts.secret, version=facts.version, keys=tuple(keys))
    missing = facts.of - len(pieces)
    faults = (f"{missing} of its {facts.of} parameters are missing",) if missing > 0 else ()
    return ObservedResource(resource=secret, faults=faults)


def ensure(site: Site, secret: Secret, context: Context) -> None:
    """Have all parameters of the Secret. A name stands for one version: what is there already is what it should be."""
    wanted = _pieces(secret, context)
    facts = _Facts(mark=secret.mark, secret=secret.secret, version=secret.version, of=len(wanted))
    given = {"Description": facts.text(), "Tags": tags.listed(site.tags(secret.mark, secret.name))}
    path, refused = path_of(site, secret.name), dict[str, str]()
    for number, (rest, value) in enumerate(wanted.items()):
        if number and number % _AT_ONCE == 0:
            context.progress(f"{number} of {len(wanted)} parameters of {secret.name} are there")
        context.check()
        if not _put(site, f"{path}{rest}", value, given):
            refused[f"{path}{rest}"] = value
    if not refused:
        return

    def there() -> bool | None:
        """Whether what is said to be there is: for a while after a parameter was deleted AWS may refuse another of its name."""
        known = set(_names(site, path))
        lacking = {name: value for name, value in refused.items() if name not in known}
        for name, value in lacking.items():
            _put(site, name, value, given)
        return None if lacking else True

    waits.until(there, context, seconds=_GONE_SECONDS, otherwise=f"AWS says that parameters of {secret.name} exist, and does not show them")


def _pieces(secret: Secret, context: Context) -> dict[str, str]:
    """Return the values of the Secret's parameters by how their names go on behind its path."""
    found: dict[str, str] = {}
    for key, value in context.secret(secret.name).items():
        text = base64.b64encode(value.reveal()).decode()
        parts = [text[start : start + _PIECE] for start in range(0, len(text), _PIECE)] or [""]
        found |= {f"/{key}/{index}.{len(parts)}": f"{_PREFIX}{part}" for index, part in enumerate(parts)}
    # A Secret without keys is a parameter at the path itself, where nobody looks for values.
    return found or {"": _PREFIX}


def _put(site: Site, name: str, value: str, given: Mapping[str, Any]) -> bool:
    """Make a parameter; False when AWS says that there is one of that name."""
    # Neither Overwrite, which does not go with tags, nor a key: AWS's own encrypts, which is for whoever may read the parameter.
    try:
        put = {"Name": name, "Value": value, "Type": "SecureString", **given}
        return absent("ParameterAlreadyExists")(lambda: site.gateway.call("ssm", "PutParameter", **put)) is not None
    except AwsError as error:
        if error.code != "ParameterLimitExceeded":
            raise
        raise ProviderError(evolve(one, hint=_TOO_MANY) for one in error.problems) from error


def delete(site: Site, secret: Secret, context: Context) -> None:
    """Remove all parameters of the Secret; nothing happens when there are none."""
    names = _names(site, path_of(site, secret.name))
    for start in range(0, len(names), _AT_ONCE):
        context.check()
        site.gateway.call("ssm", "DeleteParameters", Names=names[start : start + _AT_ONCE])


def _names(site: Site, path: str) -> list[str]:
    """Return the names of the parameters at and below a path."""
    found = (str(one["Name"]) for one in _described(site, {"Key": "Name", "Option": "BeginsWith", "Values": [path]}))
    return [name for name in found if name == path or name.startswith(f"{path}/")]


def _described(site: Site, wanted: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return site.gateway.pages("ssm", "DescribeParameters", "Parameters", ParameterFilters=[wanted], MaxResults=50)
