"""Files, folders, URLs and standard input."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from i2kit.errors import ExitCode, InvalidInput
from i2kit.manifest import load

WEB = "name: {}\ncontainers: [{{image: nginx}}]\n"


def names(*sources: str | Path, stdin: io.StringIO | None = None) -> list[str]:
    return [workload.name for workload in load(sources, stdin=stdin).workloads]


def codes(*sources: str | Path) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInput) as caught:
        load(sources)
    assert caught.value.exit_code is ExitCode.INVALID
    return [(problem.code, problem.where.file if problem.where else "") for problem in caught.value.problems]


def test_a_folder_is_its_manifests_in_order_and_not_those_below(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "c.json"):
        (tmp_path / name).write_text(WEB.format(name[0]))
    (tmp_path / "environment.yml").write_text("name: prod\n")
    (tmp_path / "notes.txt").write_text("not: [yaml")
    (tmp_path / ".hidden.yaml").write_text("not: [yaml")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "d.yaml").write_text(WEB.format("d"))
    assert names(tmp_path) == ["a", "b", "c"]
    assert load([tmp_path]).sources == (str(tmp_path),)


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(WEB.format("a"))
    assert names(tmp_path, file, str(file)) == ["a"]


def test_standard_input(tmp_path: Path) -> None:
    assert names("-", stdin=io.StringIO(WEB.format("piped"))) == ["piped"]


def test_everything_unreadable_is_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xe4\n")
    (tmp_path / "bad.yaml").write_text("name: Bad\ncontainers: [{image: x, envFrom: [{configMapRef: {name: x}}]}]\n")
    found = codes(tmp_path / "gone.yaml", tmp_path / "empty", tmp_path / "latin.yaml", tmp_path / "bad.yaml")
    assert found == [
        ("unreadable", str(tmp_path / "gone.yaml")),
        ("no-manifests", str(tmp_path / "empty")),
        ("unreadable", str(tmp_path / "latin.yaml")),
        ("invalid-name", str(tmp_path / "bad.yaml")),
    ]


def test_problems_come_in_the_order_of_sources_and_lines(tmp_path: Path) -> None:
    (tmp_path / "1.yaml").write_text("name: One\nreplicas: x\ncontainers: [{image: x}]\n")
    (tmp_path / "2.yaml").write_text("name: Two\ncontainers: [{image: x}]\n")
    assert codes(tmp_path / "2.yaml", tmp_path / "1.yaml") == [
        ("invalid-name", str(tmp_path / "2.yaml")),
        ("invalid-name", str(tmp_path / "1.yaml")),
        ("wrong-type", str(tmp_path / "1.yaml")),
    ]


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbf" + WEB.format("a").encode())
    assert names(tmp_path) == ["a"]


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        found = self.path == "/web.yaml"
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(WEB.format("fetched").encode() if found else b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class's name)
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_a_url_is_fetched(url: str) -> None:
    assert names(f"{url}/web.yaml") == ["fetched"]


def test_a_url_that_does_not_answer_well_is_an_error(url: str) -> None:
    assert codes(f"{url}/gone.yaml", "http://127.0.0.1:1/x.yaml") == [
        ("unreadable", f"{url}/gone.yaml"),
        ("unreadable", "http://127.0.0.1:1/x.yaml"),
    ]


def test_other_schemes_are_files_that_are_not_there() -> None:
    assert codes("ftp://example.org/x.yaml") == [("unreadable", "ftp://example.org/x.yaml")]
