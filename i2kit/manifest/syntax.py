"""Kubernetes' rules for names, labels and the like; each check returns what is expected, or nothing when all is well."""

from __future__ import annotations

import base64
import re
from functools import lru_cache

_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_ENVIRONMENT = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")
_LABEL_1035 = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?")
_PORT_NAME = re.compile(r"(?=[-0-9]*[a-z])[a-z0-9](?:[a-z0-9]|-(?!-)){0,13}(?:[a-z0-9])?")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_ENV_NAME = re.compile(r"[ -<>-~]+")
_FIELD = re.compile(
    r"metadata\.(?:name|namespace|uid)|metadata\.(?:labels|annotations)\['[^']+'\]"
    r"|spec\.(?:nodeName|serviceAccountName)|status\.(?:hostIP|podIP|podIPs)"
)


def label_name(text: str) -> str:
    """Check a DNS-1123 label."""
    return "" if _LABEL.fullmatch(text) else "at most 63 of a-z, 0-9 and '-', with a letter or digit at both ends"


def environment_name(text: str) -> str:
    """Check the name of an environment, which every resource's mark carries."""
    return "" if _ENVIRONMENT.fullmatch(text) else "at most 40 of a-z, 0-9 and '-', with a letter or digit at both ends"


def service_name(text: str) -> str:
    """Check a DNS-1035 label."""
    return "" if _LABEL_1035.fullmatch(text) else "at most 63 of a-z, 0-9 and '-', a letter first and no '-' at the end"


def subdomain(text: str) -> str:
    """Check a DNS-1123 subdomain."""
    if len(text) <= 253 and _SUBDOMAIN.fullmatch(text):
        return ""
    return "at most 253 of a-z, 0-9, '-' and '.', with a letter or digit at both ends of each part"


def port_name(text: str) -> str:
    """Check the name of a container's port (IANA service name)."""
    if _PORT_NAME.fullmatch(text) and not text.endswith("-"):
        return ""
    return "at most 15 of a-z, 0-9 and '-', at least one letter, no '--' and no '-' at either end"


@lru_cache(maxsize=4096)
def qualified_name(text: str) -> str:
    """Check the key of a label or annotation: an optional subdomain and '/', then a name."""
    prefix, slash, name = text.rpartition("/")
    if _QUALIFIED.fullmatch(name) and (not slash or subdomain(prefix) == ""):
        return ""
    return "an optional DNS subdomain and '/', then at most 63 of A-Z, a-z, 0-9, '-', '_' and '.'"


def label_value(text: str) -> str:
    """Check the value of a label."""
    return "" if _LABEL_VALUE.fullmatch(text) else "at most 63 of A-Z, a-z, 0-9, '-', '_' and '.', with a letter or digit at both ends"


def config_key(text: str) -> str:
    """Check a key of a ConfigMap or Secret, which becomes a file name."""
    if _CONFIG_KEY.fullmatch(text) and text != "." and not text.startswith(".."):
        return ""
    return "at most 253 of A-Z, a-z, 0-9, '-', '_' and '.', not '.' and not starting with '..'"


def env_name(text: str) -> str:
    """Check the name of an environment variable."""
    return "" if _ENV_NAME.fullmatch(text) else "printable ASCII characters without '='"


def field_path(text: str) -> str:
    """Check a fieldRef."""
    if _FIELD.fullmatch(text):
        return ""
    return (
        "metadata.name, metadata.namespace, metadata.uid, metadata.labels['...'], metadata.annotations['...'], spec.nodeName, "
        "spec.serviceAccountName, status.hostIP, status.podIP or status.podIPs"
    )


def image(text: str) -> str:
    """Check an image reference roughly; `images.resolve` reads it for good."""
    return "" if text and not re.search(r"\s", text) else "an image reference such as nginx:1.27"


def no_nul(text: str) -> str:
    """Check what is handed to a process, where a NUL character would end it."""
    return "text without NUL characters" if "\0" in text else ""


def not_empty(text: str) -> str:
    """Check that there is something."""
    return "" if text else "a string that is not empty"


def absolute_path(text: str) -> str:
    """Check a place to mount to."""
    if text.startswith("/") and ":" not in text and ".." not in text.split("/"):
        return ""
    return "an absolute path without ':' and '..'"


def relative_path(text: str) -> str:
    """Check a path below a volume."""
    if text and not text.startswith("/") and ".." not in text.split("/"):
        return ""
    return "a relative path without '..'"


def base64_text(text: str) -> str:
    """Check base64 as Kubernetes reads it: standard alphabet, padded, line breaks allowed."""
    try:
        decode(text)
    except ValueError:
        return "base64 (or use stringData for plain text)"
    return ""


def decode(text: str) -> bytes:
    """Return the bytes of base64 text; raises ValueError."""
    return base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
