"""The tables of the reference page, made from the tables that the reader uses.

``python -m i2kit.manifest.reference docs/reference`` writes them into the pages again.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from i2kit.manifest.fieldtypes import FieldType, ListOf
from i2kit.manifest.kinds import KINDS
from i2kit.manifest.settings import ENVIRONMENT
from i2kit.manifest.simplified import SIMPLIFIED
from i2kit.manifest.table import Row, Struct

_MARKED = re.compile(r"(<!-- table: (.+?) -->\n).*?(<!-- end -->)", re.DOTALL)
KINDS_TABLE = "kinds"


def tables() -> dict[str, Struct]:
    """Return the tables by the names that the pages' markers have."""
    kinds = {kind.name: kind.table for kind in KINDS.values() if kind.table is not None}
    return {**kinds, SIMPLIFIED.name: SIMPLIFIED, ENVIRONMENT.name: ENVIRONMENT}


def field_table(table: Struct) -> str:
    """Return a table's fields in Markdown."""
    lines = ["| field | | type | |", "|---|---|---|---|"]
    for name, row in table.fields():
        notes = [row.reason] if row.reason else []
        if row.harmless:
            notes.append(f"{' and '.join(f'`{value}`' if value else 'an empty string' for value in row.harmless)} may stand")
        kind = type_name(row)
        required = ", required" if row.required else ""
        lines.append(f"| `{name}` | {row.verdict} | {kind}{required} | {'; '.join(notes)} |")
    return "\n".join(lines) + "\n"


def type_name(row: Row) -> str:
    """Return what the page calls the row's type."""
    return _type_name(row.type) if row.type is not None else ""


def _type_name(kind: FieldType) -> str:
    if isinstance(kind, ListOf):
        return f"list of {_type_name(kind.item)}"
    return "mapping" if isinstance(kind, Struct) else kind.name


def kind_table() -> str:
    """Return the kinds in Markdown."""
    lines = ["| kind | | |", "|---|---|---|"]
    for kind in KINDS.values():
        note = kind.reason or "apiVersion " + ", ".join(f"`{version}`" for version in kind.api_versions)
        lines.append(f"| {kind.name} | {kind.verdict} | {note} |")
    return "\n".join(lines) + "\n"


def renewed(page: str) -> str:
    """Return the text of a page with the tables between its markers made anew."""
    known = tables()

    def table(match: re.Match[str]) -> str:
        made = kind_table() if match[2] == KINDS_TABLE else field_table(known[match[2]])
        return f"{match[1]}\n{made}\n{match[3]}"

    return _MARKED.sub(table, page)


def _main() -> None:
    for name in ("manifest.md", "environment.md"):
        path = Path(sys.argv[1]) / name
        path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    _main()
