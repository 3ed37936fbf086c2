"""Writes YAML whose bytes never depend on a library's version: the text is part of an image's identity.

Only what LinuxKit YAML needs: mappings and lists in block style, lists of plain texts on one line, texts quoted or, with several
lines, as literal blocks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
# A literal block keeps exactly these as they are, whichever YAML parser reads them.
_LITERAL = re.compile(r"[!-~\xa1-\ud7ff][ -~\xa1-\u2027\u202a-\ud7ff\n]*[!-~\xa1-\u2027\u202a-\ud7ff]\n")
# YAML 1.1 reads these as booleans and nulls.
_AMBIGUOUS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
_PLAIN = re.compile(r"[ !#-\[\]-~]*")
_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", '"': '\\"', "\\": "\\\\"}


def block(value: Mapping[str, Any], indent: str = "") -> str:
    """Return a mapping in block style, a line per key. Raises `ValueError` for keys and values that LinuxKit YAML does not have."""
    return "".join(f"{indent}{_checked(name)}:{_after_key(one, indent)}" for name, one in value.items())


def _checked(name: str) -> str:
    if not _KEY.fullmatch(name):
        raise ValueError(f"{name!r} is no key of LinuxKit YAML")
    return quoted(name) if name.lower() in _AMBIGUOUS else name


def _after_key(value: Any, indent: str) -> str:
    match value:
        case Mapping():
            return f"\n{block(value, indent + '  ')}" if value else " {}\n"
        case str() if _LITERAL.fullmatch(value):
            lines = value[:-1].split("\n")
            return " |\n" + "".join(f"{indent}  {line}\n" if line else "\n" for line in lines)
        case Sequence() if not isinstance(value, str) and any(isinstance(one, Mapping) for one in value):
            return "\n" + "".join(_item(one, indent + "  ") for one in value)
        case _:
            return f" {_inline(value)}\n"


def _item(value: Mapping[str, Any], indent: str) -> str:
    return f"{indent}- {block(value, indent + '  ').removeprefix(indent + '  ')}"


def _inline(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case str():
            return quoted(value)
        case Sequence():
            return f"[{', '.join(_inline(one) for one in value)}]"
        case _:
            raise ValueError(f"LinuxKit YAML has no value such as {value!r}")


def quoted(text: str) -> str:
    """Return `text` as a double-quoted scalar in printable ASCII."""
    return f'"{text}"' if _PLAIN.fullmatch(text) else '"' + "".join(map(_escaped, text)) + '"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if " " <= character <= "~":
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
