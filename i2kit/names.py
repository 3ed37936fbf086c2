"""All names of resources come from one function: a readable prefix and eight hex digits, within the provider's limit."""

from __future__ import annotations

import hashlib
import json
import re

HASH_LENGTH = 8
MARK_LENGTH = 40


def digest(*parts: object) -> str:
    """Return the sha256 in hex of `parts` (anything JSON knows), independent of the order of mappings' keys."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def resource_name(readable: str, *identity: str, limit: int = 63) -> str:
    """Name a resource: `readable` as far as it fits, and eight hex digits over `identity`.

    `identity` is everything that tells this resource from any other: environment, application, namespace, workload, kind and revision
    as far as they apply. Raises `ValueError` for a `limit` below 10.
    """
    if limit < HASH_LENGTH + 2:
        raise ValueError(f"a limit of {limit} leaves no room for a name")
    return f"{slug(readable, limit - HASH_LENGTH - 1)}-{digest(*identity)[:HASH_LENGTH]}"


def slug(text: str, limit: int = MARK_LENGTH) -> str:
    """Return `text` in lower case with everything but ``[a-z0-9]`` as single dashes, cut to `limit`."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:limit].strip("-") or "x"


def mark_value(text: str) -> str:
    """Return `text` as a mark can carry it: itself where it fits, otherwise cut, with eight hex digits."""
    if not text or (len(text) <= MARK_LENGTH and slug(text) == text):
        return text
    return f"{slug(text, MARK_LENGTH - HASH_LENGTH - 1)}-{digest(text)[:HASH_LENGTH]}"
