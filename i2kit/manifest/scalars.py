"""What scalars mean: YAML 1.1 as Kubernetes' own reader (go-yaml v2) takes it, and Kubernetes' quantities."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal
from typing import Literal

Plain = Literal["null", "boolean", "integer", "number", "string"]

NULLS = frozenset(("", "~", "null", "Null", "NULL"))
TRUES = frozenset(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"))
FALSES = frozenset(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"))

SPECIAL_FIRST = frozenset("0123456789+-.~nNtTfFyYoO")
"""What a plain scalar that is not a string starts with (the empty one, which is null, apart)."""

_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[oO]?[0-7]+|0[bB][01]+|0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_QUANTITY = re.compile(r"([-+]?)([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][-+]?[0-9]{1,2})?")
_FACTORS = {"n": "1e-9", "u": "1e-6", "m": "1e-3", "": "1", "k": "1e3", "M": "1e6", "G": "1e9", "T": "1e12", "P": "1e15", "E": "1e18"}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_LONGEST_NUMBER = 64
_GREATEST = (1 << 63) - 1


def plain_kind(text: str) -> Plain:
    """Return what a plain (unquoted) scalar is; dates and times of day are strings, as they are to Kubernetes."""
    if text in NULLS:
        return "null"
    if text[0] not in SPECIAL_FIRST:
        return "string"
    if text in TRUES or text in FALSES:
        return "boolean"
    number = text.replace("_", "") if text[0] != "_" else text
    if _INTEGER.fullmatch(number):
        return "integer"
    return "number" if _NUMBER.fullmatch(number) else "string"


def integer(text: str) -> int | None:
    """Return the value of a plain integer; None for one too long to be meant.

    ``010`` and ``0o10`` are octal, ``0x10`` is hexadecimal, ``0b10`` binary, underscores are skipped.
    """
    text = text.replace("_", "").lower()
    if len(text) > _LONGEST_NUMBER:
        return None
    digits = text.lstrip("+-")
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567"
    value = int(digits, 8 if octal else 0)
    return -value if text.startswith("-") else value


def quantity(text: str, *, unit: Literal["bytes", "millis"]) -> int | None:
    """Return a Kubernetes quantity (``100m``, ``64Mi``, ``1e3``) in bytes or thousandths, rounded up; None if it is none.

    More than a signed 64-bit number holds is no quantity.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None or len(text) > _LONGEST_NUMBER:
        return None
    sign, digits, suffix = match.group(1), match.group(2), match.group(3) or ""
    value = Decimal(digits)
    if suffix in _BINARY:
        value *= 1 << _BINARY[suffix]
    elif suffix in _FACTORS:
        value *= Decimal(_FACTORS[suffix])
    else:
        value = value.scaleb(int(suffix[1:]))
    if unit == "millis":
        value *= 1000
    if value > _GREATEST:
        return None
    whole = int(value.to_integral_value(rounding=ROUND_CEILING))
    return -whole if sign == "-" else whole
