"""Standard output: data as tables, JSON or YAML, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, TextIO

from i2kit.cli.messages import drain

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Output:
    """Writes data to a stream. A reader that has gone away (`| head`) is no error: what follows is dropped, and `closed` says so."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.terminal = stream.isatty()
        self.closed = False

    def line(self, text: str = "") -> None:
        """Write one line of text."""
        self._write(f"{text}\n")

    def foreign(self, text: str) -> None:
        """Write a line that a program inside a VM made: on a terminal only its colours get through, so that it cannot play tricks."""
        if not self.terminal:
            return self.line(text)
        parts = _COLOUR.split(text)
        plain = [re.sub(r"[^\t -~\u00a0-\U0010ffff]", "", part) for part in parts]
        colours = [*_COLOUR.findall(text), "\x1b[0m" if len(parts) > 1 else ""]
        return self.line("".join(part + colour for part, colour in zip(plain, colours, strict=True)))

    def document(self, data: Any, form: str) -> None:
        """Write `data` (what JSON knows) as ``json`` or ``yaml``."""
        if form == "json":
            return self._write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")
        import yaml

        return self._write(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=10_000))

    def item(self, data: Any, form: str) -> None:
        """Write one of a stream of documents: a line of JSON, or a YAML document."""
        if form == "json":
            return self._write(json.dumps(data, ensure_ascii=False) + "\n")
        self._write("---\n")
        return self.document(data, form)

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write rows under headings: drawn to the terminal's width on one, in plain unwrapped columns elsewhere."""
        if self.terminal:
            return self._drawn(headings, rows)
        lines = [list(headings), *([_one_line(cell) for cell in row] for row in rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
        for line in lines:
            self.line("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        return None

    def flush(self) -> None:
        """Send out what is held back."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._give_up()

    def _drawn(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for heading in headings:
            table.add_column(heading, overflow="fold")
        for row in rows:
            # As Text, since a name with brackets in it must not be taken for markup.
            table.add_row(*(Text(_one_line(cell), style=_style(cell)) for cell in row))
        try:
            Console(file=self._stream, highlight=False).print(table)
        except BrokenPipeError:
            self._give_up()

    def _write(self, text: str) -> None:
        if self.closed:
            return
        try:
            self._stream.write(text)
        except BrokenPipeError:
            self._give_up()

    def _give_up(self) -> None:
        self.closed = True
        drain(self._stream)


_STYLES = {
    "create": "green",
    "done": "green",
    "ready": "green",
    "update": "yellow",
    "replace": "yellow",
    "starting": "yellow",
    "delete": "red",
    "failed": "bold red",
    "broken": "bold red",
    "missing": "bold red",
    "skipped": "magenta",
    "no-op": "dim",
    "unknown": "dim",
    "unchanged": "dim",
}


def _style(cell: str) -> str:
    return _STYLES.get(cell, "")


def _one_line(text: str) -> str:
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text).split())
